/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File locks and leases: what the kernel says of them in /proc, and their words. A flock, an OFD lock and
 * a lease belong to an open file description, a POSIX lock to the process; see locks_save.c, locks_load.c.
 */
#include "resource/locks.h"

#include <string.h>

static const struct {
	const char *name;
	Stasis__LockType type;
} types[] = {
	{"FLOCK", STASIS__LOCK_TYPE__LOCK_FLOCK},
	{"POSIX", STASIS__LOCK_TYPE__LOCK_POSIX},
	{"OFDLCK", STASIS__LOCK_TYPE__LOCK_OFD},
	{"LEASE", STASIS__LOCK_TYPE__LOCK_LEASE},
};

static int parse_type(const char *name, Stasis__LockType *ret)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(name, types[i].name)) {
			*ret = types[i].type;
			return 0;
		}
	return -1; /* DELEG, ACCESS */
}

/* proc(5): "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF"; a lease that is being broken shows what it
 * is to become, UNLCK for nothing at all. */
int lock_parse(const char *text, struct lock_line *ret)
{
	char type[16], class[16], mode[16], end[24];
	unsigned long long ino, start;
	struct lock_line l = {.start = 0};

	if (sscanf(text, " %*d: %15s %15s %15s %d %x:%x:%llu %llu %23s", type, class, mode, &l.pid,
		   &l.major, &l.minor, &ino, &start, end) != 9 ||
	    parse_type(type, &l.type) < 0)
		return -1;
	l.is_exclusive = !strcmp(mode, "WRITE");
	l.is_breaking = !strcmp(class, "BREAKING");
	if (!l.is_exclusive && !l.is_breaking && strcmp(mode, "READ") != 0)
		return -1;
	l.ino = ino;
	l.start = start;
	if (strcmp(end, "EOF") != 0)
		l.len = strtoull(end, NULL, 10) - start + 1;
	*ret = l;
	return 0;
}

bool lock_is_range(Stasis__LockType type)
{
	return type == STASIS__LOCK_TYPE__LOCK_POSIX || type == STASIS__LOCK_TYPE__LOCK_OFD;
}

struct flock lock_range(const Stasis__FileLock *k)
{
	return (struct flock){
		.l_type = k->is_exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)k->start,
		.l_len = (off_t)k->len,
	};
}

const char *lock_words(const Stasis__FileLock *k, const char *path, char *buf, size_t len)
{
	const char *mode = k->is_exclusive ? "write" : "read";

	if (k->type == STASIS__LOCK_TYPE__LOCK_FLOCK)
		(void)snprintf(buf, len, "'%.100s': %s flock", path,
			       k->is_exclusive ? "exclusive" : "shared");
	else if (k->type == STASIS__LOCK_TYPE__LOCK_LEASE)
		(void)snprintf(buf, len, "'%.100s': %s lease", path, mode);
	else if (!k->len)
		(void)snprintf(buf, len, "'%.100s': %s lock from byte %llu on", path, mode,
			       (unsigned long long)k->start);
	else if (k->len == 1)
		(void)snprintf(buf, len, "'%.100s': %s lock of byte %llu", path, mode,
			       (unsigned long long)k->start);
	else
		(void)snprintf(buf, len, "'%.100s': %s lock of bytes %llu to %llu", path, mode,
			       (unsigned long long)k->start,
			       (unsigned long long)(k->start + k->len - 1));
	return buf;
}
