/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UDP sockets: bound, connected, shared with a child, in a group of two on one port, with options,
 * multicast groups with sources, IPv6; `udp lite` does the same with UDP-Lite.
 */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PROTO_UDPLITE = 136, SEND_CSCOV = 10 };

static int protocol = IPPROTO_UDP;

static struct sockaddr_in v4(const char *addr, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	CHECK(inet_pton(AF_INET, addr, &a.sin_addr) == 1);
	return a;
}

static void set_int(int fd, int level, int name, int value)
{
	CHECK(setsockopt(fd, level, name, &value, sizeof(value)) == 0);
}

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, level, name, &value, &len) == 0);
	return value;
}

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

static int bound(void)
{
	struct sockaddr_in a = v4("127.0.0.1", 0);
	int fd = socket(AF_INET, SOCK_DGRAM, protocol);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* From `from`, which is connected to it or not, to `to`. */
static void exchange(int from, int to, const char *text)
{
	struct pollfd p = {.fd = to, .events = POLLIN};
	struct sockaddr_in a = name_of(to), sender, want = name_of(from);
	socklen_t len = sizeof(sender);
	char buf[64] = "";

	CHECK(sendto(from, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)) ==
	      (ssize_t)strlen(text));
	CHECK(poll(&p, 1, 10000) == 1);
	CHECK(recvfrom(to, buf, sizeof(buf), 0, (struct sockaddr *)&sender, &len) > 0);
	CHECK(!strcmp(buf, text) && sender.sin_port == want.sin_port);
}

static const struct timeval receive_timeout = {.tv_sec = 7};

static void set_options(int fd)
{
	struct sock_filter code[] = {{.code = BPF_RET | BPF_K, .k = 0xffff}};
	struct sock_fprog filter = {.len = 1, .filter = code};

	set_int(fd, SOL_SOCKET, SO_BROADCAST, 1);
	set_int(fd, SOL_SOCKET, SO_RCVBUF, 50000);
	set_int(fd, SOL_SOCKET, SO_SNDBUF, 40000);
	set_int(fd, SOL_SOCKET, SO_PRIORITY, 3);
	set_int(fd, IPPROTO_IP, IP_TTL, 77);
	set_int(fd, IPPROTO_IP, IP_TOS, 0x10);
	set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
	set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, 9);
	set_int(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive_timeout, sizeof(receive_timeout)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0);
	if (protocol == PROTO_UDPLITE)
		set_int(fd, PROTO_UDPLITE, SEND_CSCOV, 12);
}

static void check_options(int fd)
{
	struct sock_filter code[2] = {{0}};
	struct timeval timeout;
	socklen_t len = sizeof(timeout), nr = 2;
	char device[16] = "";

	CHECK(get_int(fd, SOL_SOCKET, SO_BROADCAST) == 1);
	CHECK(get_int(fd, SOL_SOCKET, SO_RCVBUF) == 100000);
	CHECK(get_int(fd, SOL_SOCKET, SO_SNDBUF) == 80000);
	CHECK(get_int(fd, IPPROTO_IP, IP_TTL) == 77);
	CHECK(get_int(fd, IPPROTO_IP, IP_TOS) == 0x10);
	CHECK(get_int(fd, IPPROTO_IP, IP_PKTINFO) == 1);
	CHECK(get_int(fd, IPPROTO_IP, IP_MULTICAST_TTL) == 9);
	CHECK(get_int(fd, IPPROTO_IP, IP_MULTICAST_LOOP) == 0);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &len) == 0 &&
	      timeout.tv_sec == receive_timeout.tv_sec);
	len = sizeof(device);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) == 0 &&
	      !strcmp(device, "lo"));
	CHECK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code, &nr) == 0 && nr == 1 &&
	      code[0].k == 0xffff);
	if (protocol == PROTO_UDPLITE)
		CHECK(get_int(fd, PROTO_UDPLITE, SEND_CSCOV) == 12);
}

/* ---- groups */

static struct group_source_req source_of(const char *group, const char *source)
{
	struct group_source_req req = {.gsr_interface = if_nametoindex("lo")};
	struct sockaddr_in g = v4(group, 0), s = v4(source, 0);

	memcpy(&req.gsr_group, &g, sizeof(g));
	memcpy(&req.gsr_source, &s, sizeof(s));
	return req;
}

static int join_groups(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, protocol);
	struct group_source_req one = source_of("232.1.2.3", "127.0.0.5");
	struct group_req any = {.gr_interface = if_nametoindex("lo")};
	struct sockaddr_in g = v4("239.9.8.7", 0);

	memcpy(&any.gr_group, &g, sizeof(g));
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &one, sizeof(one)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &any, sizeof(any)) == 0);
	return fd;
}

static void check_groups(int fd)
{
	struct group_source_req one = source_of("232.1.2.3", "127.0.0.5");
	struct group_req any = {.gr_interface = if_nametoindex("lo")};
	struct sockaddr_in g = v4("239.9.8.7", 0);

	memcpy(&any.gr_group, &g, sizeof(g));
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, &one, sizeof(one)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, &one, sizeof(one)) < 0);
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_GROUP, &any, sizeof(any)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_GROUP, &any, sizeof(any)) < 0);
}

static int join_v6(void)
{
	struct ipv6_mreq req = {.ipv6mr_interface = if_nametoindex("lo")};
	int fd = socket(AF_INET6, SOCK_DGRAM, protocol);

	if (fd < 0)
		return -1; /* a machine without IPv6 */
	CHECK(inet_pton(AF_INET6, "ff01::1234", &req.ipv6mr_multiaddr) == 1);
	set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &req, sizeof(req)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void check_v6(int fd)
{
	struct ipv6_mreq req = {.ipv6mr_interface = if_nametoindex("lo")};

	CHECK(inet_pton(AF_INET6, "ff01::1234", &req.ipv6mr_multiaddr) == 1);
	CHECK(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
	CHECK(get_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 33);
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &req, sizeof(req)) == 0);
}

/* Two sockets on one port, each with SO_REUSEPORT. */
static void make_pair(int ret[2])
{
	struct sockaddr_in a = v4("127.0.0.1", 0);

	for (int i = 0; i < 2; i++) {
		ret[i] = socket(AF_INET, SOCK_DGRAM, protocol);
		set_int(ret[i], SOL_SOCKET, SO_REUSEPORT, 1);
		CHECK(bind(ret[i], (struct sockaddr *)&a, sizeof(a)) == 0);
		a = name_of(ret[i]);
	}
}

int main(int argc, char **argv)
{
	int one, two, connected, shared, odd, groups, v6, pair[2];
	struct sockaddr_in a;
	char byte;
	pid_t child;

	subject_init();
	if (argc > 1 && !strcmp(argv[1], "lite"))
		protocol = PROTO_UDPLITE;
	one = bound();
	two = bound();
	shared = bound();
	connected = bound();
	a = name_of(one);
	CHECK(connect(connected, (struct sockaddr *)&a, sizeof(a)) == 0);
	odd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	set_options(odd);
	groups = join_groups();
	v6 = join_v6();
	make_pair(pair);
	child = subject_fork();
	if (!child) {
		CHECK(recv(shared, &byte, 1, 0) == 1 && byte == 'x'); /* blocked while checkpointed */
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	exchange(one, two, "one to two");
	exchange(connected, one, "connected to one");
	a = name_of(one);
	CHECK(connect(two, (struct sockaddr *)&a, sizeof(a)) == 0);
	CHECK(recv(odd, &byte, 1, 0) < 0 && errno == EAGAIN);
	check_options(odd);
	check_groups(groups);
	if (v6 >= 0)
		check_v6(v6);
	CHECK(name_of(pair[0]).sin_port == name_of(pair[1]).sin_port);
	CHECK(get_int(pair[1], SOL_SOCKET, SO_REUSEPORT) == 1);
	a = name_of(shared);
	CHECK(sendto(one, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)) == 1);
	subject_reap(child);
	subject_ok();
}
