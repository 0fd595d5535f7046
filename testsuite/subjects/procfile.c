/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and folders of /proc and /sys: of itself and of its parent, with positions, writable, shared in one
 * process, by O_PATH, in an epoll instance; and namespaces.
 */
#include "subject.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_checked(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		subject_bad("open '%s' (errno %d)", path, errno);
	return fd;
}

/* What follows a name in a file like /proc/PID/status. */
static long number_after(int fd, const char *name)
{
	char text[8192] = "", *at;

	CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0);
	at = strstr(text, name);
	CHECK(at);
	return strtol(at + strlen(name), NULL, 10);
}

static bool is_ns(int fd, const char *name)
{
	char path[64];
	struct stat a, b;

	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino;
}

/* Take entries of a folder; returns how many there are from here on. */
static int count_entries(int fd)
{
	DIR *dir = fdopendir(fd);
	int nr = 0;

	CHECK(dir);
	while (readdir(dir))
		nr++;
	return nr;
}

static void child_main(void)
{
	int status, net;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", getppid());
	status = open_checked(path, O_RDONLY);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", getppid());
	net = open_checked(path, O_RDONLY | O_CLOEXEC);
	subject_mark("child");
	subject_wait_go();
	CHECK(number_after(status, "\nPid:\t") == getppid());
	CHECK(is_ns(net, "net") && fcntl(net, F_GETFD) == FD_CLOEXEC);
	_exit(0);
}

static volatile long target = 1;

int main(void)
{
	int status, twin, again, task, fds, mem, self, uts, mounts, osrelease, sys, epoll, first;
	struct epoll_event event = {.events = EPOLLPRI, .data.u32 = 7};
	const long value = 4711;
	char bytes[6] = "";
	struct stat st;
	pid_t child;

	subject_init();
	child = subject_fork();
	if (!child)
		child_main();
	status = open_checked("/proc/self/status", O_RDONLY | O_CLOEXEC);
	CHECK(read(status, bytes, 3) == 3 && !memcmp(bytes, "Nam", 3));
	twin = dup(status);
	again = open_checked("/proc/self/task/../stat", O_RDONLY);
	task = open_checked("/proc/thread-self", O_RDONLY | O_DIRECTORY);
	fds = open_checked("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	mem = open_checked("/proc/self/mem", O_RDWR);
	CHECK(lseek(mem, (off_t)(uintptr_t)&target, SEEK_SET) > 0);
	self = open_checked("/proc/self/", O_PATH | O_DIRECTORY);
	uts = open_checked("/proc/self/ns/uts", O_RDONLY);
	mounts = open_checked("/proc/self/mounts", O_RDONLY);
	osrelease = open_checked("/proc/sys/kernel/osrelease", O_RDONLY);
	sys = open_checked("/sys/kernel", O_RDONLY | O_DIRECTORY);
	epoll = epoll_create1(0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, mounts, &event) == 0);
	first = count_entries(dup(fds));
	CHECK(first > 10);
	subject_wait_mark("child");
	subject_ready();
	subject_wait_go();
	CHECK(read(twin, bytes, 3) == 3 && !memcmp(bytes, "e:\t", 3));
	CHECK(lseek(status, 0, SEEK_CUR) == 6 && fcntl(status, F_GETFD) == FD_CLOEXEC);
	CHECK(number_after(status, "\nPid:\t") == getpid() && number_after(again, "") == getpid());
	CHECK(faccessat(task, "children", F_OK, 0) == 0 || errno == ENOENT);
	CHECK(faccessat(task, "comm", R_OK, 0) == 0);
	CHECK(count_entries(dup(fds)) == 0 && lseek(fds, 0, SEEK_SET) == 0);
	CHECK(count_entries(fds) >= first);
	CHECK(write(mem, &value, sizeof(value)) == sizeof(value) && target == value);
	CHECK(fcntl(self, F_GETFL) & O_PATH && fstatat(self, "status", &st, 0) == 0);
	CHECK(is_ns(uts, "uts"));
	CHECK(read(osrelease, bytes, 1) == 1 && fstatat(sys, "mm", &st, 0) == 0);
	event.events = EPOLLPRI | EPOLLET;
	CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, mounts, &event) == 0);
	subject_reap(child);
	subject_ok();
}
