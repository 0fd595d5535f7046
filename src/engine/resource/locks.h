/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about locks know of each other. */
#ifndef RESOURCE_LOCKS_H
#define RESOURCE_LOCKS_H

#include "resource/resource_priv.h"

/* One "lock:" line of fdinfo, or one of /proc/locks. */
struct lock_line {
	Stasis__LockType type;
	bool is_exclusive;
	bool is_breaking; /* a lease that somebody else wants away */
	pid_t pid;	  /* who took it; -1: OFD, 0: not of our pid namespace */
	unsigned major, minor;
	uint64_t ino;
	uint64_t start, len; /* len 0: to the end */
};

/* The line from its first number on. -1: not as proc(5) says, or a kind that no program can take. */
int lock_parse(const char *text, struct lock_line *ret);

/* "'PATH': exclusive flock", "'PATH': write lock of bytes 3 to 7". */
const char *lock_words(const Stasis__FileLock *k, const char *path, char *buf, size_t len);

bool lock_is_range(Stasis__LockType type);
struct flock lock_range(const Stasis__FileLock *k);

/* locks_holder.c: who has the file behind fd locked against k, as "NAME(PID)", or "somebody else". */
void lock_find_holder(const struct session *s, int fd, const Stasis__FileLock *k, char *buf, size_t len);

#endif
