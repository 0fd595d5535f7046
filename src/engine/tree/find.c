/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who belongs to the tree: children lists, zombies, ourselves, and the final order. */
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

enum {
	PF_KTHREAD = 0x00200000, /* include/linux/sched.h */
	CHILDREN_FILE_BYTES = 1 << 20,
};

void task_free(struct task *t)
{
	scoped_fd int procfd = -1, pidfd = -1, leaderfd = -1, rootfd = -1;

	if (!t)
		return;
	procfd = t->procfd;
	pidfd = t->pidfd;
	rootfd = t->rootfd;
	leaderfd = t->leaderfd;
	for (size_t i = 0; i < t->nr_threads; i++) {
		free(t->threads[i].xstate);
		proc_status_done(&t->threads[i].status);
	}
	free(t->threads);
	free(t->auxv);
	free(t);
}

static int check_kind(pid_t pid, const struct proc_stat *stat, struct stasis_error *err)
{
	if (stat->flags & PF_KTHREAD)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "%d (%s) is a thread of the kernel",
				   pid, stat->comm);
	if (pid == 1)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "process 1 (%s) is the init process of the system; checkpoint the "
				   "processes below it",
				   stat->comm);
	return 0;
}

static int append(struct stopper *st, struct task *t, struct stasis_error *err)
{
	struct tree *tree = st->tree;

	if ((tree->nr_tasks & (tree->nr_tasks - 1)) == 0) { /* grow at powers of two */
		size_t room = tree->nr_tasks ? tree->nr_tasks * 2 : 1;
		struct task **bigger = realloc(tree->tasks, room * sizeof(struct task *));

		if (!bigger)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu processes", room);
		tree->tasks = bigger;
	}
	t->index = tree->nr_tasks;
	tree->tasks[tree->nr_tasks++] = t;
	return 0;
}

static const char *stand_in_label(const struct stopper *st, pid_t pid)
{
	for (size_t i = 0; i < st->pick->nr_stand_ins; i++)
		if (st->pick->stand_ins[i].pid == pid)
			return st->pick->stand_ins[i].label ? st->pick->stand_ins[i].label : "";
	return NULL;
}

static struct task *new_task(struct stopper *st, pid_t pid, struct task *parent,
			     struct stasis_error *err)
{
	scoped_fd int procfd = proc_open(pid, err);
	struct proc_stat stat;
	struct task *t;

	if (procfd < 0 || proc_read_stat(procfd, "stat", &stat, err) < 0 ||
	    check_kind(pid, &stat, err) < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for a process");
	*t = (struct task){
		.tree = st->tree,
		.parent = parent,
		.pid = pid,
		.ppid = stat.ppid,
		.pgid = stat.pgrp,
		.sid = stat.session,
		.procfd = fd_take(&procfd),
		.rootfd = -1,
		.leaderfd = -1,
		.stat = stat,
		.pidfd = (int)syscall(SYS_pidfd_open, pid, 0), /* -1 for a reaped one */
		.stand_in = parent ? stand_in_label(st, pid) : NULL,
	};
	memcpy(t->comm, stat.comm, sizeof(t->comm) - 1);
	if (stat.state == 'Z' && stat.nr_threads <= 1) {
		t->state = TASK_ZOMBIE;
		t->exit_status = stat.exit_code;
	}
	return t;
}

struct task *tree_add_task(struct stopper *st, pid_t pid, struct task *parent,
			   struct stasis_error *err)
{
	struct task *t = new_task(st, pid, parent, err);

	if (t && append(st, t, err) < 0) {
		task_free(t);
		return NULL;
	}
	return t;
}

struct task *tree_add_zombie(struct stopper *st, pid_t pid, struct task *parent, int exit_status,
			     struct stasis_error *err)
{
	struct task *t = tree_add_task(st, pid, parent, err);

	if (t) {
		t->state = TASK_ZOMBIE;
		t->exit_status = exit_status;
	}
	return t;
}

static bool is_known(const struct tree *tree, pid_t pid)
{
	for (size_t i = tree->nr_tasks; i-- > 0;)
		if (tree->tasks[i]->pid == pid)
			return true;
	return false;
}

static bool is_skipped(const struct stopper *st, pid_t pid)
{
	for (size_t i = 0; i < st->pick->nr_skip; i++)
		if (st->pick->skip[i] == pid)
			return true;
	return false;
}

/* The engine itself may be below the root (chkpnt of a shell): the program sees it as ended. */
static int add_child(struct stopper *st, struct task *parent, pid_t pid, struct stasis_error *err)
{
	struct stasis_error local = {.cls = STASIS_E_OK};
	struct task *t;

	if (is_skipped(st, pid))
		return 0;
	if (pid == st->self_pid)
		t = tree_add_zombie(st, pid, parent, 0, &local);
	else
		t = tree_add_task(st, pid, parent, &local);
	if (t || local.cls == STASIS_E_GONE)
		return 0; /* ended and reaped since (SIGCHLD ignored) */
	if (err)
		*err = local;
	return -1;
}

/* In a first pass nothing can be known yet; only later ones pay for the look-up. */
static int add_listed(struct stopper *st, struct task *t, const char *list, bool may_be_known,
		      struct stasis_error *err)
{
	char *end;

	for (;; list = end) {
		long pid = strtol(list, &end, 10);

		if (end == list)
			return 0;
		if (may_be_known && is_known(st->tree, (pid_t)pid))
			continue;
		if (add_child(st, t, (pid_t)pid, err) < 0)
			return -1;
	}
}

/* Without CONFIG_PROC_CHILDREN: everybody's parent. */
static int add_by_scan(struct stopper *st, struct task *t, struct stasis_error *err)
{
	scoped_fd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	struct proc_stat stat;
	char name[32];
	size_t nr;

	if (proc < 0 || proc_list_numbers(proc, ".", &pids, &nr, err) < 0)
		return stasis_fail_prefix(err, "/proc");
	for (size_t i = 0; i < nr; i++) {
		(void)snprintf(name, sizeof(name), "%d/stat", pids[i]);
		if (proc_read_stat(proc, name, &stat, NULL) < 0 || stat.ppid != t->pid ||
		    is_known(st->tree, pids[i]))
			continue;
		if (add_child(st, t, pids[i], err) < 0)
			return -1;
	}
	return 0;
}

static int add_children_of(struct stopper *st, struct task *t, bool leader_only,
			   struct stasis_error *err)
{
	size_t nr = leader_only && t->nr_threads && t->leaderfd < 0 ? 1 : t->nr_threads;
	char name[48];

	if (t->stand_in)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		scoped_free char *list = NULL;
		size_t len;

		(void)snprintf(name, sizeof(name), "task/%d/children", t->threads[i].tid);
		if (io_read_file_at(t->procfd, name, CHILDREN_FILE_BYTES, &list, &len, NULL) < 0)
			return add_by_scan(st, t, err);
		if (add_listed(st, t, list, leader_only, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Children of tasks[from..to), which stand still, so that they get no new ones; with one exception:
 * orphans of a process below that ended are given to the first thread of a subreaper (prctl(2)),
 * or another one when that has ended, which is what leaders_only looks for.
 */
int tree_add_children(struct stopper *st, size_t from, size_t to, bool leaders_only,
		      struct stasis_error *err)
{
	for (size_t i = from; i < to; i++)
		if (add_children_of(st, st->tree->tasks[i], leaders_only, err) < 0)
			return -1;
	return 0;
}

/* Pre-order: parents before children, and each process followed by all of its descendants. */
int tree_put_in_order(struct tree *t, struct stasis_error *err)
{
	scoped_free size_t *first = malloc(t->nr_tasks * 2 * sizeof(*first));
	struct task **ordered = malloc(t->nr_tasks * sizeof(struct task *));
	size_t *next, nr = 0;
	size_t at = 0;

	if (!first || !ordered) {
		free(ordered);
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu processes", t->nr_tasks);
	}
	/* first[i], next[i]: chain of the children of task i, in the order found */
	next = first + t->nr_tasks;
	for (size_t i = 0; i < t->nr_tasks; i++) {
		t->tasks[i]->index = i;
		first[i] = next[i] = SIZE_MAX;
	}
	for (size_t i = t->nr_tasks; i-- > 1;) {
		size_t parent = t->tasks[i]->parent->index;

		next[i] = first[parent];
		first[parent] = i;
	}
	while (at != SIZE_MAX) {
		struct task *task = t->tasks[at];

		ordered[nr++] = task;
		if (first[at] != SIZE_MAX) {
			at = first[at];
			continue;
		}
		while (task && next[task->index] == SIZE_MAX)
			task = task->parent;
		at = task ? next[task->index] : SIZE_MAX;
	}
	free(t->tasks);
	t->tasks = ordered;
	for (size_t i = 0; i < nr; i++)
		ordered[i]->index = i;
	return 0;
}
