/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX record locks: read and write, of many ranges, to the end, through two descriptions of one file
 * (one of them opened after the lock was taken), on the own executable, on a memfd and a file without a
 * name; of parent and child side by side; and a child that waits for one.
 */
#include "locks.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NR_RANGES = 300, FAR = 1 << 30 };

static int many, twin, later, memfd, gone, exe;

static void build(void)
{
	char path[PATH_MAX];

	many = pattern_file("many", 10, 1);
	twin = open_again("many", O_RDWR);
	for (int i = 0; i < NR_RANGES; i++)
		CHECK(range_lock(i % 3 ? many : twin, F_SETLK, i % 2 ? F_RDLCK : F_WRLCK, i * 10,
				 5) == 0);
	CHECK(range_lock(many, F_SETLK, F_WRLCK, FAR, 0) == 0);
	later = open_again("many", O_RDONLY);
	memfd = memfd_create("locked", 0);
	gone = pattern_file("gone", 10, 2);
	CHECK(unlink(subject_path(path, "gone")) == 0);
	exe = open("/proc/self/exe", O_RDONLY);
	CHECK(later >= 0 && memfd >= 0 && exe >= 0);
	CHECK(range_lock(memfd, F_SETLK, F_WRLCK, 0, 0) == 0);
	CHECK(range_lock(gone, F_SETLK, F_RDLCK, 7, 2) == 0);
	/* a byte of our own: other subjects may run the same program */
	CHECK(range_lock(exe, F_SETLK, F_RDLCK, getpid(), 1) == 0);
}

/* In a process without locks, which the parent's keep out. */
static void check_as_stranger(pid_t owner)
{
	for (int i = 0; i < NR_RANGES; i++) {
		CHECK(in_the_way(many, F_GETLK, F_WRLCK, i * 10, 5) == owner);
		CHECK(in_the_way(many, F_GETLK, F_WRLCK, i * 10 + 4, 1) == owner);
		CHECK(in_the_way(many, F_GETLK, F_WRLCK, i * 10 + 5, 5) == 0);
		CHECK(in_the_way(many, F_GETLK, F_RDLCK, i * 10, 5) == (i % 2 ? 0 : owner));
	}
	CHECK(in_the_way(many, F_GETLK, F_RDLCK, (off_t)1 << 60, 1) == owner);
	CHECK(in_the_way(many, F_GETLK, F_RDLCK, FAR - 1, 1) == 0);
	CHECK(in_the_way(memfd, F_GETLK, F_RDLCK, 0, 0) == owner);
	CHECK(in_the_way(gone, F_GETLK, F_RDLCK, 7, 2) == 0);
	CHECK(in_the_way(gone, F_GETLK, F_WRLCK, 8, 5) == owner);
	CHECK(in_the_way(exe, F_GETLK, F_WRLCK, owner, 1) == owner);
}

static void check(void)
{
	pid_t owner = getpid(), pid = subject_fork();

	if (pid == 0) {
		check_as_stranger(owner);
		_exit(0);
	}
	subject_reap(pid);
}

/* Reads what the parent reads, has bytes of its own, and waits for some of the parent's. */
static pid_t start_child(void)
{
	pid_t pid = subject_fork();

	if (pid == 0) {
		CHECK(range_lock(many, F_SETLK, F_RDLCK, 10, 5) == 0);
		CHECK(range_lock(many, F_SETLK, F_WRLCK, FAR - 100, 10) == 0);
		CHECK(range_lock(twin, F_SETLKW, F_WRLCK, 20, 2) == 0);
		CHECK(subject_is_go());
		subject_mark("child-has-it");
		subject_wait_mark("let-go");
		_exit(0);
	}
	wait_until_in_call(pid, pid, SYS_fcntl);
	return pid;
}

int main(void)
{
	pid_t child;

	subject_init();
	build();
	check();
	child = start_child();
	subject_ready();
	subject_wait_go();
	CHECK(in_the_way(many, F_GETLK, F_WRLCK, 10, 5) == child);
	CHECK(in_the_way(many, F_GETLK, F_WRLCK, FAR - 95, 1) == child);
	CHECK(open_again("child-has-it", O_RDONLY) < 0);
	CHECK(range_lock(later, F_SETLK, F_UNLCK, 20, 5) == 0);
	subject_wait_mark("child-has-it");
	CHECK(in_the_way(many, F_GETLK, F_RDLCK, 21, 1) == child);
	subject_mark("let-go");
	subject_reap(child);
	CHECK(range_lock(twin, F_SETLK, F_WRLCK, 20, 5) == 0);
	check();
	/* they are the process's: any descriptor of the file that it closes takes them along */
	CHECK(close(later) == 0);
	child = subject_fork();
	if (child == 0) {
		CHECK(in_the_way(many, F_GETLK, F_WRLCK, 0, 0) == 0);
		_exit(0);
	}
	subject_reap(child);
	subject_ok();
}
