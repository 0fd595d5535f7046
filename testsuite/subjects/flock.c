/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flock(2): exclusive and shared, through a duplicate, inherited, on a folder, a FIFO, a memfd and a file
 * without a name; and a process that waits for one. The locks must hold exactly as long as the last
 * descriptor of their description.
 */
#include "locks.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fds[6];
static const char *const names[] = {"exclusive", "shared", "folder", "fifo"};

static int again(int i)
{
	char path[PATH_MAX];
	int fd;

	if (i < 4)
		fd = open_again(names[i], i == 3 ? O_RDWR : O_RDONLY);
	else {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		fd = open(path, O_RDWR);
	}
	CHECK(fd >= 0);
	return fd;
}

static bool is_free(int i, int how)
{
	int fd = again(i), got = flock(fd, how | LOCK_NB);

	CHECK(got == 0 || errno == EWOULDBLOCK);
	CHECK(close(fd) == 0);
	return got == 0;
}

static void build(void)
{
	char path[PATH_MAX];

	fds[0] = pattern_file(names[0], 10, 1);
	fds[1] = pattern_file(names[1], 10, 2);
	CHECK(mkdir(subject_path(path, names[2]), 0755) == 0 &&
	      mkfifo(subject_path(path, names[3]), 0644) == 0);
	fds[2] = open_again(names[2], O_RDONLY | O_DIRECTORY);
	fds[3] = open_again(names[3], O_RDWR);
	fds[4] = memfd_create("locked", MFD_CLOEXEC);
	fds[5] = pattern_file("gone", 10, 3);
	CHECK(unlink(subject_path(path, "gone")) == 0);
	for (int i = 0; i < 6; i++)
		CHECK(fds[i] >= 0 && flock(fds[i], i == 1 ? LOCK_SH : LOCK_EX) == 0);
}

static void check_held(void)
{
	for (int i = 0; i < 6; i++)
		CHECK(!is_free(i, LOCK_EX) && is_free(i, LOCK_SH) == (i == 1));
}

/* Waits for the exclusive one, then tells so. */
static pid_t start_waiter(void)
{
	pid_t pid = subject_fork();

	if (pid == 0) {
		int fd = again(0);

		for (int i = 0; i < 6; i++)
			CHECK(close(fds[i]) == 0);
		CHECK(flock(fd, LOCK_EX) == 0);
		CHECK(subject_is_go());
		subject_mark("waiter-has-it");
		_exit(0);
	}
	wait_until_in_call(pid, pid, SYS_flock);
	return pid;
}

/* Holds what it inherited until told. */
static pid_t start_heir(void)
{
	pid_t pid = subject_fork();

	if (pid == 0) {
		subject_wait_mark("let-go");
		_exit(0);
	}
	return pid;
}

int main(void)
{
	pid_t waiter, heir;
	int twin;

	subject_init();
	build();
	check_held();
	heir = start_heir();
	waiter = start_waiter();
	twin = dup(fds[2]);
	CHECK(twin >= 0);
	subject_ready();
	subject_wait_go();
	check_held();
	/* one description: converted by any of its descriptors, gone with the last */
	CHECK(flock(twin, LOCK_SH) == 0 && is_free(2, LOCK_SH) && !is_free(2, LOCK_EX));
	CHECK(flock(fds[1], LOCK_EX) == 0 && !is_free(1, LOCK_SH));
	CHECK(close(fds[1]) == 0);
	fds[1] = -1;
	CHECK(!is_free(1, LOCK_SH)); /* the heir's */
	subject_nap_ms(20);
	CHECK(open_again("waiter-has-it", O_RDONLY) < 0);
	subject_mark("let-go");
	subject_reap(heir);
	CHECK(is_free(1, LOCK_EX));
	CHECK(flock(fds[0], LOCK_UN) == 0);
	subject_wait_mark("waiter-has-it");
	subject_reap(waiter);
	subject_ok();
}
