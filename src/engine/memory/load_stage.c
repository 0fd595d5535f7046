/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staging of one process. It begins with what fork() brought along of the parent's staging area:
 * mappings with pages that were the parent's at the dump, too, are kept (less the pages that were
 * not), all others go; then new ones are made and the stored pages filled in.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GROUP_MAX_UNCOUNTED (1ull << 20)

struct stager {
	struct mem_load *m;
	struct load_proc *lp;
	struct piece_list kept; /* of the parent's, cut to our mappings */
	struct piece_list now;
	struct file_cache cache;
	size_t inherited; /* walk through the inherited runs */
};

int piece_add(struct piece_list *l, const struct piece *p, struct stasis_error *err)
{
	if (table_grow((void **)&l->v, &l->cap, l->nr, sizeof(*l->v), err) < 0)
		return -1;
	l->v[l->nr++] = *p;
	return 0;
}

static void stager_done(struct stager *st)
{
	free(st->kept.v);
	free(st->now.v);
	file_cache_done(&st->cache);
}

static void *staged(const struct stager *st, uint64_t addr)
{
	return (void *)(uintptr_t)load_staging(st->m, addr);
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Which of the parent's mappings are in ours that have inherited pages. */
static int find_kept(struct stager *st, struct stasis_error *err)
{
	const struct piece_list *old = &st->m->pieces;
	size_t p = 0;

	for (size_t i = 0; i < st->lp->nr_vmas; i++) {
		const struct load_vma *lv = &st->lp->vmas[i];

		if (!lv->has_inherited)
			continue;
		while (p < old->nr && old->v[p].end <= lv->v->start)
			p++;
		for (size_t q = p; q < old->nr && old->v[q].start < lv->v->end; q++) {
			struct piece k = old->v[q];

			if (k.is_dontfork || !k.is_private)
				continue;
			k.start = higher(k.start, lv->v->start);
			k.end = lower(k.end, lv->v->end);
			k.vma = i;
			if (piece_add(&st->kept, &k, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* Is anything to be unmapped in this span? In place, the reservation is: but a process that will fork
 * keeps it for its children, together with what is in the way, and maps over it. */
static bool has_rest(const struct stager *st, const struct load_span *span, size_t at, uint64_t end)
{
	const struct piece_list *old = &st->m->pieces;

	if (span->delta == 0)
		return st->m->is_released;
	return at < old->nr && old->v[at].start < end;
}

/* Unmap [start, end) of the parent's addresses. */
static int drop_gap(struct stager *st, size_t *at, uint64_t start, uint64_t end,
		    struct stasis_error *err)
{
	const struct piece_list *old = &st->m->pieces;
	uint64_t from, to;

	while (*at < old->nr && old->v[*at].end <= start)
		(*at)++;
	/* span by span: between two of them there may be anything */
	for (size_t i = 0; i < st->m->nr_spans; i++) {
		if (!has_rest(st, &st->m->spans[i], *at, end))
			continue;
		from = higher(start, st->m->spans[i].start);
		to = lower(end, st->m->spans[i].end);
		if (from < to && munmap(staged(st, from), to - from) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "unmap what is the parent's");
	}
	return 0;
}

static int drop_rest(struct stager *st, struct stasis_error *err)
{
	uint64_t start = 0;
	size_t at = 0;

	for (size_t i = 0; i < st->kept.nr; i++) {
		if (start < st->kept.v[i].start &&
		    drop_gap(st, &at, start, st->kept.v[i].start, err) < 0)
			return -1;
		start = st->kept.v[i].end;
	}
	return drop_gap(st, &at, start, TASK_MAX, err);
}

/* Pages of a kept mapping that are not inherited: they are zero, the file's, or stored. */
static int drop_pages(struct stager *st, const struct piece *k, struct stasis_error *err)
{
	const Stasis__Mm *mm = st->lp->p->mm;
	uint64_t at = k->start, next;

	while (st->inherited < mm->n_inherited &&
	       mm->inherited[st->inherited]->start + mm->inherited[st->inherited]->len <= k->start)
		st->inherited++;
	for (size_t i = st->inherited; at < k->end; i++) {
		next = i < mm->n_inherited ? lower(mm->inherited[i]->start, k->end) : k->end;
		if (at < next && madvise(staged(st, at), next - at, MADV_DONTNEED) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "drop pages of the parent");
		if (next == k->end)
			break;
		at = higher(at, mm->inherited[i]->start + mm->inherited[i]->len);
	}
	return 0;
}

static int set_prot(struct stager *st, struct piece *p, uint32_t prot, struct stasis_error *err)
{
	if (p->prot == prot)
		return 0;
	if (mprotect(staged(st, p->start), p->end - p->start, (int)prot) < 0)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "protect %llx-%llx",
					 (unsigned long long)p->start, (unsigned long long)p->end);
	p->prot = prot;
	return 0;
}

/* Let a kept mapping grow over the rest of ours, so that it stays one; -1 (no message): it could
 * not. */
static int extend(struct stager *st, struct piece *p, uint64_t end)
{
	void *at = staged(st, p->start);

	if (munmap(staged(st, p->end), end - p->end) < 0) /* the reservation, or the parent's */
		return -1;
	if (mremap(at, p->end - p->start, end - p->start, 0) != at)
		return -1;
	p->end = end;
	return 0;
}

static int add_new(struct stager *st, size_t vma, uint64_t start, uint64_t end,
		   struct stasis_error *err)
{
	struct piece p;

	if (load_map_piece(st->m, &st->lp->vmas[vma], &st->cache, start, end, &p, err) < 0)
		return -1;
	p.vma = vma;
	return piece_add(&st->now, &p, err);
}

/* *k walks through the kept pieces, which are in the order of our mappings. */
static int stage_vma(struct stager *st, size_t vma, size_t *k, struct stasis_error *err)
{
	const struct load_vma *lv = &st->lp->vmas[vma];
	uint64_t at = lv->v->start, end = lv->v->end;
	struct piece p;

	for (; *k < st->kept.nr && st->kept.v[*k].vma == vma; (*k)++) {
		p = st->kept.v[*k];
		if (at < p.start && add_new(st, vma, at, p.start, err) < 0)
			return -1;
		if (drop_pages(st, &p, err) < 0 ||
		    set_prot(st, &p, load_staged_prot(lv->v) | (lv->nr_segs ? PROT_WRITE : 0), err) < 0)
			return -1;
		at = p.end;
		if (at < end && (*k + 1 == st->kept.nr || st->kept.v[*k + 1].vma != vma) &&
		    extend(st, &p, end) == 0)
			at = end;
		if (piece_add(&st->now, &p, err) < 0)
			return -1;
	}
	return at < end ? add_new(st, vma, at, end, err) : 0;
}

static int protect_all(struct stager *st, struct stasis_error *err)
{
	for (size_t i = 0; i < st->now.nr; i++)
		if (set_prot(st, &st->now.v[i], load_staged_prot(st->lp->vmas[st->now.v[i].vma].v), err) < 0)
			return -1;
	return 0;
}

bool piece_next_dontfork(const struct mem_load *m, const struct piece_list *l, size_t *i,
			 uint64_t *ret_start, uint64_t *ret_end)
{
	const struct load_span *span;

	while (*i < l->nr && !l->v[*i].is_dontfork)
		(*i)++;
	if (*i == l->nr)
		return false;
	*ret_start = l->v[*i].start;
	span = load_span_of(m, *ret_start);
	for (; *i < l->nr && l->v[*i].is_dontfork && load_span_of(m, l->v[*i].start) == span; (*i)++)
		*ret_end = l->v[*i].end;
	return true;
}

/* Spare the children what they do not inherit. One call for neighbours: the holes between them only
 * make the result ENOMEM. */
static void keep_from_children(struct stager *st)
{
	struct piece_list *l = &st->now;
	uint64_t start, end;

	for (size_t i = 0; i < l->nr; i++)
		l->v[i].is_dontfork = !st->lp->vmas[l->v[i].vma].is_wanted;
	for (size_t i = 0; piece_next_dontfork(st->m, l, &i, &start, &end);)
		(void)madvise(staged(st, start), end - start, MADV_DONTFORK);
}

/* What was kept from us left a hole in the reservation. */
static int reserve_again(struct stager *st, struct stasis_error *err)
{
	uint64_t start, end;

	for (size_t i = 0; piece_next_dontfork(st->m, &st->m->pieces, &i, &start, &end);) {
		void *at = staged(st, start);

		if (at == (void *)(uintptr_t)start &&
		    mmap(at, end - start, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
			 0) != at)
			return stasis_fail_errno(err, STASIS_E_INTERNAL, "reserve %llx-%llx",
						 (unsigned long long)start, (unsigned long long)end);
	}
	return 0;
}

/* Neighbours that differ in protection only are mapped at once: for a thousand thread stacks with
 * their guard pages that is half of the system calls. What never counted as committed memory must
 * not become much. */
static bool may_group(const struct load_vma *lv)
{
	const Stasis__Vma *v = lv->v;

	return lv->is_staged && v->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE && !lv->has_inherited &&
	       v->name[0] == '\0' && !(v->flags & VMA_F_DROPPABLE) && !v->policy_mode &&
	       ((v->flags & VMA_F_ACCOUNT) || v->end - v->start <= GROUP_MAX_UNCOUNTED);
}

static size_t group_end(const struct stager *st, size_t vma)
{
	const uint32_t mask = ~(uint32_t)VMA_F_ACCOUNT;
	const struct load_vma *v = st->lp->vmas;
	size_t i = vma + 1;

	if (!may_group(&v[vma]))
		return i;
	while (i < st->lp->nr_vmas && may_group(&v[i]) && v[i].v->start == v[i - 1].v->end &&
	       (v[i].v->flags & mask) == (v[vma].v->flags & mask))
		i++;
	return i;
}

static int stage_group(struct stager *st, size_t first, size_t end, struct stasis_error *err)
{
	const struct load_vma *v = st->lp->vmas;

	if (load_map_group(st->m, &v[first], v[first].v->start, v[end - 1].v->end, err) < 0)
		return -1;
	for (size_t i = first; i < end; i++) {
		const struct piece p = { .start = v[i].v->start,
					 .end = v[i].v->end,
					 .prot = PROT_READ | PROT_WRITE,
					 .vma = i,
					 .is_private = true };

		if (piece_add(&st->now, &p, err) < 0)
			return -1;
	}
	return 0;
}

static int map_all(struct stager *st, struct stasis_error *err)
{
	size_t k = 0, end;

	for (size_t i = 0; i < st->lp->nr_vmas; i = end) {
		end = group_end(st, i);
		if (end - i > 1 && stage_group(st, i, end, err) < 0)
			return -1;
		if (end - i == 1 && st->lp->vmas[i].is_staged && stage_vma(st, i, &k, err) < 0)
			return -1;
	}
	return 0;
}

/* For all pieces there can be: what is kept, and what is new before, between and behind. */
static int make_room(struct stager *st, struct stasis_error *err)
{
	size_t cap = st->lp->nr_vmas + 2 * st->kept.nr + 1;

	st->now.v = calloc(cap, sizeof(*st->now.v));
	if (!st->now.v)
		return stasis_fail(err, STASIS_E_NOMEM, "list of mappings");
	st->now.cap = cap;
	return 0;
}

static int stage_all(struct stager *st, struct stasis_error *err)
{
	if (reserve_again(st, err) < 0 || find_kept(st, err) < 0 || make_room(st, err) < 0)
		return -1;
	/* From here on until all is mapped no memory is allocated that could get in between. Without
	 * the reservation mapping is cheaper: each mapping over it splits it. */
	st->m->is_released = !st->lp->has_children;
	if (drop_rest(st, err) < 0 || map_all(st, err) < 0)
		return -1;
	if (load_fill(st->m, st->lp, err) < 0 || protect_all(st, err) < 0)
		return -1;
	if (st->lp->has_children)
		keep_from_children(st);
	return 0;
}

int mem_load_stage(struct mem_load *m, size_t index, struct stasis_error *err)
{
	scoped(stager_done) struct stager st = { .m = m, .lp = &m->procs[index], .cache = { .fd = -1 } };
	struct piece_list old;

	if (stage_all(&st, err) < 0)
		return stasis_fail_prefix(err, "memory of process %d", (int)st.lp->p->pid);
	old = m->pieces;
	m->pieces = st.now;
	st.now = old; /* freed */
	m->current = index;
	return 0;
}
