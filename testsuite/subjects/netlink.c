/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink sockets: ports, groups, options, a filter, a connection; they get answers and messages for
 * their groups afterwards. `netlink unread` leaves an answer in the queue.
 */
#include "subject.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_netlink(int protocol, uint32_t port, uint32_t groups)
{
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static struct sockaddr_nl name_of(int fd)
{
	struct sockaddr_nl a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, level, name, &value, &len) == 0);
	return value;
}

static void set_int(int fd, int level, int name, int value)
{
	CHECK(setsockopt(fd, level, name, &value, sizeof(value)) == 0);
}

static void ask(int fd)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
	} request = {.head = {.nlmsg_len = sizeof(request),
			      .nlmsg_type = RTM_GETLINK,
			      .nlmsg_flags = NLM_F_REQUEST,
			      .nlmsg_seq = 77},
		     .body = {.ifi_index = 1}};

	CHECK(send(fd, &request, sizeof(request), 0) == sizeof(request));
}

static void take_answer(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	static char answer[1 << 16] __attribute__((__aligned__(8)));
	const struct nlmsghdr *head = (const void *)answer;

	CHECK(poll(&p, 1, 20000) == 1 && recv(fd, answer, sizeof(answer), 0) > 0);
	CHECK(head->nlmsg_type == RTM_NEWLINK && head->nlmsg_seq == 77);
	CHECK(head->nlmsg_pid == name_of(fd).nl_pid);
}

static void check_message(int from, int to, const struct sockaddr_nl *dest, const char *text)
{
	struct pollfd p = {.fd = to, .events = POLLIN};
	struct sockaddr_nl sender;
	socklen_t len = sizeof(sender);
	char buf[64] = "";

	if (dest)
		CHECK(sendto(from, text, strlen(text), 0, (const struct sockaddr *)dest,
			     sizeof(*dest)) == (ssize_t)strlen(text));
	else
		CHECK(send(from, text, strlen(text), 0) == (ssize_t)strlen(text));
	CHECK(poll(&p, 1, 20000) == 1);
	CHECK(recvfrom(to, buf, sizeof(buf), 0, (struct sockaddr *)&sender, &len) > 0);
	CHECK(!strcmp(buf, text) && sender.nl_pid == name_of(from).nl_pid);
}

int main(int argc, char **argv)
{
	struct sock_filter code[2] = {{.code = BPF_RET | BPF_K, .k = 0}};
	struct sock_fprog program = {.len = 1, .filter = code};
	struct sockaddr_nl link_name, user_name, peer, dest = {.nl_family = AF_NETLINK};
	int link, uevent, member, sender, connected, unbound, group;
	socklen_t nr = 2, len = sizeof(peer);
	uint32_t groups[4] = {0};

	subject_init();
	link = open_netlink(NETLINK_ROUTE, 0, RTMGRP_IPV4_ROUTE);
	link_name = name_of(link);
	if (argc > 1 && !strcmp(argv[1], "unread")) {
		ask(link);
		subject_ready();
		subject_wait_go();
		take_answer(link);
		subject_ok();
	}
	set_int(link, SOL_NETLINK, NETLINK_EXT_ACK, 1);
	set_int(link, SOL_SOCKET, SO_RCVBUF, 70000);
	uevent = open_netlink(NETLINK_KOBJECT_UEVENT, (uint32_t)getpid() + 100000000, 0);
	CHECK(setsockopt(uevent, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
	set_int(uevent, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 1);
	member = open_netlink(NETLINK_USERSOCK, 0, 0);
	/* a group that tests running beside this one do not use */
	group = 1 + (int)(getpid() % 30);
	if (setsockopt(member, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		group = 0; /* an ordinary user */
	sender = open_netlink(NETLINK_USERSOCK, 0, 0);
	connected = open_netlink(NETLINK_USERSOCK, 0, 0);
	user_name = name_of(member);
	user_name.nl_groups = 0;
	CHECK(connect(connected, (struct sockaddr *)&user_name, sizeof(user_name)) == 0);
	unbound = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK, NETLINK_ROUTE);
	CHECK(unbound >= 0);
	subject_ready();
	subject_wait_go();

	CHECK(name_of(link).nl_pid == link_name.nl_pid && name_of(link).nl_groups == RTMGRP_IPV4_ROUTE);
	CHECK(get_int(link, SOL_NETLINK, NETLINK_EXT_ACK) == 1);
	CHECK(get_int(link, SOL_SOCKET, SO_RCVBUF) == 140000);
	ask(link);
	take_answer(link);
	CHECK(name_of(uevent).nl_pid == (uint32_t)getpid() + 100000000);
	CHECK(name_of(uevent).nl_groups == 1 && fcntl(uevent, F_GETFD) == FD_CLOEXEC);
	CHECK(getsockopt(uevent, SOL_SOCKET, SO_GET_FILTER, code, &nr) == 0 && nr == 1);
	len = sizeof(groups);
	CHECK(getsockopt(member, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &len) == 0);
	CHECK(groups[0] == (group ? 1u << (group - 1) : 0));
	CHECK(name_of(member).nl_pid == user_name.nl_pid);
	check_message(connected, member, NULL, "to whom it is connected");
	dest.nl_pid = user_name.nl_pid;
	check_message(sender, member, &dest, "to its port");
	len = sizeof(peer);
	CHECK(getpeername(connected, (struct sockaddr *)&peer, &len) == 0);
	CHECK(peer.nl_pid == user_name.nl_pid && peer.nl_groups == 0);
	CHECK(name_of(unbound).nl_pid == 0 && fcntl(unbound, F_GETFL) & O_NONBLOCK);
	ask(unbound);
	take_answer(unbound);
	subject_ok();
}
