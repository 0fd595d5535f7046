/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Socket pairs of the three types with something queued in both directions: boundaries of messages,
 * empty ones, descriptors in flight, a pair in flight in itself, ends closed or shut down, options.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BULK (150u << 10)

static uint8_t buf[BULK], in[BULK];

static void pair(int type, int *fds)
{
	CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
}

static void send_fd(int sock, const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	char copy[64];
	struct iovec iov = {.iov_base = copy, .iov_len = strlen(text)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	memcpy(copy, text, strlen(text) + 1);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	CHECK(sendmsg(sock, &msg, 0) == (ssize_t)strlen(text));
}

/* Receive exactly that; returns the descriptor that came with it, -1 for none. */
static int expect(int sock, size_t max, const char *text)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char got[256];
	struct iovec iov = {.iov_base = got, .iov_len = max};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT);
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	int fd = -1;

	if (n != (ssize_t)strlen(text) || memcmp(got, text, strlen(text)) != 0)
		subject_bad("got %zd '%.*s' (errno %d) instead of '%s'", n, n > 0 ? (int)n : 0, got,
			    errno, text);
	if (h)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	CHECK(!h || h->cmsg_len == CMSG_LEN(sizeof(int)));
	return fd;
}

static void expect_empty(int sock)
{
	CHECK(recv(sock, in, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

/* ---- messages ---- */

static int dgram[2], seq[2];

static void build_messages(int *fds, int type)
{
	pair(type, fds);
	for (int side = 0; side < 2; side++) {
		CHECK(send(fds[side], "", 0, 0) == 0);
		CHECK(send(fds[side], "one", 3, 0) == 3);
		CHECK(send(fds[side], "", 0, 0) == 0 && send(fds[side], "", 0, 0) == 0);
		CHECK(send(fds[side], buf, 70000, 0) == 70000);
		CHECK(send(fds[side], "last", 4, 0) == 4);
	}
}

static void check_messages(const int *fds)
{
	int offset;
	socklen_t len = sizeof(offset);

	for (int side = 0; side < 2; side++) {
		/* what a look at the queue takes must be gone */
		CHECK(getsockopt(fds[side], SOL_SOCKET, SO_PEEK_OFF, &offset, &len) == 0);
		CHECK(offset == -1);
		CHECK(expect(fds[side], 9, "") == -1 && expect(fds[side], 9, "one") == -1);
		CHECK(expect(fds[side], 9, "") == -1 && expect(fds[side], 9, "") == -1);
		CHECK(recv(fds[side], in, sizeof(in), 0) == 70000 && !memcmp(in, buf, 70000));
		CHECK(expect(fds[side], 9, "last") == -1);
		expect_empty(fds[side]);
	}
	CHECK(send(fds[0], "more", 4, 0) == 4 && expect(fds[1], 9, "more") == -1);
	CHECK(send(fds[1], "back", 4, 0) == 4 && expect(fds[0], 9, "back") == -1);
}

/* ---- streams ---- */

static int stream[2], bulk[2];

static void build_streams(void)
{
	pair(SOCK_STREAM, stream);
	CHECK(write(stream[0], "hello ", 6) == 6 && write(stream[0], "world", 5) == 5);
	pair(SOCK_STREAM, bulk);
	CHECK(fcntl(bulk[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(bulk[1], F_SETFD, FD_CLOEXEC) == 0);
	CHECK(write(bulk[0], buf, BULK) == BULK && write(bulk[1], buf, 5000) == 5000);
}

static void read_exactly(int fd, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len && (n = read(fd, in + got, len - got)) > 0)
		got += (size_t)n;
	CHECK(got == len && memcmp(in, buf, len) == 0);
}

static void check_streams(void)
{
	CHECK(expect(stream[1], 100, "hello world") == -1);
	CHECK(write(stream[1], "answer", 6) == 6 && expect(stream[0], 100, "answer") == -1);
	read_exactly(bulk[1], BULK);
	read_exactly(bulk[0], 5000);
	CHECK(fcntl(bulk[0], F_GETFL) & O_NONBLOCK && !(fcntl(bulk[1], F_GETFL) & O_NONBLOCK));
	CHECK(fcntl(bulk[1], F_GETFD) == FD_CLOEXEC && fcntl(bulk[0], F_GETFD) == 0);
	expect_empty(bulk[0]);
}

/* ---- descriptors in flight ---- */

static int rights[2], nested[2], cycle[2], packets[2];
static int held_pipe[2];

static void build_rights(void)
{
	int only[2], inner[2];

	pair(SOCK_STREAM, rights);
	CHECK(pipe(held_pipe) == 0 && pipe(only) == 0);
	CHECK(write(only[1], "in flight", 9) == 9);
	CHECK(write(rights[0], "before", 6) == 6);
	send_fd(rights[0], "pipe", only[0]); /* which then nobody else has */
	CHECK(write(rights[0], "between", 7) == 7);
	send_fd(rights[0], "held", held_pipe[1]);
	CHECK(write(rights[0], "after", 5) == 5);
	CHECK(close(only[0]) == 0 && close(only[1]) == 0);
	/* a socket with something queued, which itself is only in a queue, and its peer too */
	pair(SOCK_SEQPACKET, nested);
	pair(SOCK_STREAM, inner);
	CHECK(write(inner[0], "deep", 4) == 4);
	send_fd(inner[0], "deeper", held_pipe[1]);
	send_fd(nested[0], "inner 1", inner[1]);
	send_fd(nested[0], "", inner[0]);
	CHECK(close(inner[0]) == 0 && close(inner[1]) == 0);
	/* each in the other's queue */
	pair(SOCK_DGRAM, cycle);
	send_fd(cycle[0], "first", cycle[0]);
	send_fd(cycle[1], "second", cycle[0]);
	pair(SOCK_SEQPACKET, packets);
	send_fd(packets[0], "a", 0);
	send_fd(packets[0], "b", held_pipe[0]);
}

static void check_is_write_end(int fd)
{
	char c;

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
	CHECK(read(held_pipe[0], &c, 1) == 1 && c == 'x');
}

static void check_rights(void)
{
	struct stat a, b;
	int fd, inner[2];

	CHECK(expect(rights[1], 6, "before") == -1); /* the descriptor comes with the bytes behind */
	fd = expect(rights[1], 100, "pipe");
	CHECK(fd >= 0 && read(fd, in, 20) == 9 && memcmp(in, "in flight", 9) == 0);
	CHECK(read(fd, in, 20) == 0 && close(fd) == 0);
	CHECK(expect(rights[1], 3, "bet") == -1);
	check_is_write_end(expect(rights[1], 100, "weenheld"));
	CHECK(expect(rights[1], 100, "after") == -1);
	inner[1] = expect(nested[1], 100, "inner 1");
	inner[0] = expect(nested[1], 100, "");
	CHECK(inner[0] >= 0 && inner[1] >= 0);
	check_is_write_end(expect(inner[1], 100, "deepdeeper"));
	CHECK(write(inner[1], "up", 2) == 2 && expect(inner[0], 9, "up") == -1);
	fd = expect(cycle[1], 100, "first");
	CHECK(fstat(fd, &a) == 0 && fstat(cycle[0], &b) == 0 && a.st_ino == b.st_ino);
	fd = expect(cycle[0], 100, "second");
	CHECK(send(fd, "self", 4, 0) == 4 && expect(cycle[1], 100, "self") == -1);
	CHECK(expect(packets[1], 100, "a") >= 0);
	CHECK(close(held_pipe[1]) == 0);
	fd = expect(packets[1], 100, "b");
	CHECK(read(fd, in, 1) == 0); /* all write ends have gone: none was kept by mistake */
}

/* ---- ends that are gone or shut ---- */

static int gone[2], reset[2], half[2], deaf[2], packet_gone[2], dgram_gone[2];

static void build_ends(void)
{
	pair(SOCK_STREAM, gone);
	CHECK(write(gone[0], "testament", 9) == 9 && close(gone[0]) == 0);
	pair(SOCK_STREAM, reset);
	CHECK(write(reset[0], "unread", 6) == 6 && write(reset[1], "x", 1) == 1);
	CHECK(close(reset[0]) == 0); /* with something unread: a reset */
	pair(SOCK_STREAM, half);
	CHECK(write(half[0], "end", 3) == 3 && shutdown(half[0], SHUT_WR) == 0);
	pair(SOCK_SEQPACKET, deaf);
	CHECK(send(deaf[1], "kept", 4, 0) == 4 && shutdown(deaf[0], SHUT_RD) == 0);
	pair(SOCK_SEQPACKET, packet_gone);
	CHECK(send(packet_gone[0], "p1", 2, 0) == 2 && send(packet_gone[0], "p2", 2, 0) == 2);
	CHECK(close(packet_gone[0]) == 0);
	pair(SOCK_DGRAM, dgram_gone);
	CHECK(send(dgram_gone[0], "d1", 2, 0) == 2 && send(dgram_gone[0], "", 0, 0) == 0);
	CHECK(close(dgram_gone[0]) == 0);
}

static int revents(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void check_ends(void)
{
	CHECK(revents(gone[1]) & POLLHUP && expect(gone[1], 100, "testament") == -1);
	CHECK(read(gone[1], in, 9) == 0 && read(gone[1], in, 9) == 0);
	CHECK(send(gone[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(revents(reset[1]) & POLLERR && expect(reset[1], 100, "unread") == -1);
	CHECK(read(reset[1], in, 9) < 0 && errno == ECONNRESET && read(reset[1], in, 9) == 0);
	CHECK(expect(half[1], 100, "end") == -1 && read(half[1], in, 9) == 0);
	CHECK(send(half[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(write(half[1], "still", 5) == 5 && expect(half[0], 100, "still") == -1);
	CHECK(expect(deaf[0], 100, "kept") == -1 && recv(deaf[0], in, 9, MSG_DONTWAIT) == 0);
	CHECK(send(deaf[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(send(deaf[0], "out", 3, 0) == 3 && expect(deaf[1], 100, "out") == -1);
	CHECK(expect(packet_gone[1], 9, "p1") == -1 && expect(packet_gone[1], 9, "p2") == -1);
	CHECK(recv(packet_gone[1], in, 9, 0) == 0);
	CHECK(expect(dgram_gone[1], 9, "d1") == -1 && expect(dgram_gone[1], 9, "") == -1);
	expect_empty(dgram_gone[1]);
	CHECK(send(dgram_gone[1], "x", 1, 0) < 0 && errno == ECONNREFUSED);
}

/* ---- out-of-band bytes ---- */

static int oob[2], oob_first[2], oob_inline[2];

static void build_oob(void)
{
	const int on = 1;

	pair(SOCK_STREAM, oob);
	CHECK(write(oob[0], "before", 6) == 6 && send(oob[0], "!", 1, MSG_OOB) == 1);
	CHECK(write(oob[0], "after", 5) == 5);
	pair(SOCK_STREAM, oob_first);
	CHECK(send(oob_first[0], "?", 1, MSG_OOB) == 1 && write(oob_first[0], "rest", 4) == 4);
	pair(SOCK_STREAM, oob_inline);
	CHECK(setsockopt(oob_inline[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0);
	CHECK(write(oob_inline[0], "in", 2) == 2 && send(oob_inline[0], "L", 1, MSG_OOB) == 1);
	CHECK(write(oob_inline[0], "ine", 3) == 3);
}

static void check_oob(void)
{
	char c = 0;

	CHECK(expect(oob[1], 100, "before") == -1); /* the mark ends a read */
	CHECK(recv(oob[1], &c, 1, MSG_OOB) == 1 && c == '!');
	CHECK(expect(oob[1], 100, "after") == -1);
	CHECK(recv(oob_first[1], &c, 1, MSG_OOB) == 1 && c == '?');
	CHECK(expect(oob_first[1], 100, "rest") == -1);
	CHECK(expect(oob_inline[1], 100, "in") == -1 && expect(oob_inline[1], 100, "Line") == -1);
}

/* ---- the rest ---- */

static int options[2], alone[3], moved[2];

static int get_option(int fd, int name)
{
	int value = -7;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0);
	return value;
}

static void set_option(int fd, int name, int value)
{
	CHECK(setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)) == 0);
}

static void build_options(void)
{
	const struct timeval wait = {.tv_sec = 3, .tv_usec = 500000};
	const struct linger linger = {.l_onoff = 1, .l_linger = 7};

	pair(SOCK_STREAM, options);
	set_option(options[0], SO_SNDBUF, 30000);
	set_option(options[0], SO_RCVBUF, 50000);
	set_option(options[0], SO_PASSCRED, 1);
	set_option(options[1], SO_PRIORITY, 5);
	set_option(options[1], SO_KEEPALIVE, 1);
	CHECK(setsockopt(options[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0);
	CHECK(setsockopt(options[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	/* an offset for MSG_PEEK that the program set itself, and used */
	pair(SOCK_DGRAM, moved);
	CHECK(send(moved[0], "12345", 5, 0) == 5 && send(moved[0], "67890", 5, 0) == 5);
	set_option(moved[1], SO_PEEK_OFF, 2);
	alone[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	alone[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
	alone[2] = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	CHECK(alone[0] >= 0 && alone[1] >= 0 && alone[2] >= 0);
}

static void check_options(void)
{
	struct timeval wait;
	struct linger linger;
	struct sockaddr_un a;
	socklen_t len = sizeof(wait);

	CHECK(get_option(options[0], SO_SNDBUF) == 60000 &&
	      get_option(options[0], SO_RCVBUF) == 100000);
	CHECK(get_option(options[0], SO_PASSCRED) == 1 && get_option(options[1], SO_PASSCRED) == 0);
	CHECK(get_option(options[1], SO_PRIORITY) == 5 && get_option(options[1], SO_KEEPALIVE) == 1);
	CHECK(getsockopt(options[1], SOL_SOCKET, SO_RCVTIMEO, &wait, &len) == 0);
	CHECK(wait.tv_sec == 3 && wait.tv_usec == 500000);
	len = sizeof(linger);
	CHECK(getsockopt(options[1], SOL_SOCKET, SO_LINGER, &linger, &len) == 0);
	CHECK(linger.l_onoff == 1 && linger.l_linger == 7);
	CHECK(get_option(moved[1], SO_PEEK_OFF) == 2);
	CHECK(recv(moved[1], in, 9, MSG_PEEK) == 3 && memcmp(in, "345", 3) == 0);
	CHECK(recv(moved[1], in, 9, MSG_PEEK) == 5 && memcmp(in, "67890", 5) == 0);
	for (int i = 0; i < 3; i++) {
		len = sizeof(a);
		CHECK(getsockname(alone[i], (struct sockaddr *)&a, &len) == 0 &&
		      len == sizeof(sa_family_t));
		CHECK(getpeername(alone[i], (struct sockaddr *)&a, &len) < 0 && errno == ENOTCONN);
	}
	CHECK(fcntl(alone[0], F_GETFL) & O_NONBLOCK && !(fcntl(alone[1], F_GETFL) & O_NONBLOCK));
	CHECK(read(alone[0], in, 1) < 0 && errno == EINVAL);
}

int main(void)
{
	int shared[2];
	struct ucred creds;
	socklen_t len = sizeof(creds);
	pid_t child;

	subject_init();
	pattern_fill(buf, BULK, 19);
	build_messages(dgram, SOCK_DGRAM);
	build_messages(seq, SOCK_SEQPACKET);
	build_streams();
	build_rights();
	build_ends();
	build_oob();
	build_options();
	pair(SOCK_STREAM, shared);
	child = subject_fork();
	if (!child) {
		/* ends that it holds would not be gone */
		CHECK(close_range(3, (unsigned)shared[0], 0) == 0);
		CHECK(read(shared[1], in, 1) == 1); /* blocked here meanwhile */
		CHECK(write(shared[1], "answer", 6) == 6 && read(shared[1], in, 1) == 0);
		_exit(0);
	}
	CHECK(close(shared[1]) == 0);
	subject_ready();
	subject_wait_go();

	check_messages(dgram);
	check_messages(seq);
	check_streams();
	check_rights();
	check_ends();
	check_oob();
	check_options();
	CHECK(getsockopt(shared[0], SOL_SOCKET, SO_PEERCRED, &creds, &len) == 0);
	CHECK(creds.pid == getpid() && creds.uid == geteuid() && creds.gid == getegid());
	CHECK(write(shared[0], "?", 1) == 1 && read(shared[0], in, 9) == 6);
	CHECK(close(shared[0]) == 0);
	subject_reap(child);
	subject_ok();
}
