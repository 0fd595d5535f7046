/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Letting go. Whatever was in the way of running on is taken out before the first thread runs. */
#include "inject/inject.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { LAST_TRIES = 2000 };

/* By pidfd where there is one, so that a recycled pid is never hit. The process may have been killed
 * meanwhile: nothing left to signal. */
static void send_signal(const struct task *t, int sig)
{
	if (!sig || t->state == TASK_ZOMBIE)
		return;
	if (t->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, t->pidfd, sig, NULL, 0);
	else
		(void)kill(t->pid, sig);
}

static void send_signals(struct tree *t, const struct tree_after *after)
{
	struct task *task;
	size_t i;

	if (!after)
		return;
	tree_for_each(t, i, task)
		send_signal(task, after->signal_all);
	if (t->nr_tasks)
		send_signal(t->tasks[0], after->signal_root);
}

/* A thread that was killed while traced stays until its tracer has seen its end. The leader's end is
 * its parent's to see: if we are that, our caller's. */
static void reap(const struct thread *th)
{
	int status;

	if (th->tid != th->task->pid || th->task->ppid != getpid())
		(void)waitpid(th->tid, &status, __WALL | WNOHANG);
}

/*
 * A thread that we failed to stop: only a stopped one can be detached, so it gets a little more time.
 * One that stays in uninterruptible sleep beyond that is let go by the kernel when the calling thread
 * ends.
 */
static void let_go_running(struct thread *th)
{
	const struct timespec pause = {.tv_nsec = 100000};

	(void)ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL);
	for (int i = 0; i < LAST_TRIES; i++) {
		int status, sig;
		pid_t got = waitpid(th->tid, &status, __WALL | WNOHANG);

		if (got < 0 || (got == th->tid && !WIFSTOPPED(status)))
			return;
		if (got == th->tid) {
			sig = status >> 16 ? 0 : WSTOPSIG(status);
			if (sig == SIGTRAP || sig > SIGRTMAX)
				sig = 0; /* a system call stop */
			(void)ptrace(PTRACE_DETACH, th->tid, NULL, (void *)(intptr_t)sig);
			return;
		}
		(void)nanosleep(&pause, NULL); /* too short is fine */
	}
}

static void let_go(struct thread *th)
{
	if (!th->is_seized || ptrace(PTRACE_DETACH, th->tid, NULL, NULL) == 0)
		return;
	if (th->is_stopped_by_us)
		reap(th);
	else
		let_go_running(th);
}

static void let_go_task(struct task *t)
{
	for (size_t k = 0; k < t->nr_threads; k++)
		let_go(&t->threads[k]);
}

/* Those that are to stand still first: no parent may see its stopped child run. Signals, which may
 * end the stop, are not waited for. */
static void let_go_all(struct tree *t, const struct tree_after *after)
{
	bool is_signalled = after && (after->signal_all || after->signal_root);
	struct task *task;
	size_t i;

	tree_for_each(t, i, task)
		if (task->state == TASK_STOPPED)
			let_go_task(task);
	tree_for_each(t, i, task)
		if (task->state == TASK_STOPPED && !is_signalled)
			(void)proc_await_stopped(task_leaderfd(task));
	tree_for_each(t, i, task)
		if (task->state != TASK_STOPPED)
			let_go_task(task);
}

void tree_resume(struct tree *t, const struct tree_after *after)
{
	int saved = errno;
	struct task *task;
	size_t i;

	if (!t)
		return;
	inject_close(t->tasks, t->nr_tasks);
	send_signals(t, after);
	let_go_all(t, after);
	tree_for_each(t, i, task)
		task_free(task);
	free(t->tasks);
	proc_status_done(&t->own);
	free(t);
	errno = saved;
}

void tree_resumep(struct tree **t)
{
	tree_resume(*t, NULL);
	*t = NULL;
}
