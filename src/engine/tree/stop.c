/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order in which a tree is stopped: level by level, parents first. A process that stands still
 * gets no new children, and its list of threads is final once two looks agree, so no level needs to
 * be visited twice. A child is not touched before its parent stands still: a parent in vfork(2) only
 * does when the child has called exec.
 */
#include "inject/inject.h"
#include "lib/parallel.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	NS_PER_MS = 1000000,
	NR_YIELDS = 200,	      /* rounds of polling before sleeping between them */
	POLL_SLEEP_NS = 100000,
	AGAIN_MS = 20,		      /* a thread that called exec has lost our request */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void short_sleep(void)
{
	const struct timespec ts = {.tv_nsec = POLL_SLEEP_NS};

	(void)nanosleep(&ts, NULL); /* too short is fine */
}

/* ---- threads of one process */

static int add_thread(struct task *t, size_t *room, pid_t tid, const struct timed_call *timed,
		      struct stasis_error *err)
{
	if (t->nr_threads == *room) {
		size_t bigger = *room ? *room * 2 : 8;
		struct thread *threads = realloc(t->threads, bigger * sizeof(*threads));

		if (!threads)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", bigger);
		t->threads = threads;
		*room = bigger;
	}
	t->threads[t->nr_threads++] = (struct thread){
		.task = t,
		.tid = tid,
		.timed = *timed,
		.is_seized = true,
	};
	return 0;
}

/* Thread lists are ascending, so old and new ones merge in one pass. */
static int by_tid(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	/* the leader first, whatever its number */
	if (x->tid == x->task->pid || y->tid == y->task->pid)
		return (y->tid == y->task->pid) - (x->tid == x->task->pid);
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static bool has_thread(const struct task *t, size_t nr, pid_t tid)
{
	struct task fake = {.pid = t->pid};
	struct thread key = {.task = &fake, .tid = tid};

	return nr && bsearch(&key, t->threads, nr, sizeof(key), by_tid);
}

static int seize_one(struct stopper *st, struct task *t, size_t *room, pid_t tid, size_t *nr_new,
		     struct stasis_error *err)
{
	struct timed_call timed;

	timed_call_measure(st, t, tid, &timed);
	switch (thread_seize(st, t, tid, err)) {
	case SEIZE_OK:
		++*nr_new;
		return add_thread(t, room, tid, &timed, err);
	case SEIZE_ZOMBIE: /* with others alive settle_ended() sees to it */
	case SEIZE_GONE:
		return 0;
	case SEIZE_FAILED:
	default:
		return -1;
	}
}

/* While all that are known stand still: are there as many as the process has? */
static bool has_all_threads(struct task *t)
{
	return t->nr_threads && proc_read_stat(t->procfd, "stat", &t->stat, NULL) == 0 &&
	       t->stat.nr_threads == (int64_t)t->nr_threads;
}

/* One look at the list of threads. */
static int seize_new_threads(struct stopper *st, struct task *t, size_t *nr_new,
			     struct stasis_error *err)
{
	size_t nr, known = t->nr_threads, room = t->nr_threads;
	struct stasis_error local;
	scoped_free int *tids = NULL;

	if (has_all_threads(t))
		return 0;
	if (proc_list_numbers(t->procfd, "task", &tids, &nr, &local) < 0)
		nr = 0; /* ended */
	for (size_t i = 0; i < nr && t->state != TASK_ZOMBIE; i++)
		if (!has_thread(t, known, tids[i]) &&
		    seize_one(st, t, &room, tids[i], nr_new, err) < 0)
			return -1;
	/* Looking at each took time, interrupting does not: the first shall not wait for the last. Fails
	 * for one that has ended; waiting for it will tell. */
	for (size_t i = known; i < t->nr_threads; i++)
		(void)ptrace(PTRACE_INTERRUPT, t->threads[i].tid, NULL, NULL);
	if (t->nr_threads > known)
		qsort(t->threads, t->nr_threads, sizeof(*t->threads), by_tid);
	return 0;
}

/* ---- waiting */

/* Take out threads that have ended. */
static void drop_gone(struct task *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->nr_threads; i++)
		if (t->threads[i].is_seized)
			t->threads[kept++] = t->threads[i];
	t->nr_threads = kept;
}

/* How many threads of the task still run. */
static size_t poll_task(struct stopper *st, struct task *t, struct thread **ret_running)
{
	bool has_gone = false;
	size_t running = 0;

	for (size_t i = 0; i < t->nr_threads; i++) {
		struct thread *th = &t->threads[i];

		if (th->is_stopped_by_us)
			continue;
		switch (thread_poll_stop(st, th)) {
		case WAIT_RUNNING:
			running++;
			*ret_running = th;
			break;
		case WAIT_GONE:
			has_gone = true;
			break;
		case WAIT_STOPPED:
		default:
			if (!st->tree->stopped_at_ns)
				st->tree->stopped_at_ns = now_ns();
			if (t->state != TASK_STOPPED) /* else the stop signal did it, not we */
				thread_repair_syscall(th);
			break;
		}
	}
	if (has_gone) {
		drop_gone(t);
		*ret_running = running ? &t->threads[0] : NULL;
	}
	return running;
}

/* A first thread that ended after we had asked it to stop is not reported while others live. */
static void drop_ended_leader(struct task *t)
{
	struct proc_stat stat;

	if (t->nr_threads < 2 || t->threads[0].tid != t->pid || t->threads[0].is_stopped_by_us ||
	    proc_read_stat(t->procfd, "stat", &stat, NULL) < 0 || stat.state != 'Z')
		return;
	t->threads[0].is_seized = false;
	drop_gone(t);
}

static void interrupt_again(struct stopper *st, size_t from)
{
	for (size_t i = from; i < st->tree->nr_tasks; i++) {
		struct task *t = st->tree->tasks[i];

		drop_ended_leader(t);
		for (size_t k = 0; k < t->nr_threads; k++)
			if (!t->threads[k].is_stopped_by_us)
				(void)ptrace(PTRACE_INTERRUPT, t->threads[k].tid, NULL, NULL);
	}
}

/*
 * Polled, not waited for: wait(2) for "any" would take the events of our caller's children. The time-
 * out is for one task: it starts again with every task that stops.
 */
static int wait_all(struct stopper *st, size_t from, struct stasis_error *err)
{
	uint64_t start = now_ns(), again = start + (uint64_t)AGAIN_MS * NS_PER_MS;
	size_t i = from;

	for (unsigned round = 0; i < st->tree->nr_tasks; round++) {
		struct thread *running = NULL;
		uint64_t now;

		if (poll_task(st, st->tree->tasks[i], &running) == 0) {
			i++;
			round = 0;
			start = now_ns();
			continue;
		}
		newborns_poll(st);
		if (round < NR_YIELDS) {
			(void)sched_yield(); /* cannot fail */
			continue;
		}
		short_sleep();
		now = now_ns();
		if (now - start > (uint64_t)st->timeout_ms * NS_PER_MS)
			return fail_no_stop(running, st->timeout_ms, err);
		if (now > again) {
			interrupt_again(st, i);
			again = now + (uint64_t)AGAIN_MS * NS_PER_MS;
		}
	}
	return 0;
}

/* ---- one level */

/* Its first thread has ended while others live on: those have its memory and descriptors. */
static int look_through_thread(struct task *t, struct stasis_error *err)
{
	int fd;

	if (!t->nr_threads || t->threads[0].tid == t->pid || t->leaderfd >= 0)
		return 0;
	fd = proc_open(t->threads[0].tid, err);
	if (fd < 0)
		return -1;
	t->leaderfd = t->procfd;
	t->procfd = fd;
	return proc_read_stat(t->procfd, "stat", &t->stat, err);
}

/* A process whose threads have all gone is a zombie now, or reaped and out of the tree. */
static void settle_ended(struct stopper *st, size_t from)
{
	struct tree *tree = st->tree;
	size_t kept = from;

	for (size_t i = from; i < tree->nr_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (t->nr_threads || (t->state == TASK_ZOMBIE && t->pid)) {
			tree->tasks[kept++] = t;
			continue;
		}
		if (t->pid && proc_read_stat(t->procfd, "stat", &t->stat, NULL) == 0 &&
		    t->stat.state == 'Z') {
			t->state = TASK_ZOMBIE;
			t->exit_status = t->stat.exit_code;
			tree->tasks[kept++] = t;
			continue;
		}
		task_free(t);
	}
	tree->nr_tasks = kept;
}

int stop_tasks(struct stopper *st, size_t from, struct stasis_error *err)
{
	struct tree *tree = st->tree;
	size_t nr_new;

	do {
		nr_new = 0;
		for (size_t i = from; i < tree->nr_tasks; i++)
			if (tree->tasks[i]->state != TASK_ZOMBIE &&
			    seize_new_threads(st, tree->tasks[i], &nr_new, err) < 0)
				return -1;
		if (wait_all(st, from, err) < 0)
			return -1;
	} while (nr_new);
	settle_ended(st, from);
	for (size_t i = from; i < tree->nr_tasks; i++)
		if (look_through_thread(tree->tasks[i], err) < 0)
			return -1;
	return 0;
}

/* ---- the whole tree */

static int stop_levels(struct stopper *st, size_t from, struct stasis_error *err)
{
	while (from < st->tree->nr_tasks) {
		size_t to;

		if (stop_tasks(st, from, err) < 0)
			return -1;
		to = st->tree->nr_tasks;
		if (st->is_recursive && tree_add_children(st, from, to, false, err) < 0)
			return -1;
		from = to;
	}
	return 0;
}

static int stop_everything(struct stopper *st, struct stasis_error *err)
{
	size_t nr;

	if (stop_levels(st, 0, err) < 0)
		return -1;
	do {
		nr = st->tree->nr_tasks;
		if (nr < 2)
			break; /* orphans need a process below */
		if (tree_add_children(st, 0, nr, true, err) < 0 || stop_levels(st, nr, err) < 0)
			return -1;
	} while (st->tree->nr_tasks != nr);
	if (!st->tree->nr_tasks || st->tree->tasks[0]->state == TASK_ZOMBIE)
		return stasis_fail(err, STASIS_E_GONE, "the process has ended");
	return 0;
}

/* Memory shared between processes (vfork, clone(CLONE_VM)) cannot be given back as such. */
static int check_shared_memory(const struct tree *tree, struct stasis_error *err)
{
	enum { KCMP_VM_NR = 1 };

	for (size_t i = 1; i < tree->nr_tasks; i++) {
		const struct task *t = tree->tasks[i];

		/* -1: no CONFIG_KCMP; a zombie has no memory */
		if (t->state != TASK_ZOMBIE &&
		    syscall(SYS_kcmp, task_live_tid(t), task_live_tid(t->parent), KCMP_VM_NR, 0, 0) == 0)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "process %d (%s) shares its memory with its parent %d "
					   "(vfork or CLONE_VM without CLONE_THREAD); wait until it "
					   "has called exec or has ended",
					   t->pid, t->comm, t->parent->pid);
	}
	return 0;
}

static int fail_process(const struct task *t, struct stasis_error *err)
{
	return stasis_fail_prefix(err, "process %d (%s)", t->pid, t->comm);
}

static int read_status(void *arg, size_t i, struct stasis_error *err)
{
	struct thread *const *threads = arg;

	return thread_read_status(threads[i], err) < 0 ? fail_process(threads[i]->task, err) : 0;
}

static int read_statuses(struct tree *tree, struct stasis_error *err)
{
	scoped_free struct thread **threads = NULL;
	size_t nr = 0, i;
	struct task *t;

	tree_for_each(tree, i, t)
		nr += t->nr_threads;
	threads = calloc(nr + 1, sizeof(struct thread *));
	if (!threads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", nr);
	nr = 0;
	tree_for_each(tree, i, t)
		for (size_t k = 0; t->state != TASK_ZOMBIE && k < t->nr_threads; k++)
			threads[nr++] = &t->threads[k];
	return parallel_each(nr, read_status, threads, err);
}

static int read_states(struct tree *tree, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	if (read_statuses(tree, err) < 0)
		return -1;
	tree_for_each(tree, i, t) {
		if (t->state == TASK_ZOMBIE)
			continue;
		t->pgid = t->stat.pgrp; /* it ran when they were read first */
		t->sid = t->stat.session;
		if (task_read_state(tree->s, t, err) < 0)
			return fail_process(t, err);
	}
	return 0;
}

static int stop_new_tree(struct stopper *st, pid_t root, struct stasis_error *err)
{
	if (root == st->self_pid)
		return stasis_fail(err, STASIS_E_USAGE, "a process cannot checkpoint itself so");
	if (proc_read_status(AT_FDCWD, "/proc/thread-self/status", &st->tree->own, err) < 0 ||
	    !tree_add_task(st, root, NULL, err))
		return -1;
	if (stop_everything(st, err) < 0)
		return -1;
	if (check_shared_memory(st->tree, err) < 0 || tree_put_in_order(st->tree, err) < 0)
		return -1;
	return read_states(st->tree, err);
}

static int stop_once(struct session *s, struct stopper *st, pid_t root, struct tree **ret,
		     struct stasis_error *err)
{
	scoped(tree_resumep) struct tree *tree = calloc(1, sizeof(*tree));
	int r;

	if (!tree)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a process tree");
	tree->s = s;
	st->tree = tree;
	r = stop_new_tree(st, root, err);
	newborns_release_strangers(st);
	free(st->newborns);
	st->newborns = NULL;
	if (r == 0)
		*ret = ptr_take(&tree);
	return r;
}

static struct task *find_leaving(struct tree *tree)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->state != TASK_ZOMBIE && inject_is_leaving(t))
			return t;
	return NULL;
}

/* Another engine may have been killed a moment ago: whoever is still on the way out of its parasite
 * gets the time to finish. */
int tree_stop(struct session *s, pid_t root, bool recursive, const struct tree_pick *pick,
	      unsigned timeout_ms, struct tree **ret, struct stasis_error *err)
{
	static const struct tree_pick all = {.nr_skip = 0};
	struct stopper st = {
		.self_tid = (pid_t)syscall(SYS_gettid),
		.self_pid = getpid(),
		.pick = pick ? pick : &all,
		.timeout_ms = timeout_ms,
		.is_recursive = recursive,
	};
	const uint64_t end = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;

	for (;;) {
		scoped(tree_resumep) struct tree *tree = NULL;
		struct task *leaving;

		if (stop_once(s, &st, root, &tree, err) < 0)
			return -1;
		leaving = find_leaving(tree);
		if (!leaving) {
			if (tree_read_ids(tree, err) < 0)
				return -1;
			tree->frozen_at_ns = now_ns();
			*ret = ptr_take(&tree);
			return 0;
		}
		if (now_ns() > end)
			return stasis_fail(err, STASIS_E_TIMEOUT,
					   "process %d (%s) still recovers from a checkpoint that was "
					   "killed",
					   leaving->pid, leaving->comm);
		inject_help_leave(leaving);
		tree_resume(ptr_take(&tree), NULL);
		nanosleep(&(const struct timespec){.tv_nsec = NS_PER_MS}, NULL);
	}
}
