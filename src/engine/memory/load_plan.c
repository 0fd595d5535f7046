/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan of a restart's memory: everything that can be found out before anything is changed.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>

static bool wants_huge(const struct mem_load *m, const struct mem_proc *p)
{
	const Stasis__Process *rec;

	if (m->s->caps.thp_never)
		return false;
	rec = image_record(p->image, IMAGE_TAG_PROCESS, 0, &stasis__process__descriptor, NULL);
	return rec && !rec->thp_disable;
}

static int index_procs(struct mem_load *m, const struct mem_proc *procs, struct stasis_error *err)
{
	size_t *slot;

	for (size_t i = 0; i < m->nr_procs; i++) {
		slot = index_get(&m->by_pid, (uint64_t)procs[i].pid, 0, i + 1);
		if (!slot)
			return stasis_fail(err, STASIS_E_NOMEM, "table of processes");
		if (*slot != i + 1)
			return stasis_fail(err, STASIS_E_CORRUPT, "process %d is there twice",
					   (int)procs[i].pid);
	}
	for (size_t i = 0; i < m->nr_procs; i++) {
		m->procs[i].p = &procs[i];
		m->procs[i].may_huge = wants_huge(m, &procs[i]);
		m->procs[i].parent = index_find(&m->by_pid, (uint64_t)procs[i].ppid, 0) - 1;
		if (m->procs[i].parent == i)
			return stasis_fail(err, STASIS_E_CORRUPT, "process %d is its own parent",
					   (int)procs[i].pid);
		if (m->procs[i].parent != NONE)
			m->procs[m->procs[i].parent].has_children = true;
	}
	return 0;
}

static int check_all(struct mem_load *m, size_t zone_len, struct stasis_error *err)
{
	for (size_t i = 0; i < m->nr_procs; i++)
		if (load_check_proc(m, i, err) < 0)
			return -1;
	for (size_t i = 0; i < m->nr_procs; i++)
		if (load_check_inherited(m, i, err) < 0)
			return -1;
	if (load_find_objects(m, err) < 0 || load_check_objects(m, err) < 0 ||
	    load_check_files(m, err) < 0 || load_check_commit(m, err) < 0 ||
	    load_check_hugetlb(m, err) < 0 || load_try_aio(m, err) < 0)
		return -1;
	return load_plan_space(m, zone_len, err);
}

static void mem_load_freep(struct mem_load **m)
{
	mem_load_free(*m);
}

int mem_load_plan(struct session *s, const struct mem_proc *procs, size_t nr, size_t zone_len,
		  bool quiet_files, struct mem_load **ret, struct stasis_error *err)
{
	scoped(mem_load_freep) struct mem_load *m = calloc(1, sizeof(*m));

	if (m)
		m->procs = calloc(nr + 1, sizeof(*m->procs));
	if (!m || !m->procs)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	m->s = s;
	m->quiet_files = quiet_files;
	m->nr_procs = nr;
	m->current = NONE;
	if (index_procs(m, procs, err) < 0 || check_all(m, zone_len, err) < 0)
		return -1;
	*ret = ptr_take(&m);
	return 0;
}

uint64_t mem_load_zone(const struct mem_load *m)
{
	return m->zone;
}

void mem_load_free(struct mem_load *m)
{
	int saved = errno;

	if (!m)
		return;
	load_free_space(m);
	for (size_t i = 0; i < m->nr_procs; i++) {
		free(m->procs[i].vmas);
		free(m->procs[i].segs);
	}
	free(m->procs);
	index_done(&m->by_pid);
	free(m->objects);
	index_done(&m->object_index);
	free(m->bulk);
	free(m->spans);
	free(m->pieces.v);
	free(m);
	errno = saved;
}
