/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eventfds: counter, semaphore mode, flags, one shared with a child. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

int main(void)
{
	int plain, sem, shared;
	eventfd_t v;
	pid_t child;

	subject_init();
	plain = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	sem = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
	shared = eventfd(0, 0);
	CHECK(plain >= 0 && sem >= 0 && shared >= 0);
	CHECK(eventfd_write(plain, 0xfffffffffffff000u) == 0);
	child = subject_fork();
	if (!child) {
		CHECK(eventfd_read(shared, &v) == 0 && v == 55); /* blocked while checkpointed */
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(plain, F_GETFD) == FD_CLOEXEC && (fcntl(plain, F_GETFL) & O_NONBLOCK));
	CHECK(eventfd_read(plain, &v) == 0 && v == 0xfffffffffffff000u);
	CHECK(eventfd_read(plain, &v) < 0 && errno == EAGAIN);
	CHECK(eventfd_read(sem, &v) == 0 && v == 1);
	CHECK(eventfd_read(sem, &v) == 0 && v == 1);
	CHECK(eventfd_read(sem, &v) == 0 && v == 1);
	CHECK(eventfd_read(sem, &v) < 0 && errno == EAGAIN);
	CHECK(eventfd_write(shared, 55) == 0);
	subject_reap(child);
	subject_ok();
}
