/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subjects about locks have in common. */
#ifndef LOCKS_H
#define LOCKS_H

#include "subject.h"

#include <fcntl.h>

/* fcntl(fd, command) of a range; len 0: to the end. */
static inline int range_lock(int fd, int command, short type, off_t start, off_t len)
{
	struct flock range = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, command, &range);
}

/* In a file of our folder, a description of its own. */
static inline int open_again(const char *name, int flags)
{
	char path[4096];

	return open(subject_path(path, name), flags);
}

/* Who stands in the way of a lock through fd, by F_GETLK of a process without locks: its pid, -1 for an
 * OFD lock, 0 for nobody. */
static inline pid_t in_the_way(int fd, int command, short type, off_t start, off_t len)
{
	struct flock range = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	CHECK(fcntl(fd, command, &range) == 0);
	return range.l_type == F_UNLCK ? 0 : range.l_pid;
}

/* Until that thread sleeps in the kernel: /proc/PID/task/TID/syscall begins with that number. */
void wait_until_in_call(pid_t pid, pid_t tid, long nr);

#endif
