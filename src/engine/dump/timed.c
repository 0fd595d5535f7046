/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much of a relative time-out is left. The kernel keeps the end time of an interrupted
 * nanosleep(2), clock_nanosleep(2), poll(2) or futex(2) wait in the task's restart block, which no
 * interface shows; restart needs it, since a new task has no restart block. It is computed from the
 * call's arguments and the time the thread had slept (tree/stop.c measures that), or read from the
 * program's own `rem` argument, which the kernel fills at the interruption.
 */
#include "dump/dump_priv.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	ERESTART_RESTARTBLOCK_NR = 516, /* include/linux/errno.h: never seen by programs */
	NS_PER_S = 1000000000,
	NS_PER_MS = 1000000,
	CODE_BYTES = 32, /* enough to hold the load of the number in every libc */
	MAX_S = 1 << 30,
};

/* Number of the call that is really going on. */
static long real_nr(struct thread *th)
{
	long nr = arch_syscall_nr(&th->regs);
	uint8_t code[CODE_BYTES];

	if (nr != SYS_restart_syscall)
		return nr;
	if (th->timed.is_valid && th->timed.behind_restart >= 0)
		return th->timed.behind_restart;
	if (task_read_mem(th->task, th->regs.u.rip - sizeof(code), code, sizeof(code), NULL) < 0)
		return -1;
	return arch_restarted_syscall(code, sizeof(code));
}

static bool read_timespec(struct thread *th, tracee_addr at, uint64_t *ret_ns)
{
	struct timespec ts;

	if (!at || task_read_mem(th->task, at, &ts, sizeof(ts), NULL) < 0)
		return false;
	if (ts.tv_sec < 0 || ts.tv_sec > MAX_S || ts.tv_nsec < 0 || ts.tv_nsec >= NS_PER_S)
		return false;
	*ret_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	return true;
}

static uint64_t minus_elapsed(const struct thread *th, uint64_t total_ns)
{
	uint64_t gone = th->timed.is_valid ? th->timed.elapsed_ns : 0;

	return gone < total_ns ? total_ns - gone : 0;
}

/* nanosleep-like: the kernel wrote what is left to `rem` when the program gave one. */
static bool sleep_left(struct thread *th, unsigned req_arg, unsigned rem_arg, uint64_t *ret_ns)
{
	uint64_t total;

	if (read_timespec(th, arch_syscall_arg(&th->regs, rem_arg), ret_ns))
		return true;
	if (!read_timespec(th, arch_syscall_arg(&th->regs, req_arg), &total))
		return false;
	*ret_ns = minus_elapsed(th, total);
	return true;
}

/* Without a time-out, or with an absolute one, the same call once more is the same wait. */
static bool is_repeatable(const struct thread *th, long nr)
{
	if (nr == SYS_poll)
		return (int)arch_syscall_arg(&th->regs, 2) < 0;
	return nr == SYS_futex &&
	       (arch_syscall_arg(&th->regs, 1) & FUTEX_CMD_MASK) != FUTEX_WAIT;
}

static bool time_left(struct thread *th, long nr, uint64_t *ret_ns)
{
	uint64_t total;

	switch (nr) {
	case SYS_nanosleep:
		return sleep_left(th, 0, 1, ret_ns);
	case SYS_clock_nanosleep:
		return sleep_left(th, 2, 3, ret_ns);
	case SYS_poll:
		*ret_ns = minus_elapsed(th, (uint64_t)(int)arch_syscall_arg(&th->regs, 2) *
						    NS_PER_MS);
		return true;
	case SYS_futex:
		if (!read_timespec(th, arch_syscall_arg(&th->regs, 3), &total))
			return false;
		*ret_ns = minus_elapsed(th, total);
		return true;
	default:
		return false;
	}
}

void dump_timed_call(struct thread *th, Stasis__Thread *ret)
{
	uint64_t left;
	long nr;

	if (arch_syscall_nr(&th->regs) < 0 ||
	    arch_syscall_result(&th->regs) != -ERESTART_RESTARTBLOCK_NR)
		return;
	nr = real_nr(th);
	if (nr < 0)
		return;
	if (is_repeatable(th, nr)) {
		ret->timed_nr = (uint32_t)nr;
	} else if (time_left(th, nr, &left)) {
		ret->timed_nr = (uint32_t)nr;
		ret->has_remaining = true;
		ret->remaining_ns = left;
	}
}
