/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What no image holds: odd-tasks thread-table (a thread with descriptors of its own), shared-table (a child
 * with its parent's), dispatch (system calls that come back as signals), uring (an io_uring with a mapped ring).
 */
#include "subject.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SET_DISPATCH = 59, DISPATCH_ON = 1 }; /* <linux/prctl.h>, Linux 5.11 */

static void *own_table(void *arg)
{
	(void)arg;
	CHECK(unshare(CLONE_FILES) == 0);
	subject_mark("unshared");
	subject_wait_go();
	return NULL;
}

static int wait_in_child(void *arg)
{
	(void)arg;
	subject_wait_go();
	return 0;
}

static void make_ring(void)
{
	struct io_uring_params params;
	int fd;

	memset(&params, 0, sizeof(params));
	fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0)
		subject_mark("none"); /* switched off: kernel.io_uring_disabled */
	else
		CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING) !=
		      MAP_FAILED);
}

static volatile char selector; /* SYSCALL_DISPATCH_FILTER_ALLOW */

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	pthread_t thread;
	char *stack = malloc(1 << 16);
	pid_t child = 0;

	subject_init();
	if (!strcmp(what, "thread-table")) {
		CHECK(pthread_create(&thread, NULL, own_table, NULL) == 0);
		subject_wait_mark("unshared");
	} else if (!strcmp(what, "shared-table")) {
		child = clone(wait_in_child, stack + (1 << 16), CLONE_FILES | SIGCHLD, NULL);
		CHECK(child > 0);
	} else if (!strcmp(what, "uring")) {
		make_ring();
	} else {
		CHECK(prctl(SET_DISPATCH, DISPATCH_ON, 0, 0, &selector) == 0);
	}
	subject_ready();
	subject_wait_go();
	if (child)
		subject_reap(child);
	subject_ok();
}
