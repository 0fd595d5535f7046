/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NUMA policies, of mappings (mbind(2)) and of threads (set_mempolicy(2)). /proc/PID/numa_maps shows the
 * former at the cost of a walk through all page tables, and the latter are shown nowhere; a process can
 * ask for its own.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/scoped.h"

static int of_mappings(struct task *t, Stasis__Mm *mm, struct stasis_error *err)
{
	scoped_free struct parasite_policy *list = calloc(mm->n_vmas + 1, sizeof(*list));

	if (!list)
		return stasis_fail(err, STASIS_E_NOMEM, "NUMA policies");
	for (size_t i = 0; i < mm->n_vmas; i++)
		list[i].addr = mm->vmas[i]->start;
	if (inject_policies(t, list, mm->n_vmas, err) < 0)
		return -1;
	for (size_t i = 0; i < mm->n_vmas; i++) {
		mm->vmas[i]->policy_mode = list[i].mode;
		mm->vmas[i]->policy_nodes = list[i].mode ? list[i].nodes : 0;
	}
	return 0;
}

static int of_threads(struct mem_save *m, struct task *t, Stasis__Mm *mm, struct stasis_error *err)
{
	Stasis__ThreadPolicy *all = arena_alloc(&m->arena, t->nr_threads * sizeof(*all) + 1);
	Stasis__ThreadPolicy **list = arena_alloc(&m->arena, t->nr_threads * sizeof(*list) + 1);
	const struct parasite_thread *threads;
	const struct parasite_task *own;

	if (!all || !list)
		return stasis_fail(err, STASIS_E_NOMEM, "NUMA policies");
	if (inject_collect(t, &own, &threads, err) < 0)
		return -1;
	mm->policies = list;
	for (size_t i = 0; i < t->nr_threads; i++) {
		Stasis__ThreadPolicy *p = &all[mm->n_policies];

		if (!threads[i].policy_mode)
			continue;
		stasis__thread_policy__init(p);
		p->tid = (uint32_t)t->threads[i].vtid;
		p->mode = threads[i].policy_mode;
		p->nodes = threads[i].policy_nodes;
		list[mm->n_policies++] = p;
	}
	return 0;
}

int save_policies(struct mem_save *m, struct task *t, Stasis__Mm *mm, struct stasis_error *err)
{
	if (!t->inject)
		return 0;
	return of_mappings(t, mm, err) < 0 ? -1 : of_threads(m, t, mm, err);
}

int mem_save_ask(struct mem_save *m, struct task *t, struct stasis_error *err)
{
	const struct save_task *st = &m->tasks[t->index];
	scoped_free tracee_addr *mappings = calloc(st->vmas.nr + 1, sizeof(*mappings));
	size_t nr = 0;

	if (!mappings)
		return stasis_fail(err, STASIS_E_NOMEM, "NUMA policies");
	for (size_t i = 0; i < st->vmas.nr; i++)
		if (!st->sv[i].is_skipped)
			mappings[nr++] = st->vmas.v[i].start;
	return inject_collect_ahead(t, mappings, nr, err);
}
