/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP sockets without a connection: new, bound, listening (IPv4, IPv6, both in one, two of a
 * SO_REUSEPORT group), a child blocked in accept(); options of each.
 */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 a; /* the port is where sockaddr_in has it */
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.sin6_port);
}

static void bind_v4(int fd, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static int listen_v4(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	bind_v4(fd, 0);
	CHECK(listen(fd, 17) == 0);
	return fd;
}

/* -1 on a machine without IPv6. */
static int listen_v6(int v6only)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0)
		return -1;
	set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 3) == 0);
	return fd;
}

static void set_options(int fd)
{
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 111);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 22);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 44000);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
}

static void check_options(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name);

	CHECK(get_int(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
	CHECK(get_int(fd, SOL_SOCKET, SO_REUSEADDR) == 1);
	CHECK(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 111);
	CHECK(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 22);
	CHECK(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT) == 3);
	CHECK(get_int(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
	CHECK(get_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 44000);
	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 && !strcmp(name, "reno"));
}

/* Connect to a listener and accept there, unless somebody else does. */
static int connect_to(int listener, int family)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port_of(listener)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
				  .sin6_port = a.sin_port,
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(family, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	if (family == AF_INET)
		CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	else
		CHECK(connect(fd, (struct sockaddr *)&a6, sizeof(a6)) == 0);
	return fd;
}

static void check_listener(int listener, int family, int backlog)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int client, server;

	CHECK(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len) == 0);
	CHECK(info.tcpi_state == TCP_LISTEN && (int)info.tcpi_sacked == backlog);
	client = connect_to(listener, family);
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && close(server) == 0 && close(client) == 0);
}

/* Also a socket that is only bound keeps its port. */
static void check_bound(int fd, uint16_t port)
{
	CHECK(port_of(fd) == port);
	CHECK(listen(fd, 5) == 0);
	check_listener(fd, AF_INET, 5);
}

int main(void)
{
	int fresh, odd, plain, shared, v6, dual, group[2], server;
	uint16_t port;
	pid_t child;

	subject_init();
	fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	odd = socket(AF_INET, SOCK_STREAM, 0);
	set_options(odd);
	bind_v4(odd, 0);
	port = port_of(odd);
	plain = listen_v4(SOCK_NONBLOCK);
	shared = listen_v4(0);
	v6 = listen_v6(1);
	dual = listen_v6(0);
	for (int i = 0; i < 2; i++) {
		group[i] = socket(AF_INET, SOCK_STREAM, 0);
		set_int(group[i], SOL_SOCKET, SO_REUSEPORT, 1);
		bind_v4(group[i], i ? port_of(group[0]) : 0);
		CHECK(listen(group[i], 9) == 0);
	}
	child = subject_fork();
	if (!child) {
		server = accept(shared, NULL, NULL); /* blocked while checkpointed */
		CHECK(server >= 0);
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(port_of(fresh) == 0 && fcntl(fresh, F_GETFD) == FD_CLOEXEC);
	check_options(odd);
	check_bound(odd, port);
	CHECK(accept(plain, NULL, NULL) < 0 && errno == EAGAIN);
	check_listener(plain, AF_INET, 17);
	if (v6 >= 0)
		check_listener(v6, AF_INET6, 3);
	if (dual >= 0)
		check_listener(dual, AF_INET, 3);
	CHECK(port_of(group[0]) == port_of(group[1]));
	CHECK(close(connect_to(shared, AF_INET)) == 0);
	subject_reap(child);
	subject_ok();
}
