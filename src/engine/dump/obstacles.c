/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State of a task, neither memory nor descriptor, that an image cannot hold yet. */
#include "dump/plan.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool same_file(int a_dirfd, const char *a, int b_dirfd, const char *b)
{
	struct stat st_a, st_b;

	if (fstatat(a_dirfd, a, &st_a, 0) < 0 || fstatat(b_dirfd, b, &st_b, 0) < 0)
		return true; /* a kernel without this kind, or a process that is not ours to ask */
	return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* One time namespace for all, whose offsets are saved; of the other kinds a tree may have several, see
 * ns/. */
static void check_time_namespace(struct dump_plan *p, struct task *t)
{
	struct task *root = p->tree->tasks[0];

	if (!same_file(t->procfd, "ns/time", root->procfd, "ns/time"))
		dump_plan_add_obstacle(p, t, -1,
				       "is in another time namespace than the root of the hierarchy, "
				       "which is not supported; checkpoint the processes of one "
				       "namespace");
	else if (!same_file(t->procfd, "ns/time", t->procfd, "ns/time_for_children"))
		dump_plan_add_obstacle(p, t, -1,
				       "has made a time namespace for its children, which is not "
				       "supported; checkpoint it from inside of that namespace");
}

static void add_obstacle(void *arg, struct task *t, const char *text)
{
	dump_plan_add_obstacle(arg, t, -1, text);
}

int dump_check_tasks(struct dump_plan *p, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped(proc_status_done) struct proc_status own = {.groups = NULL};
	size_t before = p->nr_obstacles, i;
	struct task *t;

	if (self < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self'");
	p->seccomp = calloc(p->tree->nr_tasks, sizeof(*p->seccomp));
	if (!p->seccomp)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for seccomp filters");
	if (proc_read_status(self, "status", &own, err) < 0)
		return -1;
	if (ns_save_collect(p->s, p->tree, add_obstacle, p, &p->ns, err) < 0)
		return -1;
	tree_for_each(p->tree, i, t) {
		if (t->state == TASK_ZOMBIE)
			continue;
		check_time_namespace(p, t);
		if (dump_seccomp_read(p, t, &own, &p->seccomp[i], err) < 0)
			return -1;
	}
	if (p->nr_obstacles == before || p->s->is_forced)
		return 0;
	t = p->obstacles[before].task;
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "%s(%d): %s", t->comm, t->pid,
			   p->obstacles[before].text);
}
