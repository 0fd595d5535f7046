/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a thread has been sleeping in a call with a relative time-out. The kernel tells nobody; but
 * se.exec_start in /proc/TID/sched is the run queue clock when the thread last ran, which is when it
 * went to sleep, and our own se.exec_start gives the same clock now. Must be read before the thread
 * is disturbed: waking it changes the value. Where the file is missing (CONFIG_SCHED_DEBUG) nothing
 * is known, and restart starts the time-out afresh.
 */
#include "lib/io.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	NS_PER_S = 1000000000,
	NS_PER_MS = 1000000,
	SMALL_FILE_BYTES = 512,
	SCHED_FILE_BYTES = 65536,
	NR_ARGS = 6,
};

struct call {
	long nr;
	uint64_t arg[NR_ARGS];
};

/* "NR ARG0 ... ARG5 SP PC", or "running", or "-1 SP PC" outside of a call. */
static bool parse_call(const char *text, struct call *ret)
{
	char *end;

	ret->nr = strtol(text, &end, 10);
	if (end == text || ret->nr < 0)
		return false;
	for (size_t i = 0; i < NR_ARGS; i++) {
		text = end;
		ret->arg[i] = strtoull(text, &end, 16);
		if (end == text)
			return false;
	}
	return true;
}

static bool is_timed(const struct call *c)
{
	switch (c->nr) {
	case SYS_nanosleep:
	case SYS_restart_syscall: /* of a nanosleep, poll or futex */
		return true;
	case SYS_clock_nanosleep:
		return !(c->arg[1] & TIMER_ABSTIME);
#ifdef SYS_poll
	case SYS_poll:
		return (int)c->arg[2] > 0;
#endif
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
		return (int)c->arg[3] > 0;
	case SYS_futex: /* FUTEX_WAIT_BITSET and the PI kinds take an absolute time */
		return (c->arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT && c->arg[3];
	case SYS_semtimedop:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
		return c->arg[3] != 0;
	case SYS_rt_sigtimedwait:
		return c->arg[2] != 0;
	case SYS_io_getevents:
	case SYS_io_pgetevents:
		return c->arg[4] != 0;
	default:
		return false;
	}
}

/* "se.exec_start   :   1716098.634581", in ms */
static bool read_exec_start(int dirfd, const char *name, int64_t *ret_ns)
{
	scoped_free char *text = NULL;
	char *p, *end;
	size_t len;
	int64_t ms;
	long frac;

	if (io_read_file_at(dirfd, name, SCHED_FILE_BYTES, &text, &len, NULL) < 0)
		return false;
	p = strstr(text, "se.exec_start");
	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return false;
	ms = strtoll(p + 1, &end, 10);
	if (*end != '.')
		return false;
	frac = strtol(end + 1, NULL, 10); /* always six digits */
	*ret_ns = ms * NS_PER_MS + frac;
	return true;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts); /* cannot fail */
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool learn_clock(struct stopper *st)
{
	struct timespec unused;
	int64_t before, started;

	if (st->is_clock_known)
		return true;
	/* asking for our own processor time makes the scheduler bring exec_start up to date */
	before = now_ns();
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &unused);
	if (!read_exec_start(-1, "/proc/thread-self/sched", &started))
		return false;
	st->rq_clock_offset_ns = started - before;
	st->is_clock_known = true;
	return true;
}

void timed_call_measure(struct stopper *st, struct task *t, pid_t tid, struct timed_call *ret)
{
	scoped_free char *text = NULL;
	struct call call;
	int64_t slept_at;
	char name[48];
	size_t len;

	*ret = (struct timed_call){.is_valid = false};
	(void)snprintf(name, sizeof(name), "task/%d/syscall", tid);
	if (io_read_file_at(t->procfd, name, SMALL_FILE_BYTES, &text, &len, NULL) < 0)
		return;
	if (!parse_call(text, &call) || !is_timed(&call))
		return;
	(void)snprintf(name, sizeof(name), "task/%d/sched", tid);
	if (!read_exec_start(t->procfd, name, &slept_at) || !learn_clock(st))
		return;
	slept_at -= st->rq_clock_offset_ns;
	ret->is_valid = true;
	ret->elapsed_ns = now_ns() > slept_at ? (uint64_t)(now_ns() - slept_at) : 0;
}
