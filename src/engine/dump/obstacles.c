/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State of a task, neither memory nor descriptor, that an image cannot hold yet. */
#include "dump/plan.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { TEXT_BYTES = 240 };

/* Namespaces that restart does not make: the tree must be in ours. Of a user, pid or mount namespace
 * it may have its own, as what an ordinary user restarted has. */
static const char *const shared_namespaces[] = {"net", "uts", "ipc", "cgroup", "time"};

static bool same_file(int a_dirfd, const char *a, int b_dirfd, const char *b)
{
	struct stat st_a, st_b;

	if (fstatat(a_dirfd, a, &st_a, 0) < 0 || fstatat(b_dirfd, b, &st_b, 0) < 0)
		return true; /* a kernel without this kind, or a process that is not ours to ask */
	return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

static void check_namespaces(struct dump_plan *p, struct task *t, int self)
{
	char name[32], text[TEXT_BYTES];

	for (size_t i = 0; i < sizeof(shared_namespaces) / sizeof(shared_namespaces[0]); i++) {
		(void)snprintf(name, sizeof(name), "ns/%s", shared_namespaces[i]);
		if (same_file(t->procfd, name, self, name))
			continue;
		(void)snprintf(text, sizeof(text),
			       "is in a %s namespace of its own, which is not supported yet; "
			       "checkpoint it from inside of that namespace",
			       shared_namespaces[i]);
		dump_plan_add_obstacle(p, t, -1, text);
	}
	/* another mount namespace with another tree of files: paths would lead elsewhere */
	if (!same_file(t->procfd, "ns/mnt", self, "ns/mnt") &&
	    !same_file(t->procfd, "root", self, "root"))
		dump_plan_add_obstacle(p, t, -1,
				       "is in a mount namespace with a root of its own, which is not "
				       "supported yet; checkpoint it from inside of that namespace");
}

/* As many filters as we are under ourselves are those of the container, which restart's children
 * inherit as well; inject/checks.c thinks the same. */
static int check_seccomp(struct dump_plan *p, struct task *t, const struct proc_status *own,
			 struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};

	if (proc_read_status(t->procfd, "status", &st, err) < 0)
		return -1;
	if (st.seccomp != own->seccomp || st.nr_seccomp_filters != own->nr_seccomp_filters)
		dump_plan_add_obstacle(p, t, -1,
				       "is under a seccomp filter, which is not supported yet; start "
				       "it without, or use -F to restart it without");
	return 0;
}

int dump_check_tasks(struct dump_plan *p, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped(proc_status_done) struct proc_status own = {.groups = NULL};
	size_t before = p->nr_obstacles, i;
	struct task *t;

	if (self < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self'");
	if (proc_read_status(self, "status", &own, err) < 0)
		return -1;
	tree_for_each(p->tree, i, t) {
		if (t->state == TASK_ZOMBIE)
			continue;
		check_namespaces(p, t, self);
		if (check_seccomp(p, t, &own, err) < 0)
			return -1;
	}
	if (p->nr_obstacles == before || p->s->is_forced)
		return 0;
	t = p->obstacles[before].task;
	return stasis_fail(err, STASIS_E_UNSUPPORTED, "%s(%d): %s", t->comm, t->pid,
			   p->obstacles[before].text);
}
