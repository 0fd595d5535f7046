/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File locks and leases. They are not saved yet: a program that holds one is told so before anything
 * is written, with the words of the CONVEX guide.
 */
#include "resource/resource_priv.h"

#include <string.h>

struct lock_line {
	char type[16];	/* FLOCK, POSIX, OFDLCK, LEASE, DELEG */
	char class[16]; /* ADVISORY, ACTIVE, BREAKING */
	char mode[16];	/* READ, WRITE */
	long long start;
};

/* proc(5): "lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF" */
static bool parse(const char *fdinfo, struct lock_line *l)
{
	const char *line = strstr(fdinfo, "\nlock:");

	if (!line)
		return false;
	return sscanf(line + 6, " %*d: %15s %15s %15s %*d %*s %lld", l->type, l->class, l->mode,
		      &l->start) == 4;
}

const char *lock_obstacle(const char *fdinfo, const char *path, char *buf, size_t len)
{
	struct lock_line l;

	buf[0] = '\0';
	if (!parse(fdinfo, &l))
		return buf;
	if (!strcmp(l.type, "FLOCK"))
		(void)snprintf(buf, len, "'%.100s': %s file lock held; release it before the checkpoint",
			       path, !strcmp(l.mode, "WRITE") ? "exclusive" : "shared");
	else if (!strcmp(l.type, "POSIX") || !strcmp(l.type, "OFDLCK"))
		(void)snprintf(buf, len,
			       "'%.100s': record lock held beginning at byte %lld; release it before "
			       "the checkpoint",
			       path, l.start);
	else
		(void)snprintf(buf, len,
			       "'%.100s': lease held (F_SETLEASE); release it before the checkpoint",
			       path);
	return buf;
}
