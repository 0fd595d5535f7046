/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the master keeps its own descriptors: at numbers that no process of the tree uses. That is above
 * all of theirs; or, when the hard limit of open files leaves no room there, in a gap between them: some
 * programs (valgrind) have their own right below the limit.
 */
#include "resource/resource_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
	BASE_MIN = 64,	  /* keeps our own few descriptors off the numbers of small programs */
	LIMIT_SLACK = 64, /* what the restart opens beside descriptions: images, objects, /proc */
};

struct numbers {
	size_t nr, max;
	uint32_t *v; /* NULL: only count */
};

static void add_number(struct numbers *n, uint32_t fd)
{
	if (n->v && n->nr < n->max)
		n->v[n->nr] = fd;
	n->nr++;
}

/* Also those that members of epoll instances had, which are needed once more. */
static void list_numbers(const struct fd_load *c, struct numbers *n)
{
	for (size_t i = 0; i < c->nr_procs; i++)
		for (size_t k = 0; k < c->procs[i].nr_fds; k++)
			add_number(n, (uint32_t)c->procs[i].fds[k].fd);
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct load_desc *l = &c->descs[i];

		if (!l->is_used || l->kind != &kind_epoll)
			continue;
		for (size_t k = 0; k < l->d->epoll->n_members; k++)
			add_number(n, l->d->epoll->members[k]->fd);
	}
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The first run of `need` free numbers below `limit`: 1, or 0 when there is none; -1 */
static int find_gap(struct fd_load *c, uint64_t need, uint64_t limit, struct stasis_error *err)
{
	struct numbers n = {0};
	scoped_free uint32_t *v = NULL;
	uint64_t from = BASE_MIN;

	list_numbers(c, &n);
	v = calloc(n.nr + 1, sizeof(*v));
	if (!v)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	n = (struct numbers){.max = n.nr, .v = v};
	list_numbers(c, &n);
	qsort(v, n.nr, sizeof(*v), compare_numbers);
	for (size_t i = 0; i < n.nr && v[i] < from + need; i++)
		if (v[i] >= from)
			from = (uint64_t)v[i] + 1;
	if (from + need > limit)
		return 0;
	c->base = (int)from;
	c->end = (int)(from + need);
	return 1;
}

static uint64_t count_needed(const struct fd_load *c)
{
	uint64_t need = LIMIT_SLACK + c->nr_objects;

	for (size_t i = 0; i < c->nr_descs; i++)
		need += c->descs[i].is_used;
	return need;
}

static int raise_limit(struct rlimit *limit, uint64_t wanted, struct stasis_error *err)
{
	if (limit->rlim_cur >= wanted)
		return 0;
	limit->rlim_cur = limit->rlim_max;
	if (setrlimit(RLIMIT_NOFILE, limit) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "raise the limit of open files");
	return 0;
}

int fd_room_find(struct fd_load *c, struct stasis_error *err)
{
	uint64_t need = count_needed(c), above = (uint64_t)(c->highest < BASE_MIN ? BASE_MIN : c->highest + 1);
	uint64_t top = above + need;
	struct rlimit limit;
	int found = 0;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getrlimit");
	c->base = (int)above;
	c->end = INT_MAX;
	if (limit.rlim_max < top && limit.rlim_max >= above) {
		found = find_gap(c, need, limit.rlim_max, err);
		top = above;
	}
	if (found < 0)
		return -1;
	if (limit.rlim_max < above + need && !found)
		return stasis_fail(err, STASIS_E_DENIED,
				   "restart needs %llu descriptors, but the hard limit of open files is "
				   "%llu; raise it (ulimit -Hn)",
				   (unsigned long long)(above + need), (unsigned long long)limit.rlim_max);
	return raise_limit(&limit, top, err);
}
