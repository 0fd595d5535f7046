/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State of a task, neither memory nor descriptor, that an image cannot hold yet. */
#include "dump/plan.h"
#include "inject/inject.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One time namespace for all, whose offsets are saved; of the other kinds a tree may have several, see
 * ns/. */
static void check_time_namespace(struct dump_plan *p, struct task *t, const char *of_root)
{
	char its[PROC_NS_BYTES], of_children[PROC_NS_BYTES];

	/* a kernel without this kind, or a process that is not ours to ask */
	if (!*of_root || !proc_read_ns(t->procfd, "ns/time", its))
		return;
	if (strcmp(its, of_root) != 0)
		dump_plan_add_obstacle(p, t, -1,
				       "is in another time namespace than the root of the hierarchy, "
				       "which is not supported; checkpoint the processes of one "
				       "namespace");
	else if (proc_read_ns(t->procfd, "ns/time_for_children", of_children) &&
		 strcmp(its, of_children) != 0)
		dump_plan_add_obstacle(p, t, -1,
				       "has made a time namespace for its children, which is not "
				       "supported; checkpoint it from inside of that namespace");
}

static void check_threads(struct dump_plan *p, struct task *t)
{
	const bool may_shadow = p->s->caps.may_shadow_stack;
	struct stasis_error why;

	for (size_t i = 0; i < t->nr_threads; i++)
		if (inject_check_thread(&t->threads[i], may_shadow, &why) < 0)
			dump_plan_add_obstacle(p, t, -1, why.text);
}

static void add_obstacle(void *arg, struct task *t, const char *text)
{
	dump_plan_add_obstacle(arg, t, -1, text);
}

int dump_check_tasks(struct dump_plan *p, struct stasis_error *err)
{
	size_t before = p->nr_obstacles, i;
	char root_time[PROC_NS_BYTES];
	struct task *t;

	p->seccomp = calloc(p->tree->nr_tasks, sizeof(*p->seccomp));
	if (!p->seccomp)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	if (ns_save_collect(p->s, p->tree, add_obstacle, p, &p->ns, err) < 0)
		return -1;
	(void)proc_read_ns(p->tree->tasks[0]->procfd, "ns/time", root_time);
	tree_for_each(p->tree, i, t) {
		if (!task_is_saved(t))
			continue;
		check_time_namespace(p, t, root_time);
		check_threads(p, t);
		if (dump_seccomp_read(p, t, &p->seccomp[i], err) < 0)
			return -1;
	}
	if (p->nr_obstacles == before || p->s->is_forced)
		return 0;
	t = p->obstacles[before].task;
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "%s(%d): %s", t->comm, t->pid,
			   p->obstacles[before].text);
}
