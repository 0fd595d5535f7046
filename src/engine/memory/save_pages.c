/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages of a task that go into its image, and those that are the parent's. A mapping whose smaps
 * entry counts no anonymous, no swapped and no guard page is not looked at, so that a reservation of a
 * terabyte costs nothing.
 */
#include "memory/save_priv.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>

/* State of a mapping that cannot be changed after the fork: only where it is equal can the restart
 * take over the parent's mapping for the child. */
#define FIXED_FLAGS                                                                           \
	(VMA_F_GROWSDOWN | VMA_F_NORESERVE | VMA_F_HUGEPAGE | VMA_F_NOHUGEPAGE | VMA_F_DROPPABLE | \
	 VMA_F_SHARED | VMA_F_HUGETLB)

/* Unmapped room that is cheaper to walk over than to ask twice. */
#define GROUP_GAP (1u << 20)

/* Where the walk through the parent's mappings stands; NULL parent: nothing is inherited. */
struct heritage {
	struct save_task *parent;
	size_t at;
};

static bool has_pages(const struct save_vma *sv, const struct vma *v)
{
	if (sv->is_skipped || !(v->anon_kb || v->swap_kb || v->huge_kb))
		return false;
	return sv->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE ||
	       sv->kind == STASIS__VMA_KIND__VMA_FILE_PRIVATE;
}

/* Guard pages need no other page beside them. Where smaps does not mark them, every mapping is asked. */
static bool may_have_guards(const struct mem_save *m, const struct save_vma *sv, const struct vma *v)
{
	if (sv->is_skipped || !m->pm.has_guard || (v->flags & (VMA_F_HUGETLB | VMA_F_IO | VMA_F_PFNMAP)))
		return false;
	if (sv->kind == STASIS__VMA_KIND__VMA_VDSO || sv->kind == STASIS__VMA_KIND__VMA_VVAR ||
	    sv->kind == STASIS__VMA_KIND__VMA_VSYSCALL)
		return false;
	return m->pm.has_guard_flag ? (v->flags & VMA_F_GUARD) != 0 : !(v->flags & VMA_F_SHARED);
}

static bool is_scanned(const struct mem_save *m, const struct save_task *st, size_t vma)
{
	return has_pages(&st->sv[vma], &st->vmas.v[vma]) ||
	       may_have_guards(m, &st->sv[vma], &st->vmas.v[vma]);
}

static bool may_inherit(const struct save_task *child, size_t c, const struct save_task *parent,
			size_t p)
{
	const struct save_vma *cs = &child->sv[c], *ps = &parent->sv[p];
	const struct vma *cv = &child->vmas.v[c], *pv = &parent->vmas.v[p];

	if (cs->kind != ps->kind || !has_pages(ps, pv) || (cv->flags & VMA_F_HUGETLB) ||
	    (cv->flags & FIXED_FLAGS) != (pv->flags & FIXED_FLAGS))
		return false;
	if (cs->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE)
		return true;
	return cs->file == ps->file && cv->pgoff - cv->start == pv->pgoff - pv->start;
}

/* Divide one run, which lies inside one mapping of the child, by the mappings of the parent. */
static int divide_run(struct mem_save *m, struct save_task *st, size_t vma, struct heritage *h,
		      const struct run *run, struct stasis_error *err)
{
	const struct vma_list *pl = &h->parent->vmas;
	tracee_addr end = run->addr + run->len;
	struct run part = { run->addr, 0 };
	tracee_addr stop;
	bool is_there;

	for (; part.addr < end; part.addr += part.len) {
		while (h->at < pl->nr && pl->v[h->at].end <= part.addr)
			h->at++;
		is_there = h->at < pl->nr && pl->v[h->at].start <= part.addr;
		stop = h->at == pl->nr ? end : is_there ? pl->v[h->at].end : pl->v[h->at].start;
		part.len = (stop < end ? stop : end) - part.addr;
		if (is_there && may_inherit(st, vma, h->parent, h->at)) {
			if (pagemap_split(&m->pm, st->pagemap_fd, h->parent->pagemap_fd, &part,
					  &st->runs, &st->inherited, err) < 0)
				return -1;
		} else if (run_list_add(&st->runs, part.addr, part.len, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* Runs of the whole group, and where the walk through them stands. */
struct found {
	struct run_list pages, guards;
	size_t at, at_guard;
};

static void found_done(struct found *f)
{
	run_list_done(&f->pages);
	run_list_done(&f->guards);
}

/* The next part of a list that lies in [start, end); false: there is none. */
static bool next_part(const struct run_list *l, size_t *at, tracee_addr start, tracee_addr end,
		      struct run *ret)
{
	tracee_addr stop;

	while (*at < l->nr && l->v[*at].addr + l->v[*at].len <= start)
		(*at)++;
	if (*at == l->nr || start >= end || l->v[*at].addr >= end)
		return false;
	stop = l->v[*at].addr + l->v[*at].len;
	ret->addr = l->v[*at].addr > start ? l->v[*at].addr : start;
	ret->len = (stop < end ? stop : end) - ret->addr;
	return true;
}

static int add_runs(struct mem_save *m, struct save_task *st, size_t vma, struct heritage *h,
		    struct found *f, struct stasis_error *err)
{
	const struct vma *v = &st->vmas.v[vma];
	bool is_stored = has_pages(&st->sv[vma], v);
	tracee_addr at = v->start;
	struct run run;

	st->sv[vma].first_run = st->runs.nr;
	st->runs.barrier = st->runs.nr;
	st->inherited.barrier = st->inherited.nr;
	st->guards.barrier = st->guards.nr;
	for (; next_part(&f->pages, &f->at, at, v->end, &run); at = run.addr + run.len) {
		if (!is_stored)
			continue;
		if (h->parent && divide_run(m, st, vma, h, &run, err) < 0)
			return -1;
		if (!h->parent && run_list_add(&st->runs, run.addr, run.len, err) < 0)
			return -1;
	}
	st->sv[vma].nr_runs = st->runs.nr - st->sv[vma].first_run;
	for (at = v->start; next_part(&f->guards, &f->at_guard, at, v->end, &run);
	     at = run.addr + run.len)
		if (run_list_add(&st->guards, run.addr, run.len, err) < 0)
			return -1;
	return 0;
}

/* Mappings [first, end) at once: one look at page tables serves neighbours. */
static int find_in_group(struct mem_save *m, struct save_task *st, size_t first, size_t end,
			 struct heritage *h, struct found *f, struct stasis_error *err)
{
	const struct vma *v = st->vmas.v;

	f->pages.nr = f->guards.nr = f->at = f->at_guard = 0;
	if (pagemap_collect(&m->pm, st->pagemap_fd, v[first].start, v[end - 1].end, &f->pages,
			    &f->guards, err) < 0)
		return -1;
	for (size_t i = first; i < end; i++)
		if (add_runs(m, st, i, h, f, err) < 0)
			return -1;
	return 0;
}

static size_t group_end(const struct mem_save *m, const struct save_task *st, size_t first)
{
	const struct vma *v = st->vmas.v;
	size_t i = first + 1;

	while (i < st->vmas.nr && is_scanned(m, st, i) && v[i].start - v[i - 1].end < GROUP_GAP)
		i++;
	return i;
}

int save_find_pages(struct mem_save *m, size_t task, struct stasis_error *err)
{
	scoped(found_done) struct found f = { 0 };
	struct save_task *st = &m->tasks[task];
	struct heritage h = { 0 };
	size_t end;

	st->pagemap_fd = openat(st->t->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (st->pagemap_fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open pagemap");
	if (m->pm.has_pfn && st->t->parent)
		h.parent = &m->tasks[st->t->parent->index];
	for (size_t i = 0; i < st->vmas.nr; i = end) {
		end = i + 1;
		if (!is_scanned(m, st, i))
			continue;
		end = group_end(m, st, i);
		if (find_in_group(m, st, i, end, &h, &f, err) < 0)
			return -1;
	}
	return 0;
}
