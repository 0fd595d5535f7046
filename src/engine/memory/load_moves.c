/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is left for the restorer. Advice stays with a mapping when it is moved, so all of it is given
 * here, after the children have been forked (they must not get what is for this process only);
 * locking and sealing wait for the final place.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYS_MSEAL 462 /* Linux 6.10 */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

static const struct {
	uint32_t flag;
	int advice;
} advices[] = {
	{ VMA_F_DONTFORK, MADV_DONTFORK },     { VMA_F_DONTDUMP, MADV_DONTDUMP },
	{ VMA_F_MERGEABLE, MADV_MERGEABLE },   { VMA_F_SEQUENTIAL, MADV_SEQUENTIAL },
	{ VMA_F_RANDOM, MADV_RANDOM },	       { VMA_F_WIPEONFORK, MADV_WIPEONFORK },
};

static int check_current(const struct mem_load *m, size_t index, struct stasis_error *err)
{
	if (m->current != index)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %zu has not staged its memory",
				   index);
	return 0;
}

static void *staged(const struct mem_load *m, uint64_t addr)
{
	return (void *)(uintptr_t)load_staging(m, addr);
}

/* Undo what keeps pieces from children. The holes between them make the result ENOMEM. */
static void allow_fork(struct mem_load *m)
{
	uint64_t start, end;

	for (size_t i = 0; piece_next_dontfork(m, &m->pieces, &i, &start, &end);)
		(void)madvise(staged(m, start), end - start, MADV_DOFORK);
	for (size_t i = 0; i < m->pieces.nr; i++)
		m->pieces.v[i].is_dontfork = false;
}

/* What the restorer does to a mapping after its move. */
static int finish_in_place(const struct piece *p, const Stasis__Vma *v, struct stasis_error *err)
{
	void *at = (void *)(uintptr_t)p->start;
	uint64_t len = p->end - p->start;

	if ((v->flags & VMA_F_LOCKED) && mlock2(at, len, MLOCK_ONFAULT) < 0)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "lock %llx-%llx",
					 (unsigned long long)p->start, (unsigned long long)p->end);
	/* the limits allow it: what fails now is to fill in pages, as where there is no access; the
	 * kernel takes that for no error either when a mapping is made locked */
	if ((v->flags & VMA_F_LOCKED) && !(v->flags & VMA_F_LOCKONFAULT))
		(void)mlock2(at, len, 0);
	if ((v->flags & VMA_F_SEALED) && syscall(SYS_MSEAL, at, len, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_UNSUPPORTED, "seal %llx-%llx",
					 (unsigned long long)p->start, (unsigned long long)p->end);
	return 0;
}

/* A move takes guard pages along; they are given here because children shall not get them, and before
 * sealing and locking, which forbid it. A list entry may reach over several pieces. */
static int install_guards(const struct mem_load *m, const Stasis__Mm *mm, struct stasis_error *err)
{
	size_t at = 0;

	for (size_t i = 0; i < mm->n_guards; i++) {
		uint64_t start = mm->guards[i]->start, end = start + mm->guards[i]->len;

		while (at < m->pieces.nr && m->pieces.v[at].end <= start)
			at++;
		for (size_t p = at; p < m->pieces.nr && m->pieces.v[p].start < end; p++) {
			const struct piece *piece = &m->pieces.v[p];
			uint64_t from = start > piece->start ? start : piece->start;
			uint64_t to = end < piece->end ? end : piece->end;

			if (madvise(staged(m, from), to - from, MADV_GUARD_INSTALL) < 0)
				return stasis_fail_errno(err, STASIS_E_UNSUPPORTED,
							 "guard pages %llx-%llx (Linux 6.13; for files "
							 "6.15)",
							 (unsigned long long)from,
							 (unsigned long long)to);
		}
	}
	return 0;
}

/* Advice a kernel does not know (no KSM, say) changes nothing that the program can rely on, but for
 * those that change what fork() does. */
static int advise(const struct mem_load *m, const struct piece *p, const Stasis__Vma *v,
		  struct stasis_error *err)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (!(v->flags & advices[i].flag) || (v->flags & VMA_F_DROPPABLE))
			continue;
		if (madvise(staged(m, p->start), p->end - p->start, advices[i].advice) == 0)
			continue;
		if (advices[i].flag & (VMA_F_DONTFORK | VMA_F_WIPEONFORK))
			return stasis_fail_errno(err, STASIS_E_IO, "advice %d for %llx-%llx",
						 advices[i].advice, (unsigned long long)p->start,
						 (unsigned long long)p->end);
		s_debug(m->s, "advice %d for %llx-%llx is not known here", advices[i].advice,
			(unsigned long long)p->start, (unsigned long long)p->end);
	}
	return 0;
}

/* A mapping that came from the parent has the parent's policy. */
static bool has_policies(const struct mem_load *m)
{
	for (size_t p = 0; p < m->nr_procs; p++)
		for (size_t i = 0; i < m->procs[p].nr_vmas; i++)
			if (m->procs[p].vmas[i].v->policy_mode)
				return true;
	return false;
}

int mem_load_moves(struct mem_load *m, size_t index, struct mem_move **ret, size_t *ret_nr,
		   struct stasis_error *err)
{
	scoped_free struct mem_move *list = calloc(m->pieces.nr + 1, sizeof(*list));
	const struct load_proc *lp = &m->procs[index];
	bool may_differ = has_policies(m);
	size_t nr = 0;

	if (check_current(m, index, err) < 0)
		return -1;
	if (!list)
		return stasis_fail(err, STASIS_E_NOMEM, "list of moves");
	allow_fork(m);
	if (install_guards(m, lp->p->mm, err) < 0 || load_take_pkeys(lp, err) < 0)
		return -1;
	for (size_t i = 0; i < m->pieces.nr; i++) {
		const struct piece *p = &m->pieces.v[i];
		const Stasis__Vma *v = lp->vmas[p->vma].v;

		if (v->kind == STASIS__VMA_KIND__VMA_AIO &&
		    load_make_aio(v, staged(m, p->start), err) < 0)
			return -1;
		if (lp->vmas[p->vma].has_inherited && may_differ)
			load_set_policy(m, v, staged(m, p->start), p->end - p->start);
		if (advise(m, p, v, err) < 0 ||
		    load_set_pkey(lp, v, staged(m, p->start), p->end - p->start, err) < 0)
			return -1;
		if (load_staging(m, p->start) == p->start) {
			if (finish_in_place(p, v, err) < 0)
				return -1;
			continue;
		}
		list[nr].from = load_staging(m, p->start);
		list[nr].to = p->start;
		list[nr].len = p->end - p->start;
		list[nr++].advice = v->flags & (VMA_F_LOCKED | VMA_F_LOCKONFAULT | VMA_F_SEALED);
	}
	load_free_pkeys(lp);
	*ret = ptr_take(&list);
	*ret_nr = nr;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct mem_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* In the place of a span elsewhere is nothing but pieces: one range will do. In place, the rest of the
 * reservation has to go. */
static bool joins(const struct mem_load *m, const struct mem_range *last, const struct piece *p,
		  const struct piece *previous)
{
	const struct load_span *s = load_span_of(m, p->start);

	return s->delta == 0 ? last->end == p->start : s == load_span_of(m, previous->start);
}

int mem_load_keep(struct mem_load *m, size_t index, struct mem_range **ret, size_t *ret_nr,
		  struct stasis_error *err)
{
	scoped_free struct mem_range *list = calloc(m->pieces.nr + 1, sizeof(*list));
	uint64_t start, end;
	size_t nr = 0;

	if (check_current(m, index, err) < 0)
		return -1;
	if (!list)
		return stasis_fail(err, STASIS_E_NOMEM, "list of ranges");
	for (size_t i = 0; i < m->pieces.nr; i++) {
		const struct piece *p = &m->pieces.v[i];

		start = load_staging(m, p->start);
		end = start + (p->end - p->start);
		if (i && joins(m, &list[nr - 1], p, p - 1))
			list[nr - 1].end = end;
		else
			list[nr++] = (struct mem_range){ start, end };
	}
	qsort(list, nr, sizeof(*list), by_start);
	*ret = ptr_take(&list);
	*ret_nr = nr;
	return 0;
}
