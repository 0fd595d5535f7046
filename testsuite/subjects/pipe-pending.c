/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pipes with unread bytes: several holders, sizes, packet mode, one end closed, non-blocking. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BULK (200u << 10)

static uint8_t buf[BULK], in[BULK];

static void read_exactly(int fd, void *to, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len && (n = read(fd, (uint8_t *)to + got, len - got)) > 0)
		got += (size_t)n;
	CHECK(got == len);
}

static int child_main(const int *ask, const int *answer)
{
	char c;

	CHECK(close(ask[1]) == 0 && close(answer[0]) == 0);
	read_exactly(ask[0], &c, 1); /* blocked here while it is checkpointed */
	CHECK(c == '?');
	CHECK(write(answer[1], "answer", 6) == 6);
	CHECK(read(ask[0], &c, 1) == 0); /* end of file once the parent's end is closed */
	return 0;
}

static void check_packets(int fd, int write_end)
{
	char p[100];

	CHECK((fcntl(write_end, F_GETFL) & O_DIRECT) != 0); /* only this end carries the mode */
	CHECK(read(fd, p, sizeof(p)) == 3 && memcmp(p, "one", 3) == 0);
	CHECK(read(fd, p, sizeof(p)) == 5 && memcmp(p, "three", 5) == 0);
	CHECK(read(fd, p, 2) == 2 && memcmp(p, "fo", 2) == 0); /* the rest of a packet is dropped */
	CHECK(read(fd, p, sizeof(p)) == 4 && memcmp(p, "last", 4) == 0);
}

int main(void)
{
	int big[2], packet[2], orphan[2], broken[2], ask[2], answer[2], empty[2];
	char text[16];
	pid_t child;
	int avail, dup_r;

	subject_init();
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	CHECK(pipe2(big, O_CLOEXEC) == 0 && pipe2(packet, O_DIRECT) == 0 && pipe(orphan) == 0);
	CHECK(pipe(broken) == 0 && pipe(ask) == 0 && pipe(answer) == 0);
	CHECK(pipe2(empty, O_NONBLOCK) == 0);
	CHECK(fcntl(big[1], F_SETPIPE_SZ, 256 << 10) == 256 << 10);
	pattern_fill(buf, BULK, 8);
	CHECK(write(big[1], buf, BULK) == BULK);
	CHECK(write(packet[1], "one", 3) == 3 && write(packet[1], "three", 5) == 5 &&
	      write(packet[1], "four", 4) == 4 && write(packet[1], "last", 4) == 4);
	CHECK(write(orphan[1], "left behind", 11) == 11 && close(orphan[1]) == 0);
	CHECK(close(broken[0]) == 0);
	dup_r = fcntl(big[0], F_DUPFD, 300);
	child = subject_fork();
	if (!child)
		_exit(child_main(ask, answer));
	CHECK(close(ask[0]) == 0 && close(answer[1]) == 0);
	subject_ready();
	subject_wait_go();

	CHECK(fcntl(big[1], F_GETPIPE_SZ) == 256 << 10);
	CHECK(ioctl(big[0], FIONREAD, &avail) == 0 && avail == BULK);
	read_exactly(big[0], in, BULK / 2);
	read_exactly(dup_r, in + BULK / 2, BULK / 2);
	CHECK(memcmp(in, buf, BULK) == 0);
	CHECK(fcntl(big[0], F_GETFD) == FD_CLOEXEC && fcntl(dup_r, F_GETFD) == 0);
	check_packets(packet[0], packet[1]);
	CHECK(read(orphan[0], text, sizeof(text)) == 11 && memcmp(text, "left behind", 11) == 0);
	CHECK(read(orphan[0], text, sizeof(text)) == 0);
	CHECK(write(broken[1], "x", 1) < 0 && errno == EPIPE);
	CHECK(read(empty[0], text, 1) < 0 && errno == EAGAIN);
	CHECK(write(ask[1], "?", 1) == 1);
	read_exactly(answer[0], text, 6);
	CHECK(memcmp(text, "answer", 6) == 0);
	CHECK(close(ask[1]) == 0);
	subject_reap(child);
	CHECK(read(answer[0], text, 1) == 0);
	subject_ok();
}
