/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conditions under which code of ours cannot run in a process, and the one that can be lifted:
 * seccomp. Its filters are suspended (root only) while we are inside. They are back when the engine
 * is killed: dump/seccomp_run.c knows which calls we make.
 */
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <sys/ptrace.h>

#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG /* Linux 6.4 */
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

enum {
	SECCOMP_STRICT = 1,
	TRACE_OPTIONS = PTRACE_O_TRACESYSGOOD,
};

struct dispatch_config { /* struct ptrace_sud_config */
	uint64_t mode, selector, offset, len;
};

int inject_check_thread(struct thread *th, bool may_shadow, struct stasis_error *err)
{
	struct dispatch_config sud = {0};

	if (!arch_is_native(&th->regs))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "thread %d runs 32-bit code, which is not supported; use a 64-bit "
				   "program",
				   th->tid);
	if (may_shadow && arch_has_shadow_stack(th->tid))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "thread %d has a shadow stack, which is not supported; start the "
				   "program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
				   th->tid);
	if (ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, th->tid,
		   (void *)sizeof(sud), &sud) == 0 &&
	    sud.mode)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "thread %d uses syscall user dispatch, which is not supported; turn "
				   "it off before the checkpoint (prctl PR_SET_SYSCALL_USER_DISPATCH)",
				   th->tid);
	th->is_fit = true;
	return 0;
}

static int check_seccomp(const struct thread *th, struct stasis_error *err)
{
	if (th->status.seccomp == SECCOMP_STRICT)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "thread %d is in strict seccomp mode; only root can checkpoint it",
				   th->tid);
	if (th->status.seccomp && !thread_has_our_filters(th))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "thread %d is confined by seccomp filters; only root can "
				   "checkpoint it",
				   th->tid);
	return 0;
}

int inject_check(struct inject *in, struct stasis_error *err)
{
	const bool may_shadow = in->s->caps.may_shadow_stack;

	for (size_t i = 0; i < in->t->nr_threads; i++) {
		struct thread *th = &in->t->threads[i];

		if (!th->is_fit && inject_check_thread(th, may_shadow, err) < 0)
			return -1;
		if (!in->has_suspended_seccomp && check_seccomp(th, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_confined(const struct task *t)
{
	for (size_t i = 0; i < t->nr_threads; i++)
		if (t->threads[i].status.seccomp)
			return true;
	return false;
}

/* Without those that attach children at birth: it makes none. */
static void set_options(struct inject *in, unsigned extra)
{
	for (size_t i = 0; i < in->t->nr_threads; i++)
		(void)ptrace(PTRACE_SETOPTIONS, in->t->threads[i].tid, NULL,
			     (void *)(uintptr_t)(TRACE_OPTIONS | extra)); /* it has ended */
}

int seccomp_suspend(struct inject *in, struct stasis_error *err)
{
	const pid_t leader = in->t->threads[0].tid;

	if (!is_confined(in->t))
		return 0;
	if (ptrace(PTRACE_SETOPTIONS, leader, NULL,
		   (void *)(uintptr_t)(TRACE_OPTIONS | PTRACE_O_SUSPEND_SECCOMP)) == 0) {
		set_options(in, PTRACE_O_SUSPEND_SECCOMP);
		in->has_suspended_seccomp = true;
		return 0;
	}
	if (ptrace(PTRACE_SETOPTIONS, leader, NULL, (void *)(uintptr_t)TRACE_OPTIONS) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set trace options of %d", leader);
	set_options(in, 0);
	return 0;
}

void seccomp_resume(struct inject *in)
{
	if (in->has_suspended_seccomp)
		set_options(in, 0);
	in->has_suspended_seccomp = false;
}
