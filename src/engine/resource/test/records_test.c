/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Damaged records of kinds whose numbers and lengths go to the kernel: each field out of range is refused. */
#include "round.h"

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/socket.h>

/* A process with one descriptor, 3, of that description. */
static int plan(struct round *r, Stasis__Description *d)
{
	Stasis__Fd fd = STASIS__FD__INIT, *fds[] = {&fd};
	Stasis__FdTable table = STASIS__FD_TABLE__INIT;

	fd.fd = 3;
	fd.desc = d->id;
	table.fds = fds;
	table.n_fds = 1;
	return round_plan_records(r, &table, d);
}

/* Let the field have that value for a moment, which must be found. */
#define REFUSED(r, d, field, value)                                          \
	do {                                                                 \
		__typeof__(field) kept = (field);                            \
		(field) = (value);                                           \
		assert_int_equal(plan(r, d), -1);                            \
		if ((r)->err.cls != STASIS_E_CORRUPT)                        \
			fail_msg("%s = %s: %s", #field, #value, (r)->err.text); \
		(field) = kept;                                              \
	} while (0)

static char root_path[] = "/";

static void watches_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__Inotify inotify = STASIS__INOTIFY__INIT;
	Stasis__InotifyWatch one = STASIS__INOTIFY_WATCH__INIT, two = one;
	Stasis__InotifyWatch *watches[] = {&one, &two};
	Stasis__WatchedFile target = STASIS__WATCHED_FILE__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;
	Stasis__FileId file = STASIS__FILE_ID__INIT;
	char relative[] = "tmp";

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_INOTIFY;
	d.inotify = &inotify;
	inotify.watches = watches;
	inotify.n_watches = 2;
	one.wd = 1;
	two.wd = 7;
	one.mask = two.mask = IN_CREATE | IN_ONESHOT;
	one.target = two.target = &target;
	target.file = &file;
	file.path = root_path;
	assert_ok(r, plan(r, &d));
	REFUSED(r, &d, one.wd, 0);
	REFUSED(r, &d, one.wd, 7);
	REFUSED(r, &d, two.wd, 1u << 31);
	REFUSED(r, &d, one.mask, IN_ONESHOT);
	REFUSED(r, &d, one.mask, IN_CREATE | IN_MASK_ADD);
	REFUSED(r, &d, one.target, NULL);
	REFUSED(r, &d, target.file, NULL);
	REFUSED(r, &d, target.desc, 9);
	REFUSED(r, &d, file.path, relative);
	target.file = NULL;
	REFUSED(r, &d, target.desc, 12);
}

static void marks_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__Fanotify group = STASIS__FANOTIFY__INIT;
	Stasis__FanotifyMark mark = STASIS__FANOTIFY_MARK__INIT, *marks[] = {&mark};
	Stasis__WatchedFile target = STASIS__WATCHED_FILE__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;
	Stasis__FileId file = STASIS__FILE_ID__INIT;

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_FANOTIFY;
	d.fanotify = &group;
	group.marks = marks;
	group.n_marks = 1;
	mark.mask = FAN_MODIFY;
	mark.target = &target;
	target.file = &file;
	file.path = root_path;
	REFUSED(r, &d, group.flags, FAN_CLASS_PRE_CONTENT);
	REFUSED(r, &d, group.flags, 1u << 31);
	REFUSED(r, &d, mark.mask, FAN_OPEN_PERM);
	REFUSED(r, &d, mark.ignored, FAN_ACCESS_PERM);
	REFUSED(r, &d, mark.flags, FAN_MARK_FLUSH);
	REFUSED(r, &d, mark.type, FAN_MARK_REMOVE);
	REFUSED(r, &d, mark.target, NULL);
}

static void files_of_proc_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__ProcFile file = STASIS__PROC_FILE__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;
	char name[] = "task", up[] = "fd/../../1/mem", end[] = "..", absolute[] = "/etc/passwd";

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_PROCFILE;
	d.procfile = &file;
	file.pid = file.number = 4711;
	file.name = name;
	assert_ok(r, plan(r, &d));
	REFUSED(r, &d, file.pid, 0);
	REFUSED(r, &d, file.number, -1);
	REFUSED(r, &d, file.name, up);
	REFUSED(r, &d, file.name, end);
	REFUSED(r, &d, file.name, absolute);
	REFUSED(r, &d, d.pos, 1ull << 63);
	file.pid = 4712;
	assert_int_equal(plan(r, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_GONE);
}

static void namespaces_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__NamespaceFd ns = STASIS__NAMESPACE_FD__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;
	Stasis__FileId file = STASIS__FILE_ID__INIT;
	char name[] = "time_for_children", other[] = "../mem";

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_NAMESPACE_FD;
	d.namespace_fd = &ns;
	ns.pid = ns.number = 4711;
	ns.name = name;
	assert_ok(r, plan(r, &d));
	REFUSED(r, &d, ns.pid, 0);
	REFUSED(r, &d, ns.number, 0);
	REFUSED(r, &d, ns.name, other);
	REFUSED(r, &d, ns.file, &file);
	file.path = root_path;
	ns.file = &file;
	assert_int_equal(plan(r, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_GONE);
}

static void raw_sockets_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__RawSocket raw = STASIS__RAW_SOCKET__INIT;
	Stasis__InetSocket inet = STASIS__INET_SOCKET__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_RAW;
	d.raw = &raw;
	raw.inet = &inet;
	inet.family = AF_INET;
	inet.type = SOCK_RAW;
	inet.protocol = IPPROTO_ICMP;
	REFUSED(r, &d, raw.inet, NULL);
	REFUSED(r, &d, raw.shutdown, 3);
	REFUSED(r, &d, inet.protocol, 256);
	REFUSED(r, &d, inet.type, SOCK_STREAM);
	REFUSED(r, &d, inet.family, AF_NETLINK);
	inet.type = SOCK_DGRAM;
	REFUSED(r, &d, inet.protocol, IPPROTO_UDP);
}

static void netlink_sockets_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__NetlinkSocket socket = STASIS__NETLINK_SOCKET__INIT;
	static uint8_t groups[10000];
	Stasis__SocketOptions options = STASIS__SOCKET_OPTIONS__INIT;
	Stasis__Description d = STASIS__DESCRIPTION__INIT;

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_NETLINK;
	d.netlink = &socket;
	socket.type = SOCK_RAW;
	socket.options = &options;
	assert_ok(r, plan(r, &d));
	REFUSED(r, &d, socket.type, SOCK_STREAM);
	REFUSED(r, &d, socket.protocol, 32);
	REFUSED(r, &d, options.filter, ((ProtobufCBinaryData){.data = groups, .len = 1}));
	REFUSED(r, &d, socket.groups,
		((ProtobufCBinaryData){.data = groups, .len = sizeof(groups)}));
}

static void packet_sockets_are_checked(void **state)
{
	struct round *r = *state;
	Stasis__PacketSocket socket = STASIS__PACKET_SOCKET__INIT;
	Stasis__PacketMember member = STASIS__PACKET_MEMBER__INIT, *members[] = {&member};
	Stasis__Description d = STASIS__DESCRIPTION__INIT;
	static uint8_t bytes[40];
	char name[] = "a-very-long-name-0";

	d.id = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_PACKET;
	d.packet = &socket;
	socket.type = SOCK_DGRAM;
	socket.members = members;
	socket.n_members = 1;
	REFUSED(r, &d, socket.type, SOCK_STREAM);
	REFUSED(r, &d, socket.protocol, 1u << 16);
	REFUSED(r, &d, socket.interface, name);
	REFUSED(r, &d, member.type, 4);
	REFUSED(r, &d, member.count, 1u << 20);
	REFUSED(r, &d, member.interface, name);
	REFUSED(r, &d, member.address, ((ProtobufCBinaryData){.data = bytes, .len = sizeof(bytes)}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(watches_are_checked),
		ROUND_TEST(marks_are_checked),
		ROUND_TEST(files_of_proc_are_checked),
		ROUND_TEST(namespaces_are_checked),
		ROUND_TEST(raw_sockets_are_checked),
		ROUND_TEST(netlink_sockets_are_checked),
		ROUND_TEST(packet_sockets_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
