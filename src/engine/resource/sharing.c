/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which descriptors are one open file description (dup, fork). The kernel does not name descriptions;
 * kcmp(2) orders them. Descriptors with a different mount, inode, flags or position cannot be one, so
 * only the others are compared.
 */
#include "resource/resource_priv.h"

#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* What descriptors of one description have in common. */
static int compare_keys(const struct fd_entry *a, const struct fd_entry *b)
{
	int diff = compare_u64(a->ino, b->ino);

	if (!diff)
		diff = compare_u64(a->mnt_id, b->mnt_id);
	if (!diff)
		diff = compare_u64(a->flags, b->flags);
	if (!diff)
		diff = compare_u64(a->pos, b->pos);
	return diff;
}

/* Within a key by position in the array: parents first. */
static int compare_entries(const void *pa, const void *pb)
{
	const struct fd_entry *a = *(struct fd_entry *const *)pa, *b = *(struct fd_entry *const *)pb;
	int diff = compare_keys(a, b);

	return diff ? diff : (a < b ? -1 : a > b);
}

/* kcmp's order of the descriptions: -1, 0, 1. When it is denied, equal keys count as shared. */
static int compare_descriptions(struct fd_save *c, const struct fd_entry *a,
				const struct fd_entry *b)
{
	pid_t a_pid = a->local_fd < 0 ? task_live_tid(a->task) : getpid();
	pid_t b_pid = b->local_fd < 0 ? task_live_tid(b->task) : getpid();
	long got;

	if (c->is_kcmp_denied)
		return 0;
	got = syscall(SYS_kcmp, a_pid, b_pid, KCMP_FILE, a->local_fd < 0 ? a->fd : a->local_fd,
		      b->local_fd < 0 ? b->fd : b->local_fd);
	if (got < 0 && (errno == EPERM || errno == ENOSYS || errno == EACCES)) {
		c->is_kcmp_denied = true;
		s_warn(c->s, "kcmp: %s: descriptors that look the same are taken for duplicates",
		       strerror(errno));
		return 0;
	}
	if (got == 0)
		return 0;
	return got == 1 ? -1 : 1;
}

struct fd_entry *fd_save_find(struct fd_save *c, const struct task *t, int fd)
{
	size_t low = c->task_first[t->index], high = c->task_first[t->index + 1];

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->entries[mid].fd == fd)
			return &c->entries[mid];
		if (c->entries[mid].fd < fd)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static struct fd_desc *new_desc(struct fd_save *c, struct fd_entry *e)
{
	struct fd_desc *d = arena_alloc(&c->arena, sizeof(*d));

	if (d)
		d->first = e;
	return d;
}

/* The usual case after a fork: the parent has the same description under the same number. */
static struct fd_desc *shared_with_parent(struct fd_save *c, const struct fd_entry *e)
{
	const struct fd_entry *twin = e->task->parent ? fd_save_find(c, e->task->parent, e->fd)
						      : NULL;

	if (!twin || !twin->desc || compare_keys(twin, e) ||
	    compare_descriptions(c, twin, e) != 0)
		return NULL;
	return twin->desc;
}

/* Find e's description among `found`, ordered by kcmp, or put a new one in at its place. */
static struct fd_desc *find_or_add(struct fd_save *c, struct fd_desc **found, size_t *nr,
				   struct fd_entry *e)
{
	size_t low = 0, high = *nr;
	struct fd_desc *d = *nr ? shared_with_parent(c, e) : NULL;

	if (d)
		return d;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare_descriptions(c, found[mid]->first, e);

		if (order == 0)
			return found[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	d = new_desc(c, e);
	if (!d)
		return NULL;
	memmove(found + low + 1, found + low, (*nr - low) * sizeof(*found));
	found[low] = d;
	(*nr)++;
	return d;
}

static int share_group(struct fd_save *c, struct fd_entry **group, size_t nr,
		       struct fd_desc **found)
{
	size_t nr_found = 0;

	for (size_t i = 0; i < nr; i++) {
		group[i]->desc = find_or_add(c, found, &nr_found, group[i]);
		if (!group[i]->desc)
			return -1;
	}
	return 0;
}

struct fd_desc *sharing_find_twin(struct fd_save *c, const struct fd_entry *e)
{
	for (size_t i = 0; i < c->nr_descs; i++)
		if (!compare_keys(c->descs[i]->first, e) &&
		    compare_descriptions(c, c->descs[i]->first, e) == 0)
			return c->descs[i];
	return NULL;
}

/* The list grows while it is saved, see refer.c; a description's id is its place in it. */
int sharing_add(struct fd_save *c, struct fd_desc *d)
{
	size_t room = c->desc_room ? 2 * c->desc_room : c->nr_entries + 1;

	if (c->nr_descs == c->desc_room) {
		struct fd_desc **more = realloc(c->descs, room * sizeof(*more));

		if (!more)
			return -1;
		c->descs = more;
		c->desc_room = room;
	}
	stasis__description__init(&d->rec);
	c->descs[c->nr_descs++] = d;
	d->rec.id = c->nr_descs;
	return 0;
}

/* Descriptions in the order in which their first descriptors come. */
static int list_descs(struct fd_save *c)
{
	for (size_t i = 0; i < c->nr_entries; i++)
		if (c->entries[i].desc->first == &c->entries[i] &&
		    sharing_add(c, c->entries[i].desc) < 0)
			return -1;
	return 0;
}

int sharing_find(struct fd_save *c, struct stasis_error *err)
{
	size_t nr = c->nr_entries, end;
	scoped_free struct fd_entry **sorted = calloc(nr + 1, sizeof(*sorted));
	scoped_free struct fd_desc **found = calloc(nr + 1, sizeof(*found));

	if (!sorted || !found)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu descriptors", nr);
	for (size_t i = 0; i < nr; i++)
		sorted[i] = &c->entries[i];
	qsort(sorted, nr, sizeof(*sorted), compare_entries);
	for (size_t start = 0; start < nr; start = end) {
		for (end = start + 1; end < nr && !compare_keys(sorted[start], sorted[end]);)
			end++;
		if (share_group(c, sorted + start, end - start, found) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	}
	if (list_descs(c) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	return 0;
}
