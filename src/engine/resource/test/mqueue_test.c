/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POSIX message queues: records that nobody may believe. */
#include "resource/test/round.h"

#include <string.h>

/* A queue with one message, fd 3 of one process. */
struct records {
	Stasis__FdTable table;
	Stasis__Fd fd, *fd_list[1];
	Stasis__Description d;
	Stasis__Mq mq;
	Stasis__Object object;
	Stasis__MQueue queue;
	Stasis__FileId file;
	uint32_t packets[1], priorities[1];
};

static char gone[] = "/stasis-unit-test-that-is-not-there", bare[] = "no-slash", deep[] = "/a/b", root[] = "/";

static void records_init(struct records *x)
{
	stasis__fd_table__init(&x->table);
	stasis__fd__init(&x->fd);
	stasis__description__init(&x->d);
	stasis__mq__init(&x->mq);
	stasis__object__init(&x->object);
	stasis__mqueue__init(&x->queue);
	stasis__file_id__init(&x->file);
	x->fd_list[0] = &x->fd;
	x->table.fds = x->fd_list;
	x->table.n_fds = 1;
	x->fd.fd = 3;
	x->fd.desc = x->d.id = 1;
	x->d.kind_case = STASIS__DESCRIPTION__KIND_MQ;
	x->d.mq = &x->mq;
	x->mq.object = x->object.id = 77;
	x->object.type = STASIS__OBJECT_TYPE__OBJECT_MQUEUE;
	x->object.holder = 4711;
	x->object.file = &x->file;
	x->object.mqueue = &x->queue;
	x->object.packets = x->packets;
	x->object.n_packets = x->queue.n_priorities = 1;
	x->object.content_len = x->packets[0] = 5;
	x->queue.priorities = x->priorities;
	x->queue.max_messages = 4;
	x->queue.message_size = 8;
	x->priorities[0] = 7;
	x->file.path = gone;
}

static int plan(struct round *r, struct records *x)
{
	return round_plan_image(r, &x->table, &x->d, 1, &x->object);
}

/* One lie about otherwise good records. */
typedef void (*lie_fn)(struct records *x);

static void no_name(struct records *x) { x->file.path = root; }
static void name_without_slash(struct records *x) { x->file.path = bare; }
static void name_in_a_folder(struct records *x) { x->file.path = deep; }
static void no_state(struct records *x) { x->object.mqueue = NULL; }
static void no_room(struct records *x) { x->queue.max_messages = 0; }
static void too_many(struct records *x) { x->queue.max_messages = UINT64_MAX; }
static void too_large(struct records *x) { x->queue.message_size = UINT64_MAX; }
static void longer_than_allowed(struct records *x) { x->queue.message_size = 4; }
static void impossible_priority(struct records *x) { x->priorities[0] = 32768; }
static void missing_priority(struct records *x) { x->queue.n_priorities = 0; }
static void wrong_sum(struct records *x) { x->object.content_len = 6; }
static void wrong_type(struct records *x) { x->object.type = STASIS__OBJECT_TYPE__OBJECT_PIPE; }
static void other_object(struct records *x) { x->mq.object = 78; }

static void impossible_signal(struct records *x)
{
	x->queue.notify_pid = 4711;
	x->queue.notify_signo = 65;
}

static void others_have_no_name(struct records *x)
{
	x->queue.is_outside = x->file.deleted = true;
}

static void lies_are_refused(void **state)
{
	static const lie_fn lies[] = {
		no_name,	 name_without_slash,  name_in_a_folder, no_state,   no_room,
		too_many,	 too_large,	      longer_than_allowed, impossible_priority,
		missing_priority, wrong_sum,	      wrong_type,	other_object, impossible_signal,
		others_have_no_name,
	};
	struct round *r = *state;
	struct records x;

	records_init(&x);
	assert_ok(r, plan(r, &x));
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		records_init(&x);
		lies[i](&x);
		assert_int_equal(plan(r, &x), -1);
		assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {ROUND_TEST(lies_are_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
