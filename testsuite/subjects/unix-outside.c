/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unix sockets with an end outside of the tree. As a subject:
 *
 *	client TYPE PATH anew|gone|same	connected with the server there; what it shall find at "go"
 *	accept PATH gone|same		listens there, and has accepted one client
 *	bind PATH			listens there (PATH may begin with "@")
 *
 * and as what is outside, which tells on its standard output when it is ready:
 *
 *	serve TYPE PATH			gives back what it is sent
 *	visit PATH			connects and waits for the end
 */
#include "subject.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int type_of(const char *name)
{
	return !strcmp(name, "stream") ? SOCK_STREAM
	       : !strcmp(name, "dgram") ? SOCK_DGRAM
					: SOCK_SEQPACKET;
}

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	(void)snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	if (name[0] != '@')
		return sizeof(*a);
	a->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0);
	CHECK(type == SOCK_DGRAM || listen(fd, 5) == 0);
	return fd;
}

static int connected(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, len) == 0);
	return fd;
}

/* ---- outside ---- */

static void say_ready(void)
{
	CHECK(write(STDOUT_FILENO, "ready\n", 6) == 6);
}

static void serve_datagrams(int fd)
{
	char buf[100];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) >= 0)
		CHECK(write(STDOUT_FILENO, buf, (size_t)n) == n);
}

static void serve(int type, const char *name)
{
	struct pollfd p[16] = {{.fd = bound(type, name), .events = POLLIN}};
	nfds_t nr = 1;
	char buf[100];

	say_ready();
	if (type == SOCK_DGRAM)
		serve_datagrams(p[0].fd);
	while (poll(p, nr, -1) > 0) {
		for (nfds_t i = 1; i < nr; i++) {
			ssize_t n = p[i].revents ? recv(p[i].fd, buf, sizeof(buf), 0) : -1;

			if (n > 0)
				(void)send(p[i].fd, buf, (size_t)n, MSG_NOSIGNAL);
			else if (p[i].revents)
				p[i].fd = -1;
		}
		if (p[0].revents && nr < 16)
			p[nr++] = (struct pollfd){.fd = accept(p[0].fd, NULL, NULL), .events = POLLIN};
	}
}

static void visit(const char *name)
{
	char buf[100];
	int fd = connected(SOCK_STREAM, name);

	say_ready();
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

/* ---- subjects ---- */

static void expect_echo(int fd)
{
	char buf[100];

	CHECK(send(fd, "echo", 4, MSG_NOSIGNAL) == 4 && recv(fd, buf, sizeof(buf), 0) == 4);
	CHECK(memcmp(buf, "echo", 4) == 0);
}

static void expect_gone(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, 0) == 0);
	CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
}

static void client(int type, const char *name, const char *expected)
{
	int fd = connected(type, name);
	char buf[100];

	if (type == SOCK_DGRAM)
		CHECK(send(fd, "before\n", 7, 0) == 7);
	else
		expect_echo(fd);
	if (type != SOCK_DGRAM && !strcmp(expected, "anew")) /* an answer that gets lost */
		CHECK(send(fd, "lost", 4, 0) == 4 && recv(fd, buf, 4, MSG_PEEK) == 4);
	subject_ready();
	subject_wait_go();
	if (type == SOCK_DGRAM && !strcmp(expected, "gone"))
		CHECK(send(fd, "x", 1, 0) < 0 && (errno == ENOTCONN || errno == ECONNREFUSED));
	else if (type == SOCK_DGRAM)
		CHECK(send(fd, "after\n", 6, 0) == 6);
	else if (!strcmp(expected, "gone"))
		expect_gone(fd);
	else
		expect_echo(fd);
}

static void accepts(const char *name, const char *expected)
{
	int listener = bound(SOCK_STREAM, name), fd, other;
	char c;

	subject_mark("listens");
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	subject_ready();
	subject_wait_go();
	if (!strcmp(expected, "gone"))
		expect_gone(fd);
	else
		CHECK(recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	other = connected(SOCK_STREAM, name);
	CHECK(send(other, "new", 3, 0) == 3);
	fd = accept(listener, NULL, NULL);
	CHECK(recv(fd, &c, 1, 0) == 1 && c == 'n');
}

int main(int argc, char **argv)
{
	subject_init();
	CHECK(argc >= 3);
	if (!strcmp(argv[1], "serve"))
		serve(type_of(argv[2]), argv[3]);
	else if (!strcmp(argv[1], "visit"))
		visit(argv[2]);
	else if (!strcmp(argv[1], "client"))
		client(type_of(argv[2]), argv[3], argv[4]);
	else if (!strcmp(argv[1], "accept"))
		accepts(argv[2], argv[3]);
	else if (bound(SOCK_STREAM, argv[2]) >= 0) {
		subject_ready();
		subject_wait_go();
	}
	subject_ok();
}
