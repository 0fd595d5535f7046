/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that was stopped by job control when its engine was killed stands still in the parasite:
 * the way out is for it to go when it is continued. To checkpoint it again before that, its threads
 * are led along that way from one system call to the next, as far as the end of the pad, whose last
 * loads are done from here: not one instruction of the program is executed.
 */
#include "arch/cure.h"
#include "inject/inject_priv.h"

#include <string.h>
#include <sys/ptrace.h>

enum { MAX_CALLS = 20000 }; /* the leader waits for its threads in steps of 1 ms */

static bool is_pad(struct task *t, tracee_addr start)
{
	uint64_t magic;

	return task_read_mem(t, start, &magic, sizeof(magic), NULL) == 0 &&
	       memcmp(&magic, arch_pad().code, sizeof(magic)) == 0;
}

/* Put in what the last instructions of a pad would load. */
static bool finish(struct task *t, struct thread *th, tracee_addr pad, struct arch_regs *r)
{
	struct arch_cure cure;

	if (task_read_mem(t, pad + arch_pad().cure, &cure, sizeof(cure), NULL) < 0)
		return false;
	arch_cure_apply(&cure, r);
	return remote_set_regs(th, r, NULL) == 0;
}

/* At a system call stop: is it the end of the last call of a pad? */
static bool finish_at_home(struct task *t, struct thread *th, struct arch_regs *r)
{
	const tracee_addr pad = arch_ip(r) - arch_pad().home;

	/* at the entry of the call the instruction pointer is the same, but there is no result yet */
	return arch_syscall_result(r) == 0 && is_pad(t, pad) && finish(t, th, pad, r);
}

/* At a stop outside of calls: the last one is behind it when an engine was killed that led it just there.
 * Some of its registers may have been loaded already. */
static bool finish_behind_home(struct task *t, struct thread *th)
{
	struct arch_regs r;

	if (remote_get_regs(th, &r, NULL) < 0)
		return false;
	for (uint64_t at = arch_pad().home; at < arch_pad().area; at++) {
		const tracee_addr pad = arch_ip(&r) - at;

		if (pad % sizeof(uint64_t) == 0 && is_pad(t, pad))
			return finish(t, th, pad, &r);
	}
	return false;
}

/* From a system call stop to the stop from which it can be detached. */
static int to_event_stop(struct thread *th)
{
	if (remote_interrupt(th, NULL) < 0 || remote_go(th, PTRACE_CONT, NULL) < 0)
		return -1;
	return remote_wait(th, REMOTE_EVENT, PTRACE_CONT, NULL);
}

static void lead_home(struct task *t, struct thread *th)
{
	if (finish_behind_home(t, th))
		return;
	for (int i = 0; i < MAX_CALLS; i++) {
		struct arch_regs r;

		if (remote_go(th, PTRACE_SYSCALL, NULL) < 0 ||
		    remote_wait(th, REMOTE_SYSCALL, PTRACE_SYSCALL, NULL) < 0 ||
		    remote_get_regs(th, &r, NULL) < 0)
			return;
		if (finish_at_home(t, th, &r))
			break;
	}
	(void)to_event_stop(th); /* it has been killed */
}

void inject_help_leave(struct task *t)
{
	if (t->state != TASK_STOPPED)
		return;
	/* the leader last: it waits for the others */
	for (size_t i = t->nr_threads; i-- > 0;)
		if (inject_is_thread_leaving(t, &t->threads[i]))
			lead_home(t, &t->threads[i]);
}
