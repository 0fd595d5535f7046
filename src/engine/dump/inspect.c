/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Turns a plan into the public description of a tree (chkpnt -i, stasis check). */
#include "dump/dump.h"
#include "dump/plan.h"
#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int describe_obstacles(const struct dump_plan *p, struct task *t,
			      struct stasis_proc_info *ret)
{
	for (size_t i = 0; i < p->nr_obstacles; i++) {
		char **bigger;

		if (p->obstacles[i].task != t || p->obstacles[i].fd >= 0)
			continue;
		bigger = realloc(ret->obstacles, (ret->nr_obstacles + 1) * sizeof(*bigger));
		if (!bigger)
			return -1;
		ret->obstacles = bigger;
		ret->obstacles[ret->nr_obstacles] = strdup(p->obstacles[i].text);
		if (!ret->obstacles[ret->nr_obstacles])
			return -1;
		ret->nr_obstacles++;
	}
	return 0;
}

static void describe_usage(const struct task *t, struct stasis_proc_info *ret)
{
	const uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	struct proc_stat st;

	if (proc_read_stat(task_leaderfd(t), "stat", &st, NULL) < 0)
		return; /* killed meanwhile */
	ret->user_ns = st.utime_ticks * tick_ns;
	ret->system_ns = st.stime_ticks * tick_ns;
}

static int describe_task(const struct dump_plan *p, struct task *t, struct stasis_proc_info *ret,
			 struct stasis_error *err)
{
	ret->pid = t->pid;
	ret->ppid = t->ppid;
	ret->pgrp = t->pgid;
	ret->sid = t->sid;
	ret->is_zombie = t->state == TASK_ZOMBIE;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", t->comm);
	if (ret->is_zombie)
		return 0;
	describe_usage(t, ret);
	if (describe_obstacles(p, t, ret) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory to describe %d", t->pid);
	return fd_save_describe(p->fds, t, ret, err);
}

static void free_info(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

int dump_inspect(struct session *s, const struct stasis_dump_opts *opts,
		 struct stasis_tree_info **ret, struct stasis_error *err)
{
	scoped(dump_plan_done) struct dump_plan plan = {.s = s};
	scoped(free_info) struct stasis_tree_info *info = calloc(1, sizeof(*info));
	struct task *t;
	size_t i;

	s->is_forced = true; /* obstacles are what the caller came for, no reason to give up */
	if (dump_plan_make(s, opts, &plan, err) < 0)
		return -1;
	if (info)
		info->procs = calloc(plan.tree->nr_tasks, sizeof(*info->procs));
	if (!info || !info->procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory to describe the tree");
	tree_for_each(plan.tree, i, t) {
		info->nr_procs++;
		if (describe_task(&plan, t, &info->procs[i], err) < 0)
			return -1;
	}
	*ret = ptr_take(&info);
	return 0;
}
