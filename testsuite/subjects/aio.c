/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contexts of asynchronous I/O: one idle, one with results not taken yet (also around the end of the
 * ring), one that announces results through an eventfd. Ids must stay, results come once and in order,
 * and new requests be answered. The ring that a child has inherited is no context of its.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { QUEUED = 5, LEN = 4096 };

static char bytes[LEN];

static aio_context_t setup(unsigned nr)
{
	aio_context_t ctx = 0;

	CHECK(syscall(SYS_io_setup, nr, &ctx) == 0);
	return ctx;
}

static void submit(aio_context_t ctx, int fd, uint64_t data, int event_fd)
{
	struct iocb cb = {.aio_data = data,
			  .aio_lio_opcode = IOCB_CMD_PREAD,
			  .aio_fildes = (uint32_t)fd,
			  .aio_buf = (uintptr_t)bytes,
			  .aio_nbytes = LEN};
	struct iocb *list[1] = {&cb};

	if (event_fd >= 0) {
		cb.aio_flags = IOCB_FLAG_RESFD;
		cb.aio_resfd = (uint32_t)event_fd;
	}
	CHECK(syscall(SYS_io_submit, ctx, 1, list) == 1);
}

/* Exactly those results, with the bytes of the file. */
static void take(aio_context_t ctx, uint64_t first, unsigned nr)
{
	struct io_event e;

	for (unsigned i = 0; i < nr; i++) {
		CHECK(syscall(SYS_io_getevents, ctx, 1, 1, &e, NULL) == 1);
		if (e.data != first + i || e.res != LEN)
			subject_bad("result %llu of %lld bytes instead of %llu",
				    (unsigned long long)e.data, (long long)e.res,
				    (unsigned long long)(first + i));
	}
	CHECK(syscall(SYS_io_getevents, ctx, 0, 1, &e, NULL) == 0);
	CHECK(pattern_matches(bytes, LEN, 91));
}

/* More than the ring has places, so that it goes round. */
static void use_up(aio_context_t ctx, int fd, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		submit(ctx, fd, i, -1);
		take(ctx, i, 1);
	}
}

int main(void)
{
	aio_context_t idle, queued, round, notifying;
	uint64_t count = 0;
	struct io_event e;
	int fd, event_fd;
	pid_t child;

	subject_init();
	fd = pattern_file("data", LEN, 91);
	event_fd = eventfd(0, EFD_NONBLOCK);
	idle = setup(8);
	queued = setup(100);
	round = setup(8);
	notifying = setup(8);
	for (unsigned i = 0; i < QUEUED; i++)
		submit(queued, fd, 100 + i, -1);
	use_up(round, fd, ((const uint32_t *)(uintptr_t)round)[1] - 2);
	for (unsigned i = 0; i < QUEUED; i++)
		submit(round, fd, 200 + i, -1);
	submit(notifying, fd, 300, event_fd);
	child = subject_fork();
	if (child == 0) {
		subject_wait_go();
		CHECK(syscall(SYS_io_getevents, idle, 0, 1, &e, NULL) < 0 && errno == EINVAL);
		_exit(0);
	}
	subject_ready();
	subject_wait_go();

	memset(bytes, 0, LEN);
	use_up(idle, fd, 300);
	take(queued, 100, QUEUED);
	take(round, 200, QUEUED);
	use_up(round, fd, 300);
	CHECK(read(event_fd, &count, sizeof(count)) == sizeof(count) && count == 1);
	take(notifying, 300, 1);
	submit(notifying, fd, 301, event_fd);
	CHECK(read(event_fd, &count, sizeof(count)) == sizeof(count) && count == 1);
	CHECK(syscall(SYS_io_destroy, idle) == 0 && syscall(SYS_io_destroy, queued) == 0);
	subject_reap(child);
	subject_ok();
}
