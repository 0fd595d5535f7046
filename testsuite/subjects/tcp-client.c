/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of a server that is not in the tree: tcp-client PORT. The server sends back what it
 * gets. It keeps bytes on their way both ways and checks each, until "go"; then it reads the rest to the
 * end. `tcp-client PORT gone` only waits for a byte and wants ECONNRESET; `tcp-client PORT eof` has
 * had the server's end and a few bytes unread; `tcp-client PORT unsent` has filled its send queue
 * while the server reads nothing, and wants ECONNRESET.
 */
#include "subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 7000, AHEAD = 400000 };

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 13 ^ i);
}

static int connect_to(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)atoi(port)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void receive(int fd, size_t *received)
{
	uint8_t buf[CHUNK];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	CHECK(n > 0);
	for (ssize_t i = 0; i < n; i++)
		CHECK(buf[i] == byte_at(*received + (size_t)i));
	*received += (size_t)n;
}

static void move_bytes(int fd, size_t *sent, size_t *received)
{
	bool may_send = *sent - *received < AHEAD;
	struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (may_send ? POLLOUT : 0))};
	uint8_t buf[CHUNK];

	CHECK(poll(&p, 1, 20000) == 1);
	if (p.revents & POLLOUT) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = byte_at(*sent + i);
		n = send(fd, buf, sizeof(buf), MSG_DONTWAIT);
		CHECK(n > 0 || errno == EAGAIN);
		*sent += n > 0 ? (size_t)n : 0;
	}
	if (p.revents & POLLIN)
		receive(fd, received);
}

static void run_gone(int fd)
{
	char c;

	CHECK(send(fd, "q", 1, 0) == 1 && recv(fd, &c, 1, 0) == 1);
	subject_ready();
	CHECK(recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET); /* blocked while checkpointed */
	subject_wait_go();
	subject_ok();
}

static void run_unsent(int fd)
{
	static const char bytes[CHUNK];
	size_t nr_full = 0;
	char c;

	while (nr_full < 20) { /* no room here and none there, for a fifth of a second */
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		if (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			nr_full = 0;
		else if (poll(&p, 1, 10) == 0)
			nr_full++;
	}
	subject_ready();
	subject_wait_go();
	CHECK(recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET);
	subject_ok();
}

static void run_eof(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	char buf[16];

	CHECK(send(fd, "last", 4, 0) == 4 && shutdown(fd, SHUT_WR) == 0);
	while (info.tcpi_state != TCP_CLOSE)
		CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(recv(fd, buf, sizeof(buf), 0) == 4 && !memcmp(buf, "last", 4));
	CHECK(recv(fd, buf, sizeof(buf), 0) == 0);
	subject_ok();
}

int main(int argc, char **argv)
{
	size_t sent = 0, received = 0, more;
	uint8_t c;
	int fd;

	subject_init();
	CHECK(argc > 1);
	fd = connect_to(argv[1]);
	if (argc > 2 && !strcmp(argv[2], "gone"))
		run_gone(fd);
	if (argc > 2 && !strcmp(argv[2], "eof"))
		run_eof(fd);
	if (argc > 2 && !strcmp(argv[2], "unsent"))
		run_unsent(fd);
	while (sent < 3 * AHEAD)
		move_bytes(fd, &sent, &received);
	subject_ready();
	while (!subject_is_go())
		move_bytes(fd, &sent, &received);
	for (more = sent + 3 * AHEAD; sent < more;)
		move_bytes(fd, &sent, &received);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	while (received < sent)
		receive(fd, &received);
	CHECK(recv(fd, &c, 1, 0) == 0);
	subject_ok();
}
