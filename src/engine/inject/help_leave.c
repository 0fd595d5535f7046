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

/* At the end of a pad? Then put the last registers in. */
static bool finish_at_home(struct task *t, struct thread *th, struct arch_regs *r)
{
	const struct arch_pad pad = arch_pad();
	const tracee_addr start = arch_ip(r) - pad.home;
	struct arch_cure cure;
	uint64_t magic;

	/* at the entry of the call the instruction pointer is the same, but there is no result yet */
	if (arch_syscall_result(r) != 0)
		return false;
	if (task_read_mem(t, start, &magic, sizeof(magic), NULL) < 0 ||
	    memcmp(&magic, pad.code, sizeof(magic)) != 0 ||
	    task_read_mem(t, start + pad.cure, &cure, sizeof(cure), NULL) < 0)
		return false;
	arch_cure_apply(&cure, r);
	return remote_set_regs(th, r, NULL) == 0;
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
