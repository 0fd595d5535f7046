/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of a checkpoint that changes nothing and writes nothing: stop the tree, look at its memory
 * and descriptors, collect every obstacle. A checkpoint, `chkpnt -n` and `stasis check` share it.
 */
#include "dump/plan.h"
#include "lib/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dump_plan_add_obstacle(struct dump_plan *p, struct task *t, int fd, const char *text)
{
	struct dump_obstacle *bigger;

	if (p->warns && fd >= 0)
		s_warn(p->s, "%s(%d) fd %d: %s", t->comm, t->pid, fd, text);
	else if (p->warns)
		s_warn(p->s, "%s(%d): %s", t->comm, t->pid, text);
	bigger = realloc(p->obstacles, (p->nr_obstacles + 1) * sizeof(*bigger));
	if (!bigger)
		return; /* the first one, which decides, is in *err as well */
	p->obstacles = bigger;
	p->obstacles[p->nr_obstacles].task = t;
	p->obstacles[p->nr_obstacles].fd = fd;
	p->obstacles[p->nr_obstacles].text = strdup(text);
	p->nr_obstacles++;
}

static void add_obstacle(void *arg, struct task *t, int fd, const char *text)
{
	dump_plan_add_obstacle(arg, t, fd, text);
}

static uint64_t get_object(void *arg, struct task *t, const struct stat *st, int fd,
			   const char *link, struct stasis_error *err)
{
	struct dump_plan *p = arg;

	return mem_save_object(p->mem, t, st, fd, link, err);
}

uint64_t dump_plan_fresh_object(void *arg)
{
	struct dump_plan *p = arg;

	return mem_save_fresh_id(p->mem);
}

static void add_task_obstacle(void *arg, struct task *t, const char *text)
{
	dump_plan_add_obstacle(arg, t, -1, text);
}

/* After the memory, whose segments it describes. An obstacle makes it fail like the others. */
static int collect_ipc(struct dump_plan *p, struct stasis_error *err)
{
	size_t before = p->nr_obstacles;

	p->segments = mem_save_sysv(p->mem);
	if (ipc_save_collect(p->s, p->tree, p->ns, &p->segments, add_task_obstacle, p, &p->ipc, err) < 0)
		return -1;
	if (p->nr_obstacles == before || p->s->is_forced)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "%s(%d): %s", p->obstacles[before].task->comm,
			   p->obstacles[before].task->pid, p->obstacles[before].text);
}

/* One that has ended and was waited for is no part of what is being saved. */
static int check_stand_ins(const struct stasis_dump_opts *opts, const struct tree *tree,
			   struct stasis_error *err)
{
	for (size_t i = 0; i < opts->nr_stand_ins; i++) {
		const struct task *t = NULL;

		for (size_t k = 1; k < tree->nr_tasks && !t; k++)
			if (tree->tasks[k]->pid == opts->stand_ins[i].pid)
				t = tree->tasks[k];
		if (!t)
			return stasis_fail(err, STASIS_E_GONE,
					   "process %d, which is not to be saved, is not below the root",
					   opts->stand_ins[i].pid);
		if (t->state == TASK_STOPPED)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%d) is stopped by job control and cannot be begun anew so; "
					   "continue it", t->comm, t->pid);
	}
	return 0;
}

int dump_plan_make(struct session *s, const struct stasis_dump_opts *opts, struct dump_plan *p,
		   struct stasis_error *err)
{
	struct object_source objects = {.arg = p, .get = get_object, .fresh = dump_plan_fresh_object};
	const struct tree_pick pick = {opts->skip_pids, opts->nr_skip_pids, opts->stand_ins,
				       opts->nr_stand_ins};
	unsigned timeout_ms = opts->stop_timeout_ms ? opts->stop_timeout_ms : DUMP_STOP_TIMEOUT_MS;
	struct stasis_error task_err, fd_err;
	int task_result, mem_result;

	p->s = s;
	p->warns = opts->flags & STASIS_DUMP_FORCE;
	if (tree_stop(s, opts->root, opts->flags & STASIS_DUMP_RECURSIVE, &pick, timeout_ms,
		      &p->tree, err) < 0 ||
	    check_stand_ins(opts, p->tree, err) < 0)
		return -1;
	/* go on after an obstacle: the user wants to hear of all of them at once */
	task_result = dump_check_tasks(p, &task_err);
	mem_result = mem_save_plan(s, p->tree, add_obstacle, p, &p->mem, err);
	if (!p->mem)
		return -1;
	if (mem_result == 0)
		mem_result = collect_ipc(p, err);
	if (fd_save_collect(s, p->tree, opts->choices, opts->nr_choices, add_obstacle, p, &objects,
			    &p->fds, &fd_err) < 0) {
		if (mem_result == 0 && err)
			*err = fd_err;
		return -1;
	}
	if (task_result < 0 && err)
		*err = task_err;
	return task_result < 0 ? -1 : mem_result;
}

void dump_plan_done(struct dump_plan *p)
{
	fd_save_free(p->fds);
	ipc_save_free(p->ipc);
	mem_save_free(p->mem);
	ns_save_free(p->ns);
	tree_resumep(&p->tree);
	for (size_t i = 0; i < p->nr_obstacles; i++)
		free(p->obstacles[i].text);
	free(p->obstacles);
	free(p->seccomp);
	arena_done(&p->arena);
	memset(p, 0, sizeof(*p));
}
