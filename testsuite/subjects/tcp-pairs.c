/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP connections with both ends in the tree: idle, with unread bytes both ways, with a full send queue,
 * half closed, closed by the peer with bytes to read, ended, over IPv6, and one under load between two
 * processes that check every byte. `tcp-pairs lose`: without the privilege to keep them each is reset.
 * `tcp-pairs modest`: those that go on when only the checkpoint has the privilege.
 */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 3 << 20, CHUNK = 5000 };

static char big[BIG], got[BIG];

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

static int state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0);
	return info.tcpi_state;
}

static void wait_state(int fd, int state)
{
	for (int i = 0; i < 5000 && state_of(fd) != state; i++)
		subject_nap_ms(2);
	if (state_of(fd) != state)
		subject_bad("state %d, not %d", state_of(fd), state);
}

/* pair[0] connected, pair[1] accepted; the listener goes away at once. */
static void make_pair_of(int family, int pair[2])
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int listener = socket(family, SOCK_STREAM, 0);

	CHECK(listener >= 0 && bind(listener, a, len) == 0 && listen(listener, 1) == 0 &&
	      getsockname(listener, a, &len) == 0);
	pair[0] = socket(family, SOCK_STREAM, 0);
	CHECK(connect(pair[0], a, len) == 0);
	pair[1] = accept(listener, NULL, NULL);
	CHECK(pair[1] >= 0 && close(listener) == 0);
}

static void make_pair(int pair[2])
{
	make_pair_of(AF_INET, pair);
}

static void put(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void expect(int fd, const char *text)
{
	char buf[100] = "";

	CHECK(recv(fd, buf, strlen(text), MSG_WAITALL) == (ssize_t)strlen(text));
	CHECK(!strcmp(buf, text));
}

static void expect_end(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, 0) == 0);
}

/* As much as goes; returns how much. */
static size_t stuff(int fd, size_t most)
{
	size_t sum = 0;
	ssize_t n;

	while (sum < most && (n = send(fd, big + sum, most - sum, MSG_DONTWAIT)) > 0)
		sum += (size_t)n;
	CHECK(sum > 100000);
	return sum;
}

static void drain(int fd, size_t len)
{
	CHECK(recv(fd, got, len, MSG_WAITALL) == (ssize_t)len);
	CHECK(!memcmp(got, big, len));
}

/* ---- under load: the child echoes what the parent's other half sends, all checked */

static void echo(int fd)
{
	static char buf[CHUNK];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t w = send(fd, buf + at, (size_t)(n - at), 0);

			CHECK(w > 0);
			at += w;
		}
	CHECK(n == 0);
	_exit(0);
}

/* Some bytes there and back; never all of it, so that bytes are on their way at any time. */
static void move_bytes(int fd, size_t *sent, size_t *received)
{
	static char buf[CHUNK];
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	ssize_t n;

	CHECK(poll(&p, 1, 20000) == 1);
	if (p.revents & POLLOUT && *sent - *received < BIG / 4) {
		size_t at = *sent % BIG, len = BIG - at < CHUNK ? BIG - at : CHUNK;

		n = send(fd, big + at, len, MSG_DONTWAIT);
		CHECK(n > 0 || errno == EAGAIN);
		*sent += n > 0 ? (size_t)n : 0;
	}
	if (p.revents & POLLIN) {
		n = recv(fd, buf, sizeof(buf), 0);
		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK(buf[i] == big[(*received + (size_t)i) % BIG]);
		*received += (size_t)n;
	}
}

static void finish_load(int fd, size_t sent, size_t received)
{
	for (size_t more = sent + 2000000; sent < more;)
		move_bytes(fd, &sent, &received);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	while (received < sent) {
		CHECK(recv(fd, got, 1, 0) == 1 && got[0] == big[received % BIG]);
		received++;
	}
	expect_end(fd);
}

/* ---- without privilege */

static void expect_reset(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET);
	CHECK(recv(fd, &c, 1, 0) == 0); /* said once */
	CHECK(send(fd, &c, 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
}

static void run_lose(void)
{
	int idle[2], unread[2], closed[2];
	pid_t child;
	char c;

	make_pair(idle);
	make_pair(unread);
	make_pair(closed);
	put(unread[0], "here");
	put(closed[0], "last words");
	CHECK(close(closed[0]) == 0);
	wait_state(closed[1], TCP_CLOSE_WAIT);
	child = subject_fork();
	if (!child) {
		CHECK(recv(idle[0], &c, 1, 0) < 0 && errno == ECONNRESET);
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	expect_reset(idle[1]);
	expect(unread[1], "here");
	expect_reset(unread[1]);
	expect(closed[1], "last words");
	expect_end(closed[1]);
	subject_reap(child);
	subject_ok();
}

int main(int argc, char **argv)
{
	int idle[2], unread[2], full[2], both_full[2], half[2], closed[2], ended[2], v6[2] = {-1, -1};
	int load[2], probe;
	size_t len, len0, len1, sent = 0, received = 0, most = BIG;
	bool is_modest = argc > 1 && !strcmp(argv[1], "modest");
	pid_t child;

	subject_init();
	pattern_fill(big, sizeof(big), 77);
	if (argc > 1 && !strcmp(argv[1], "lose"))
		run_lose();
	if (is_modest)
		most = 300000; /* more than a receive queue has at first */
	make_pair(idle);
	set_int(idle[0], IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(idle[0], SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(idle[0], IPPROTO_TCP, TCP_KEEPIDLE, 123);
	set_int(idle[1], IPPROTO_TCP, TCP_CORK, 1);
	make_pair(unread);
	put(unread[0], "to one");
	put(unread[1], "to zero");
	make_pair(full);
	len = stuff(full[0], most);
	make_pair(both_full);
	len0 = stuff(both_full[0], most);
	len1 = stuff(both_full[1], most);
	make_pair(half);
	put(half[0], "before the end");
	if (!is_modest) {
		CHECK(shutdown(half[0], SHUT_WR) == 0);
		wait_state(half[0], TCP_FIN_WAIT2);
	}
	make_pair(closed);
	put(closed[0], "last words");
	CHECK(close(closed[0]) == 0);
	wait_state(closed[1], TCP_CLOSE_WAIT);
	make_pair(ended);
	put(ended[1], "rest");
	CHECK(shutdown(ended[0], SHUT_WR) == 0 && close(ended[1]) == 0);
	wait_state(ended[0], TCP_CLOSE);
	probe = socket(AF_INET6, SOCK_STREAM, 0);
	if (probe >= 0) {
		CHECK(close(probe) == 0);
		make_pair_of(AF_INET6, v6);
		put(v6[0], "six");
	}
	make_pair(load);
	child = subject_fork();
	if (!child) {
		CHECK(close(load[0]) == 0);
		echo(load[1]);
	}
	CHECK(close(load[1]) == 0);
	subject_ready();
	while (!subject_is_go())
		move_bytes(load[0], &sent, &received);
	finish_load(load[0], sent, received);
	subject_reap(child);

	CHECK(get_int(idle[0], IPPROTO_TCP, TCP_NODELAY) == 1);
	CHECK(get_int(idle[0], SOL_SOCKET, SO_KEEPALIVE) == 1);
	CHECK(get_int(idle[0], IPPROTO_TCP, TCP_KEEPIDLE) == 123);
	CHECK(get_int(idle[1], IPPROTO_TCP, TCP_CORK) == 1);
	put(idle[0], "ping");
	expect(idle[1], "ping");
	set_int(idle[1], IPPROTO_TCP, TCP_CORK, 0);
	put(idle[1], "pong");
	expect(idle[0], "pong");
	expect(unread[1], "to one");
	expect(unread[0], "to zero");
	drain(full[1], len);
	put(full[1], "thanks");
	expect(full[0], "thanks");
	drain(both_full[1], len0);
	drain(both_full[0], len1);
	expect(half[1], "before the end");
	if (!is_modest)
		expect_end(half[1]);
	put(half[1], "answer");
	expect(half[0], "answer");
	CHECK(close(half[1]) == 0);
	expect_end(half[0]);
	expect(closed[1], "last words");
	expect_end(closed[1]);
	expect(ended[0], "rest");
	expect_end(ended[0]);
	CHECK(send(ended[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	if (v6[0] >= 0) {
		expect(v6[1], "six");
		put(v6[1], "SIX");
		expect(v6[0], "SIX");
	}
	subject_ok();
}
