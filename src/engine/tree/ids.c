/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ids as the processes themselves know them. They differ from ours in a pid namespace, where an
 * ordinary user's restarted programs live; the image must hold theirs, or the next restart would give
 * a program another pid than the one it remembers.
 */
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* Inode of the pid namespace of a process; 0 when it cannot be looked at. */
static ino_t namespace_of(int procfd)
{
	struct stat st;

	return fstatat(procfd, "ns/pid", &st, 0) < 0 ? 0 : st.st_ino;
}

static void copy_ids(struct task *t)
{
	t->vpid = t->pid;
	t->vppid = t->ppid;
	t->vpgid = t->pgid;
	t->vsid = t->sid;
	for (size_t i = 0; i < t->nr_threads; i++)
		t->threads[i].vtid = t->threads[i].tid;
}

static int read_thread_id(struct thread *th, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	char name[64];

	(void)snprintf(name, sizeof(name), "task/%d/status", th->tid);
	if (proc_read_status(th->task->procfd, name, &st, err) < 0)
		return -1;
	th->vtid = st.ns_pid;
	return 0;
}

static int read_ids(struct task *t, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};

	if (proc_read_status(t->procfd, "status", &st, err) < 0)
		return -1;
	t->vpid = st.ns_pid;
	t->vpgid = st.ns_pgid;
	t->vsid = st.ns_sid;
	t->vppid = t->parent ? t->parent->vpid : 0;
	for (size_t i = 0; i < t->nr_threads; i++)
		if (read_thread_id(&t->threads[i], err) < 0)
			return -1;
	return 0;
}

int tree_read_ids(struct tree *t, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ino_t ours = self < 0 ? 0 : namespace_of(self), theirs = namespace_of(t->tasks[0]->procfd);
	struct task *task;
	size_t i;

	tree_for_each(t, i, task) {
		ino_t its = task->nr_threads ? namespace_of(task->procfd) : theirs;

		if (its != theirs)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%d): is in a pid namespace of its own; checkpoint the "
					   "processes of one namespace",
					   task->comm, task->pid);
		if (theirs == ours)
			copy_ids(task);
		else if (read_ids(task, err) < 0)
			return stasis_fail_prefix(err, "%s(%d)", task->comm, task->pid);
	}
	return 0;
}

pid_t tree_vpid_of(const struct tree *t, pid_t id)
{
	struct task *task;
	size_t i;

	tree_for_each(t, i, task) {
		if (task->pid == id)
			return task->vpid;
		if (task->pgid == id)
			return task->vpgid;
		for (size_t k = 0; k < task->nr_threads; k++)
			if (task->threads[k].tid == id)
				return task->threads[k].vtid;
	}
	return t->tasks[0]->pid == t->tasks[0]->vpid ? id : 0;
}
