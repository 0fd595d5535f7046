/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is in the way of a lock: for the message when a restart cannot have it. /proc/locks says who took a
 * lock; who holds it may be others, who have the description from him by fork(2). That is told by fdinfo.
 */
#include "resource/locks.h"

#include "lib/proc.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { LOCKS_MAX_BYTES = 64 << 20, FDINFO_MAX_BYTES = 16 << 20 };

static bool overlap(const struct lock_line *l, const Stasis__FileLock *k)
{
	uint64_t end = k->len ? k->start + k->len : UINT64_MAX;
	uint64_t l_end = l->len ? l->start + l->len : UINT64_MAX;

	return l->start < end && k->start < l_end;
}

/* POSIX and OFD locks exclude each other; flocks and leases are worlds of their own. */
static bool is_in_the_way(const struct lock_line *l, const struct stat *st, const Stasis__FileLock *k)
{
	if (l->ino != st->st_ino || l->major != major(st->st_dev) || l->minor != minor(st->st_dev))
		return false;
	if (!l->is_exclusive && !k->is_exclusive)
		return false;
	if (lock_is_range(k->type))
		return lock_is_range(l->type) && overlap(l, k);
	return l->type == k->type;
}

static bool find_line(const char *text, const char *key, const struct stat *st,
		      const Stasis__FileLock *k, struct lock_line *ret)
{
	for (const char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
		if (strncmp(at, key, strlen(key)) != 0)
			continue;
		/* "N: -> " are those that wait, which is no kind that lock_parse() knows */
		if (lock_parse(at + strlen(key), ret) == 0 && is_in_the_way(ret, st, k))
			return true;
	}
	return false;
}

static bool name_process(int procdir, pid_t pid, char *buf, size_t len)
{
	struct proc_stat st;
	char name[32];

	(void)snprintf(name, sizeof(name), "%d/stat", pid);
	if (pid <= 0 || proc_read_stat(procdir, name, &st, NULL) < 0 || st.state == 'Z')
		return false;
	(void)snprintf(buf, len, "%.16s(%d)", st.comm, pid);
	return true;
}

static bool holds(int procdir, pid_t pid, const struct stat *st, const Stasis__FileLock *k)
{
	scoped_free int *fds = NULL;
	char name[48];
	size_t nr;

	(void)snprintf(name, sizeof(name), "%d/fdinfo", pid);
	if (proc_list_numbers(procdir, name, &fds, &nr, NULL) < 0)
		return false; /* not ours to look at, or gone */
	for (size_t i = 0; i < nr; i++) {
		scoped_free char *text = NULL;
		struct lock_line l;
		size_t len;

		(void)snprintf(name, sizeof(name), "%d/fdinfo/%d", pid, fds[i]);
		if (io_read_file_at(procdir, name, FDINFO_MAX_BYTES, &text, &len, NULL) == 0 &&
		    find_line(text, "lock:", st, k, &l))
			return true;
	}
	return false;
}

static bool find_in_fdinfo(int procdir, const struct stat *st, const Stasis__FileLock *k, char *buf,
			   size_t len)
{
	scoped_free int *pids = NULL;
	size_t nr;

	if (proc_list_numbers(procdir, ".", &pids, &nr, NULL) < 0)
		return false;
	for (size_t i = 0; i < nr; i++)
		if (holds(procdir, pids[i], st, k) && name_process(procdir, pids[i], buf, len))
			return true;
	return false;
}

/* On file systems that show stat(2) another device than /proc (btrfs, overlay) the kernel must be asked. */
static pid_t pid_in_the_way(int fd, const Stasis__FileLock *k)
{
	struct flock range = lock_range(k);

	if (!lock_is_range(k->type) || fcntl(fd, F_GETLK, &range) < 0 || range.l_type == F_UNLCK)
		return 0;
	return range.l_pid;
}

void lock_find_holder(const struct session *s, int fd, const Stasis__FileLock *k, char *buf, size_t len)
{
	scoped_fd int own = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int procdir = s->procdir > 0 ? s->procdir : own;
	scoped_free char *text = NULL;
	struct lock_line l;
	struct stat st;
	size_t size;

	(void)snprintf(buf, len, "somebody else");
	if (fstat(fd, &st) < 0 ||
	    io_read_file_at(procdir, "locks", LOCKS_MAX_BYTES, &text, &size, NULL) < 0)
		return;
	if (!find_line(text, "", &st, k, &l)) {
		(void)name_process(own, pid_in_the_way(fd, k), buf, len);
		return;
	}
	/* a POSIX lock is its taker's; of another one the taker may be gone and his pid a stranger's */
	if (l.type != STASIS__LOCK_TYPE__LOCK_POSIX && find_in_fdinfo(procdir, &st, k, buf, len))
		return;
	(void)name_process(procdir, l.pid, buf, len);
}
