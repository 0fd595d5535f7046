/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving a thread from one ptrace stop to the next. Single steps and breakpoints are not used: both
 * end in a SIGTRAP, which kills a process whose tracer dies at that moment. A stop at a system call
 * marked by PTRACE_O_TRACESYSGOOD and the stop of PTRACE_INTERRUPT leave nothing behind.
 */
#include "inject/inject_priv.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum {
	SYSGOOD = 0x80,
	SIGSET_BYTES = 8,
	NR_YIELDS = 300,
	POLL_SLEEP_NS = 50000,
	MAX_WAIT_S = 20,
};

int remote_set_regs(struct thread *th, const struct arch_regs *r, struct stasis_error *err)
{
	struct user_regs_struct u = r->u;

	if (ptrace(PTRACE_SETREGS, th->tid, NULL, &u) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set registers of thread %d", th->tid);
	return 0;
}

int remote_get_regs(struct thread *th, struct arch_regs *r, struct stasis_error *err)
{
	if (ptrace(PTRACE_GETREGS, th->tid, NULL, &r->u) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read registers of thread %d", th->tid);
	return 0;
}

int remote_set_mask(struct thread *th, uint64_t mask, struct stasis_error *err)
{
	if (ptrace(PTRACE_SETSIGMASK, th->tid, (void *)(uintptr_t)SIGSET_BYTES, &mask) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set the signal mask of thread %d",
					 th->tid);
	return 0;
}

int remote_interrupt(struct thread *th, struct stasis_error *err)
{
	if (ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "stop thread %d", th->tid);
	return 0;
}

int remote_go(struct thread *th, int how, struct stasis_error *err)
{
	if (ptrace((enum __ptrace_request)how, th->tid, NULL, NULL) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "start thread %d", th->tid);
	return 0;
}

/* Signals that code brings upon itself; anybody can send them too, and then si_code is not positive. */
static bool is_fault(pid_t tid, int sig)
{
	siginfo_t info;

	if (sig != SIGSEGV && sig != SIGBUS && sig != SIGILL && sig != SIGFPE)
		return false;
	return ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) == 0 && info.si_code > 0;
}

static int poll_stop(pid_t tid, int *ret_status, struct stasis_error *err)
{
	const struct timespec pause = {.tv_nsec = POLL_SLEEP_NS};
	struct timespec start, now;

	(void)clock_gettime(CLOCK_MONOTONIC, &start); /* cannot fail */
	for (unsigned round = 0;; round++) {
		pid_t got = waitpid(tid, ret_status, __WALL | WNOHANG);

		if (got == tid)
			return 0;
		if (got < 0 && errno != EINTR)
			return stasis_fail(err, STASIS_E_GONE, "thread %d has ended", tid);
		if (round < NR_YIELDS) {
			(void)sched_yield(); /* cannot fail */
			continue;
		}
		(void)nanosleep(&pause, NULL); /* too short is fine */
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > MAX_WAIT_S)
			return stasis_fail(err, STASIS_E_TIMEOUT, "thread %d does not stop", tid);
	}
}

/*
 * Wait until the thread reports the wanted stop; on the way it is made to go on by `how`. SIGSTOP is
 * the one signal that comes through while all are blocked: it is let through, and what it does (the
 * whole process counts as stopped) lasts beyond us.
 */
int remote_wait(struct thread *th, enum remote_stop want, int how, struct stasis_error *err)
{
	for (;;) {
		int status, sig;

		if (poll_stop(th->tid, &status, err) < 0)
			return -1;
		if (!WIFSTOPPED(status)) {
			th->is_seized = th->is_stopped_by_us = false;
			return stasis_fail(err, STASIS_E_GONE, "thread %d has ended", th->tid);
		}
		sig = WSTOPSIG(status);
		if (status >> 16 == PTRACE_EVENT_STOP) {
			if (want == REMOTE_EVENT)
				return 0;
			sig = 0;
		} else if (sig == (SIGTRAP | SYSGOOD) || (sig == SIGTRAP && !(status >> 16))) {
			if (want == REMOTE_SYSCALL)
				return 0;
			sig = 0;
		} else if (is_fault(th->tid, sig)) {
			if (want == REMOTE_FAULT)
				return 0;
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "code run in thread %d failed by signal %d", th->tid, sig);
		}
		if (want == REMOTE_EVENT && remote_interrupt(th, err) < 0)
			return -1;
		if (ptrace((enum __ptrace_request)how, th->tid, NULL, (void *)(intptr_t)sig) < 0 &&
		    errno != ESRCH)
			return stasis_fail_errno(err, STASIS_E_IO, "start thread %d", th->tid);
	}
}

static int begin_call(const struct remote_call *c, tracee_addr gadget, struct stasis_error *err)
{
	struct thread th = {.tid = c->tid, .is_seized = true};
	struct arch_regs r;

	if (remote_get_regs(&th, &r, err) < 0)
		return -1;
	arch_set_call(&r, gadget, c->nr, c->args);
	return remote_set_regs(&th, &r, err) < 0 ? -1 : remote_go(&th, PTRACE_SYSCALL, err);
}

/* From the entry on. */
static int pass_call(const struct remote_call *c, struct stasis_error *err)
{
	struct thread th = {.tid = c->tid, .is_seized = true};

	if (remote_wait(&th, REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0)
		return -1;
	return remote_go(&th, PTRACE_SYSCALL, err);
}

static int end_call(struct remote_call *c, struct stasis_error *err)
{
	struct thread th = {.tid = c->tid, .is_seized = true};
	struct arch_regs r;

	if (remote_wait(&th, REMOTE_SYSCALL, PTRACE_SYSCALL, err) < 0 || remote_get_regs(&th, &r, err) < 0)
		return -1;
	c->result = arch_syscall_result(&r);
	return 0;
}

int remote_syscalls_at(struct remote_call *calls, size_t nr, tracee_addr gadget, struct stasis_error *err)
{
	for (size_t i = 0; i < nr; i++)
		if (begin_call(&calls[i], gadget, err) < 0)
			return -1;
	for (size_t i = 0; i < nr; i++)
		if (pass_call(&calls[i], err) < 0)
			return -1;
	for (size_t i = 0; i < nr; i++)
		if (end_call(&calls[i], err) < 0)
			return -1;
	return 0;
}
