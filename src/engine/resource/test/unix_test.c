/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix sockets: records that nobody may believe, and parts of a tree that cannot be restarted alone. */
#include "resource/test/round.h"

#include "resource/unix.h"

/* Two connected sockets, fd 3 and 4 of one process, with five bytes queued in the first. */
struct records {
	Stasis__FdTable table;
	Stasis__Fd fds[2], *fd_list[2];
	Stasis__Description d[2];
	Stasis__UnixSocket u[2];
	Stasis__UnixMessage m, *m_list[1];
	Stasis__SocketOptions options;
	Stasis__LevelOption option, *option_list[1];
	Stasis__FileId file;
	Stasis__Object object;
	uint64_t ids[2];
	size_t nr; /* of the descriptions that are written */
};

static void records_init(struct records *x)
{
	stasis__fd_table__init(&x->table);
	stasis__unix_message__init(&x->m);
	stasis__socket_options__init(&x->options);
	stasis__level_option__init(&x->option);
	stasis__file_id__init(&x->file);
	stasis__object__init(&x->object);
	x->nr = 2;
	x->table.fds = x->fd_list;
	x->table.n_fds = 2;
	for (unsigned i = 0; i < 2; i++) {
		stasis__fd__init(&x->fds[i]);
		stasis__description__init(&x->d[i]);
		stasis__unix_socket__init(&x->u[i]);
		x->fd_list[i] = &x->fds[i];
		x->fds[i].fd = 3 + i;
		x->fds[i].desc = x->d[i].id = x->ids[i] = 1 + i;
		x->d[i].flags = O_RDWR;
		x->d[i].kind_case = STASIS__DESCRIPTION__KIND_UNIX_SOCKET;
		x->d[i].unix_socket = &x->u[i];
		x->u[i].type = SOCK_STREAM;
		x->u[i].peer_state = STASIS__UNIX_PEER__UNIX_PEER_TREE;
		x->u[i].peer = 2 - i;
	}
	x->object.id = x->u[0].queue = 77;
	x->object.type = STASIS__OBJECT_TYPE__OBJECT_UNIX_QUEUE;
	x->object.holder = 4711;
	x->object.content_len = x->m.len = 5;
	x->m_list[0] = &x->m;
	x->u[0].messages = x->m_list;
	x->u[0].n_messages = 1;
}

static int plan(struct round *r, struct records *x)
{
	return round_plan_image(r, &x->table, x->d, x->nr, &x->object);
}

/* One lie about otherwise good records. */
typedef void (*lie_fn)(struct records *x);

static void type_unknown(struct records *x)
{
	x->u[0].type = x->u[1].type = SOCK_RAW;
}

static void types_differ(struct records *x)
{
	x->u[1].type = SOCK_SEQPACKET;
}

static void peer_of_another(struct records *x)
{
	x->u[1].peer = 2;
}

static void own_peer(struct records *x)
{
	x->u[0].peer = 1;
}

static void shutdown_impossible(struct records *x)
{
	x->u[0].shutdown = 4;
}

static void name_too_long(struct records *x)
{
	static uint8_t name[200];

	x->u[0].name = (ProtobufCBinaryData){.data = name, .len = sizeof(name)};
}

static void listens_and_is_connected(struct records *x)
{
	x->u[0].is_listening = true;
}

static void waits_at_what_does_not_listen(struct records *x)
{
	x->u[0].peer_state = STASIS__UNIX_PEER__UNIX_PEER_PENDING;
}

static void clients_without_listening(struct records *x)
{
	x->u[0].pending = x->ids;
	x->u[0].n_pending = 2;
}

static void server_without_name(struct records *x)
{
	x->u[0].peer_state = x->u[1].peer_state = STASIS__UNIX_PEER__UNIX_PEER_BY_NAME;
}

static void messages_too_long(struct records *x)
{
	x->m.len = 6;
}

static void messages_huge(struct records *x)
{
	x->m.len = x->object.content_len = 1ull << 40;
}

static void queue_missing(struct records *x)
{
	x->u[0].queue = 78;
}

static void queue_of_another_kind(struct records *x)
{
	x->object.type = STASIS__OBJECT_TYPE__OBJECT_PIPE;
}

static void empty_message_in_stream(struct records *x)
{
	x->m.len = x->object.content_len = 0;
}

static void long_out_of_band(struct records *x)
{
	x->m.is_oob = true;
}

static void rights_to_nothing(struct records *x)
{
	x->m.rights = x->ids;
	x->m.n_rights = 1;
}

static void option_unknown(struct records *x)
{
	static uint8_t value[20];

	x->option.level = SOL_SOCKET;
	x->option.name = SO_ATTACH_BPF;
	x->option.value = (ProtobufCBinaryData){.data = value, .len = 4};
	x->option_list[0] = &x->option;
	x->options.options = x->option_list;
	x->options.n_options = 1;
	x->u[0].options = &x->options;
}

static void option_too_long(struct records *x)
{
	option_unknown(x);
	x->option.name = SO_LINGER;
	x->option.value.len = 20;
}

static void filter_odd(struct records *x)
{
	option_too_long(x);
	x->options.filter = x->option.value;
	x->options.n_options = 0;
}

static void file_relative(struct records *x)
{
	static char path[] = "etc/passwd";

	x->file.path = path;
	x->u[0].file = &x->file;
}

static void folder_relative(struct records *x)
{
	static char path[] = "..";

	x->u[0].folder = path;
}

static void damaged_records_are_refused(void **state)
{
	static const struct {
		const char *name;
		lie_fn lie;
	} lies[] = {
#define LIE(fn) {#fn, fn}
		LIE(type_unknown), LIE(types_differ), LIE(peer_of_another), LIE(own_peer),
		LIE(shutdown_impossible), LIE(name_too_long), LIE(listens_and_is_connected),
		LIE(waits_at_what_does_not_listen), LIE(clients_without_listening),
		LIE(server_without_name), LIE(messages_too_long), LIE(messages_huge),
		LIE(queue_missing), LIE(queue_of_another_kind), LIE(empty_message_in_stream),
		LIE(long_out_of_band), LIE(rights_to_nothing), LIE(option_unknown),
		LIE(option_too_long), LIE(filter_odd), LIE(file_relative), LIE(folder_relative),
#undef LIE
	};
	struct round *r = *state;
	struct records x;

	memset(&x, 0, sizeof(x));
	records_init(&x);
	assert_ok(r, plan(r, &x));
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		memset(&x, 0, sizeof(x));
		records_init(&x);
		lies[i].lie(&x);
		if (plan(r, &x) == 0 || r->err.cls != STASIS_E_CORRUPT)
			fail_msg("%s: class %d: %s", lies[i].name, (int)r->err.cls, r->err.text);
	}
}

static void the_other_end_must_be_restarted_too(void **state)
{
	struct round *r = *state;
	struct records x;

	memset(&x, 0, sizeof(x));
	records_init(&x);
	x.nr = 1;
	x.table.n_fds = 1;
	assert_int_equal(plan(r, &x), -1);
	assert_int_equal(r->err.cls, STASIS_E_UNSUPPORTED);
	assert_non_null(strstr(r->err.text, "restart the hierarchy from its root"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(damaged_records_are_refused),
		ROUND_TEST(the_other_end_must_be_restarted_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
