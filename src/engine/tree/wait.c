/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a traced thread reports before it stands still: only PTRACE_EVENT_STOP is the stop we asked
 * for. A signal on its way is let through first (its handler's frame is then simply part of the
 * state), a fork or clone is finished, the end of a thread is noted.
 */
#include "lib/io.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

/* A child made by vfork(2) must run: its parent does not stand still before that has called exec. It
 * is found again afterwards. */
static void note_newborn(struct stopper *st, pid_t parent, bool must_go)
{
	unsigned long child = 0;
	struct newborn *bigger;

	if (ptrace(PTRACE_GETEVENTMSG, parent, NULL, &child) < 0)
		return; /* killed meanwhile */
	bigger = realloc(st->newborns, (st->nr_newborns + 1) * sizeof(*bigger));
	if (!bigger)
		return; /* it stays stopped; everything else is about to fail too */
	st->newborns = bigger;
	bigger[st->nr_newborns++] = (struct newborn){.pid = (pid_t)child, .must_go = must_go};
}

void newborns_poll(struct stopper *st)
{
	size_t kept = 0;

	for (size_t i = 0; i < st->nr_newborns; i++) {
		struct newborn n = st->newborns[i];
		int status;
		pid_t got = n.must_go ? waitpid(n.pid, &status, __WALL | WNOHANG) : 0;

		if (got == n.pid && WIFSTOPPED(status))
			(void)ptrace(PTRACE_DETACH, n.pid, NULL, NULL);
		else if (got == 0)
			st->newborns[kept++] = n;
	}
	st->nr_newborns = kept;
}

static bool is_in_tree(const struct tree *tree, pid_t tid)
{
	for (size_t i = 0; i < tree->nr_tasks; i++)
		for (size_t k = 0; k < tree->tasks[i]->nr_threads; k++)
			if (tree->tasks[i]->threads[k].tid == tid)
				return true;
	return false;
}

/* Who was attached at birth but does not belong to the tree (not recursive, orphaned since, skipped),
 * or has not been reached because of a failure, runs on. */
void newborns_release_strangers(struct stopper *st)
{
	size_t kept = 0;

	for (size_t i = 0; i < st->nr_newborns; i++) {
		if (is_in_tree(st->tree, st->newborns[i].pid))
			continue;
		st->newborns[kept] = st->newborns[i];
		st->newborns[kept++].must_go = true;
	}
	st->nr_newborns = kept;
	while (st->nr_newborns) {
		newborns_poll(st);
		(void)sched_yield(); /* cannot fail */
	}
}

/* Let it run on to the stop we asked for. */
static void pass_on(pid_t tid, int sig)
{
	/* Any trap clears the pending interrupt, so it must be asked for again. Either call fails only
	 * when the thread has been killed. */
	(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	(void)ptrace(PTRACE_CONT, tid, NULL, (void *)(intptr_t)sig);
}

static enum wait_result note_stop(struct stopper *st, struct thread *th, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_STOP) {
		th->is_stopped_by_us = true;
		if (sig != SIGTRAP) {
			th->task->state = TASK_STOPPED;
			th->task->stop_signal = sig;
		}
		return WAIT_STOPPED;
	}
	if (event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_FORK ||
	    event == PTRACE_EVENT_CLONE)
		note_newborn(st, th->tid, event == PTRACE_EVENT_VFORK);
	pass_on(th->tid, event ? 0 : sig);
	return WAIT_RUNNING;
}

/* Our own child must stay for our caller to reap, so its end is looked at without taking it. */
static pid_t look(struct stopper *st, struct thread *th, int *ret_status)
{
	siginfo_t info = {.si_pid = 0};

	if (th->tid != th->task->pid || th->task->ppid != st->self_pid)
		return waitpid(th->tid, ret_status, __WALL | WNOHANG);
	if (waitid(P_PID, (id_t)th->tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0)
		return -1;
	if (!info.si_pid)
		return 0;
	if (info.si_code != CLD_EXITED && info.si_code != CLD_KILLED && info.si_code != CLD_DUMPED)
		return waitpid(th->tid, ret_status, __WALL | WNOHANG);
	*ret_status = 0; /* WIFEXITED */
	return th->tid;
}

enum wait_result thread_poll_stop(struct stopper *st, struct thread *th)
{
	int status;
	pid_t got = look(st, th, &status);

	if (got == 0 || (got < 0 && errno == EINTR))
		return WAIT_RUNNING;
	/* ECHILD: another thread of the process called exec and took its place */
	if (got < 0 || !WIFSTOPPED(status)) {
		th->is_seized = false;
		return WAIT_GONE;
	}
	return note_stop(st, th, status);
}

static bool is_vfork_parent(const char *syscall_text)
{
	long nr = strtol(syscall_text, NULL, 10);

#ifdef SYS_vfork
	if (nr == SYS_vfork)
		return true;
#endif
	return nr == SYS_clone || nr == SYS_clone3;
}

int fail_no_stop(const struct thread *th, unsigned timeout_ms, struct stasis_error *err)
{
	scoped_free char *wchan = NULL, *call = NULL;
	char name[48];
	size_t len;

	(void)snprintf(name, sizeof(name), "task/%d/syscall", th->tid);
	if (io_read_file_at(th->task->procfd, name, 4096, &call, &len, NULL) == 0 &&
	    is_vfork_parent(call))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "process %d waits for a child made by vfork to call exec or exit, "
				   "for more than %u ms; try again later",
				   th->tid, timeout_ms);
	(void)snprintf(name, sizeof(name), "task/%d/wchan", th->tid);
	(void)io_read_file_at(th->task->procfd, name, 4096, &wchan, &len, NULL); /* an extra */
	return stasis_fail(err, STASIS_E_TIMEOUT,
			   "process %d (%s) did not stop within %u ms: it sleeps in the kernel (%s)",
			   th->tid, th->task->comm, timeout_ms,
			   wchan && *wchan && strcmp(wchan, "0") ? wchan : "place unknown");
}
