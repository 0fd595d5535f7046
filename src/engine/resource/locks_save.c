/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which locks the tree holds. fdinfo lists those that were taken through a description: flocks, OFD locks
 * and leases with each of its descriptors; POSIX locks only with those of the process that owns them.
 * There are no others: the kernel drops a process's POSIX locks of a file with the first descriptor of that
 * file which it closes.
 */
#include "resource/locks.h"

#include "lib/proc.h"

#include <string.h>

enum { MAPS_MAX_BYTES = 256 << 20 };

static const char lock_key[] = "\nlock:";

/* The next "lock:" line behind *at; false at the end. */
static bool next_line(const char **at)
{
	const char *line = *at ? strstr(*at, lock_key) : NULL;

	if (line)
		*at = line + sizeof(lock_key) - 1;
	return line != NULL;
}

static void fill(const struct lock_line *l, Stasis__FileLock *ret)
{
	stasis__file_lock__init(ret);
	ret->type = l->type;
	ret->is_exclusive = l->is_exclusive;
	ret->start = l->start;
	ret->len = l->len;
}

static int append(struct fd_save *c, const struct lock_line *l, uint32_t fd, Stasis__FileLock **list,
		  size_t *nr)
{
	Stasis__FileLock *k = fd_save_alloc(c, sizeof(*k));

	if (!k)
		return -1;
	fill(l, k);
	k->fd = fd;
	list[(*nr)++] = k;
	return 0;
}

static size_t count_lines(const char *fdinfo)
{
	size_t nr = 0;

	for (const char *at = fdinfo; next_line(&at);)
		nr++;
	return nr;
}

/* ---- leases ---- */

/* /proc/PID/maps shows device and inode as the lock line does: "08:01 1234". */
static bool maps_file(struct task *t, const struct lock_line *l)
{
	scoped_free char *text = NULL;
	char key[64];
	size_t len;

	(void)snprintf(key, sizeof(key), " %02x:%02x %llu ", l->major, l->minor,
		       (unsigned long long)l->ino);
	if (io_read_file_at(t->procfd, "maps", MAPS_MAX_BYTES, &text, &len, NULL) < 0)
		return true; /* cannot tell */
	return strstr(text, key) != NULL;
}

static bool is_mapped(const struct fd_save *c, const struct lock_line *l)
{
	struct task *t;
	size_t i;

	tree_for_each(c->tree, i, t)
		if (t->state != TASK_ZOMBIE && maps_file(t, l))
			return true;
	return false;
}

/* A write lease wants its description to be the only one; a restart opens what is mapped, and what has no
 * path, a second time. */
static const char *lease_obstacle(const struct fd_save *c, const struct fd_desc *d,
				  const struct lock_line *l)
{
	if (l->is_breaking)
		return "lease that is being broken by somebody who opens the file; checkpoint again when "
		       "that is done";
	if (d->rec.kind_case != STASIS__DESCRIPTION__KIND_REGULAR || d->rec.regular->object)
		return "lease on a file without a path; give it up (F_UNLCK) before the checkpoint";
	if (d->first->local_fd >= 0)
		return "lease; give it up (F_UNLCK) before the checkpoint";
	if (l->is_exclusive && is_mapped(c, l))
		return "write lease on a file that is mapped; give it up (F_UNLCK) before the checkpoint";
	return NULL;
}

bool locks_has_write_lease(const struct fd_desc *d)
{
	for (size_t i = 0; i < d->rec.n_locks; i++)
		if (d->rec.locks[i]->type == STASIS__LOCK_TYPE__LOCK_LEASE &&
		    d->rec.locks[i]->is_exclusive)
			return true;
	return false;
}

/* ---- descriptions ---- */

static int report(struct fd_save *c, struct fd_desc *d, const char *what, struct stasis_error *err)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%s'%.80s': %s",
		       d->first->local_fd >= 0 ? "descriptor in flight in a socket: " : "", d->link,
		       what);
	if (!d->obstacle)
		d->obstacle = fd_save_strdup(c, text);
	if (!d->obstacle)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	fd_save_report(c, d->first->task, d->first->fd, text, STASIS_E_UNSUPPORTED);
	return 0;
}

static const char *line_obstacle(const struct fd_save *c, const struct fd_desc *d, const char *at,
				 struct lock_line *ret)
{
	if (lock_parse(at, ret) < 0)
		return "lock of a kind that is not supported; release it before the checkpoint";
	return ret->type == STASIS__LOCK_TYPE__LOCK_LEASE ? lease_obstacle(c, d, ret) : NULL;
}

static int save_desc(struct fd_save *c, struct fd_desc *d, struct stasis_error *err)
{
	size_t nr = count_lines(d->first->fdinfo);

	if (!nr)
		return 0;
	d->rec.locks = fd_save_alloc(c, nr * sizeof(Stasis__FileLock *));
	if (!d->rec.locks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for locks");
	for (const char *at = d->first->fdinfo; next_line(&at);) {
		struct lock_line l;
		const char *obstacle = line_obstacle(c, d, at, &l);

		if (obstacle && report(c, d, obstacle, err) < 0)
			return -1;
		if (obstacle || l.type == STASIS__LOCK_TYPE__LOCK_POSIX)
			continue;
		if (append(c, &l, 0, d->rec.locks, &d->rec.n_locks) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for locks");
	}
	return 0;
}

static bool is_kept(const struct fd_desc *d)
{
	return d->is_used && d->rec.kind_case != STASIS__DESCRIPTION__KIND__NOT_SET &&
	       d->rec.kind_case != STASIS__DESCRIPTION__KIND_UNSUPPORTED;
}

int locks_save(struct fd_save *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++)
		if (is_kept(c->descs[i]) && save_desc(c, c->descs[i], err) < 0)
			return -1;
	return 0;
}

/* ---- processes ---- */

/* fdinfo of duplicates in one process says the same. */
static bool is_duplicate(const struct fd_save *c, const struct fd_entry *e)
{
	for (size_t i = c->task_first[e->task->index]; &c->entries[i] < e; i++)
		if (c->entries[i].desc == e->desc && !c->entries[i].is_ignored)
			return true;
	return false;
}

static int save_entry(struct fd_save *c, const struct fd_entry *e, Stasis__FdTable *ret)
{
	for (const char *at = e->fdinfo; next_line(&at);) {
		struct lock_line l;

		if (lock_parse(at, &l) < 0 || l.type != STASIS__LOCK_TYPE__LOCK_POSIX)
			continue;
		if (append(c, &l, (uint32_t)e->fd, ret->locks, &ret->n_locks) < 0)
			return -1;
	}
	return 0;
}

int locks_save_table(struct fd_save *c, const struct task *t, Stasis__FdTable *ret,
		     struct stasis_error *err)
{
	size_t first = c->task_first[t->index], end = c->task_first[t->index + 1], nr = 0;

	for (size_t i = first; i < end; i++)
		nr += count_lines(c->entries[i].fdinfo);
	if (!nr)
		return 0;
	ret->locks = fd_save_alloc(c, nr * sizeof(Stasis__FileLock *));
	if (!ret->locks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for locks");
	for (size_t i = first; i < end; i++) {
		const struct fd_entry *e = &c->entries[i];

		if (e->is_ignored || !is_kept(e->desc) || !count_lines(e->fdinfo) ||
		    is_duplicate(c, e))
			continue;
		if (save_entry(c, e, ret) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for locks");
	}
	return 0;
}
