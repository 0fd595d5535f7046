/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ids as the tree itself knows them. They differ from ours in a pid namespace, where an ordinary
 * user's restarted programs live; the image must hold theirs, or the next restart would give a program
 * another pid than the one it remembers.
 *
 * The tree's pid namespace is its root's, or the one above when the root is the first process of its
 * namespace, which is then made anew with it. Processes below may be in namespaces nested in it
 * (a container started by one of them) and have a further number in each.
 */
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Is a process in that pid namespace? A kernel without them has no such link, ours is empty then too. */
static bool is_in(const char *ns, int procfd)
{
	char its[PROC_NS_BYTES];

	(void)proc_read_ns(procfd, "ns/pid", its);
	return strcmp(ns, its) == 0;
}

static void copy_ids(struct task *t)
{
	t->vpid = t->pid;
	t->vppid = t->ppid;
	t->vpgid = t->own_pgid = t->pgid;
	t->vsid = t->own_sid = t->sid;
	for (size_t i = 0; i < t->nr_threads; i++)
		t->threads[i].vtid = t->threads[i].tid;
}

static int fill_thread_id(struct thread *th, uint32_t depth, struct stasis_error *err)
{
	const struct proc_status *st = &th->status;

	if (st->nr_ns_ids != depth + 1 + th->task->nr_inner)
		return stasis_fail(err, STASIS_E_INTERNAL, "thread %d has %u ids", th->tid,
				   st->nr_ns_ids);
	th->vtid = st->ns_pid[depth];
	memcpy(th->inner_tids, st->ns_pid + depth + 1, th->task->nr_inner * sizeof(pid_t));
	return 0;
}

/* depth: index of the tree's namespace in the lists of ids */
static int read_ids(struct task *t, uint32_t depth, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	uint32_t last;

	if (proc_read_status(task_leaderfd(t), "status", &st, err) < 0)
		return -1;
	last = st.nr_ns_ids - 1;
	if (!st.nr_ns_ids || last < depth || last - depth > TREE_MAX_INNER)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "is %u pid namespaces deeper than the tree's root; checkpoint it "
				   "from inside of one",
				   last - depth);
	t->vpid = st.ns_pid[depth];
	t->vpgid = st.ns_pgid[depth];
	t->vsid = st.ns_sid[depth];
	t->own_pgid = st.ns_pgid[last];
	t->own_sid = st.ns_sid[last];
	t->vppid = t->parent ? t->parent->vpid : 0;
	t->nr_inner = last - depth;
	memcpy(t->inner_pids, st.ns_pid + depth + 1, t->nr_inner * sizeof(pid_t));
	for (size_t i = 0; i < t->nr_threads; i++)
		if (fill_thread_id(&t->threads[i], depth, err) < 0)
			return -1;
	return 0;
}

/* Where the tree's pid namespace stands in the lists of ids. */
static uint32_t find_depth(const struct task *root)
{
	const struct proc_status *st = &root->threads[0].status;
	uint32_t depth = st->nr_ns_ids ? st->nr_ns_ids - 1 : 0;

	return depth && st->ns_pid[depth] == 1 ? depth - 1 : depth;
}

int tree_read_ids(struct tree *t, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char ours[PROC_NS_BYTES];
	struct task *task;
	const uint32_t depth = find_depth(t->tasks[0]);
	size_t i;

	if (self < 0 || !proc_read_ns(self, "ns/pid", ours))
		ours[0] = '\0';
	tree_for_each(t, i, task) {
		/* a zombie's namespace cannot be looked at, its list of ids can */
		if (!depth && task->nr_threads && is_in(ours, task->procfd))
			copy_ids(task);
		else if (read_ids(task, depth, err) < 0)
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

pid_t tree_own_tid(const struct task *t, pid_t tid)
{
	for (size_t k = 0; k < t->nr_threads; k++) {
		const struct thread *th = &t->threads[k];

		if (th->tid == tid)
			return t->nr_inner ? th->inner_tids[t->nr_inner - 1] : th->vtid;
	}
	return 0;
}
