/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes the parasite out of a process, from whatever stage of the way in. As on that way the engine may be
 * killed after every step: the mask goes first here, then the registers, and vector registers are put
 * back before code of ours that would do it is left.
 */
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* To a stop from which the kernel's own restart logic goes on: only PTRACE_EVENT_STOP is one. */
static int step_ask(struct inject *in)
{
	if (remote_interrupt(inject_leader(in), NULL) < 0)
		return -1;
	/* in another stop it has to leave that first, which runs nothing in user mode */
	return in->phase == INJECT_SERVING ? 0 : remote_go(inject_leader(in), PTRACE_CONT, NULL);
}

/* The mmap may have been made without our having seen its result (another process failed first). */
static int find_area(struct inject *in)
{
	struct arch_regs r;

	if (remote_get_regs(inject_leader(in), &r, NULL) < 0)
		return -1;
	if (arch_ip(&r) == in->pad + arch_pad().call || arch_syscall_nr(&r) != SYS_mmap ||
	    (arch_syscall_result(&r) < 0 && arch_syscall_result(&r) > -4096))
		return 0;
	return inject_note_area(in, arch_syscall_result(&r), NULL);
}

/* The parasite's descriptors; a serving one has closed the first itself. */
static int find_socks(struct inject *in)
{
	int64_t result;

	if (in->phase == INJECT_SERVING || !in->is_written)
		return 0;
	if (inject_read(in, in->at.data + offsetof(struct wire_area, socks), in->its_socks,
			sizeof(in->its_socks), NULL) < 0)
		return -1;
	if (in->its_socks[0] < 0)
		return 0;
	return inject_call_in_pad(in, SYS_close, (const uint64_t[6]){(uint64_t)in->its_socks[0]},
				  &result, NULL);
}

/* Close its other descriptor and unmap the area, from the pad. */
static int step_begin(struct inject *in)
{
	struct thread *leader = inject_leader(in);
	const struct iovec iov = {.iov_base = leader->xstate, .iov_len = leader->xstate_len};

	if (remote_wait(leader, REMOTE_EVENT, PTRACE_CONT, NULL) < 0 ||
	    (in->phase == INJECT_AT_PAD && find_area(in) < 0))
		return -1;
	if (!in->area)
		return 0;
	if (ptrace(PTRACE_SETREGSET, leader->tid, (void *)(uintptr_t)NT_X86_XSTATE, &iov) < 0 ||
	    find_socks(in) < 0)
		return -1;
	if (inject_to_pad(in, arch_pad().finish, SYS_close,
			  (const uint64_t[6]){(uint64_t)in->its_socks[1]}, NULL) < 0)
		return -1;
	return remote_go(leader, PTRACE_SYSCALL, NULL);
}

/* From the entry of a system call to its exit, or from there to the entry of the next. */
static int step_pass(struct inject *in)
{
	if (!in->area)
		return 0;
	if (remote_wait(inject_leader(in), REMOTE_SYSCALL, PTRACE_SYSCALL, NULL) < 0)
		return -1;
	return remote_go(inject_leader(in), PTRACE_SYSCALL, NULL);
}

/* At the entry of the munmap: through it, and to the stop we need behind it. */
static int step_unmap(struct inject *in)
{
	struct thread *leader = inject_leader(in);

	if (!in->area)
		return 0;
	if (remote_wait(leader, REMOTE_SYSCALL, PTRACE_SYSCALL, NULL) < 0 ||
	    remote_interrupt(leader, NULL) < 0)
		return -1;
	return remote_go(leader, PTRACE_CONT, NULL);
}

static int step_home(struct inject *in)
{
	struct thread *leader = inject_leader(in);

	if (in->area && remote_wait(leader, REMOTE_EVENT, PTRACE_CONT, NULL) < 0)
		return -1;
	if (remote_set_mask(leader, leader->sigmask, NULL) < 0)
		return -1;
	return remote_set_regs(leader, &leader->regs, NULL);
}

/* Each ends with the leader on its way; while it runs, the others take the same step. */
static int (*const steps[])(struct inject *) = {
	step_ask, step_begin, step_pass, step_pass, step_unmap, step_home,
};

enum { NR_STEPS = sizeof(steps) / sizeof(steps[0]) };

/* Is there a leader to be led home? */
static bool is_away(const struct inject *in)
{
	return in->phase != INJECT_NOTHING && in->phase != INJECT_LOST && inject_leader(in)->is_seized;
}

/* A parasite that has not been asked anything may not even have closed the engine's end. */
static void wait_until_served(struct inject *in)
{
	struct wire_request nothing = {.op = 0};

	if (in->phase == INJECT_SERVING && in->seq == 0)
		(void)inject_request(in, &nothing, -1, NULL, NULL); /* refused, but answered */
}

static void send_held_signals(struct inject *in)
{
	for (int sig = 1; sig <= 64; sig++)
		if (in->held_signals >> (sig - 1) & 1)
			(void)syscall(SYS_tgkill, in->t->pid, inject_leader(in)->tid, sig);
}

static void finish(struct inject *in)
{
	struct task *t = in->t;

	if (is_away(in) && in->is_stuck)
		s_warn(in->s, "process %d: the parasite could not be taken out", t->pid);
	else if (is_away(in) || in->phase == INJECT_NOTHING)
		place_wipe(in);
	if (is_away(in))
		send_held_signals(in);
	seccomp_resume(in);
	if (in->sock >= 0)
		(void)close(in->sock);
	free(in->threads);
	free(in->policies);
	free(in->writing);
	free(in);
	t->inject = NULL;
}

void inject_close(struct task *const *tasks, size_t nr)
{
	int saved = errno;

	for (size_t i = 0; i < nr; i++) {
		if (!tasks[i]->inject)
			continue;
		inject_drop(tasks[i]->inject);
		threads_bring_home(tasks[i]->inject);
		wait_until_served(tasks[i]->inject);
	}
	for (size_t step = 0; step < NR_STEPS; step++)
		for (size_t i = 0; i < nr; i++) {
			struct inject *in = tasks[i]->inject;

			if (in && is_away(in) && !in->is_stuck)
				in->is_stuck = steps[step](in) < 0;
		}
	for (size_t i = 0; i < nr; i++)
		if (tasks[i]->inject)
			finish(tasks[i]->inject);
	errno = saved;
}
