/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ends of a dump's plan: how an obstacle is worded and remembered, and how everything is
 * released.
 */
#include "memory/save_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name_of(const struct vma *v)
{
	return v->path ? v->path : "anonymous";
}

void save_obstacle(struct mem_save *m, struct task *t, const struct vma *v, const char *text)
{
	struct stasis_error e;

	(void)stasis_fail(&e, STASIS_E_UNSUPPORTED, "mapping %llx-%llx (%.80s): %s",
			  (unsigned long long)v->start, (unsigned long long)v->end, name_of(v), text);
	e.pid = t->pid;
	if (m->obstacle)
		m->obstacle(m->obstacle_arg, t, -1, e.text);
	if (m->nr_obstacles++ == 0)
		m->first = e;
}

static void task_done(struct save_task *st)
{
	vma_list_done(&st->vmas);
	free(st->sv);
	run_list_done(&st->runs);
	run_list_done(&st->inherited);
	run_list_done(&st->guards);
	free(st->batch);
	free(st->objects);
	if (st->pagemap_fd >= 0)
		(void)close(st->pagemap_fd); /* only read from */
}

void mem_save_free(struct mem_save *m)
{
	int saved = errno;

	if (!m)
		return;
	for (size_t i = 0; i < m->nr_tasks; i++)
		task_done(&m->tasks[i]);
	free(m->tasks);
	for (size_t i = 0; i < m->nr_files; i++)
		free(m->files[i].vma_path);
	free(m->files);
	save_objects_done(m);
	index_done(&m->file_index);
	index_done(&m->object_index);
	index_done(&m->object_by_id);
	index_done(&m->refs);
	pagemap_done(&m->pm);
	arena_done(&m->arena);
	free(m);
	errno = saved;
}
