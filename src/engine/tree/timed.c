/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a thread has been sleeping in a call with a relative time-out. The kernel tells nobody; but
 * se.exec_start in /proc/TID/sched is the run queue clock when the thread last ran, which is when it
 * went to sleep, and our own se.exec_start gives the same clock now. Must be read before the thread
 * is disturbed: waking it changes the value. Where the file is missing (CONFIG_SCHED_DEBUG) nothing
 * is known, and restart starts the time-out afresh.
 */
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <linux/futex.h>
#include <sched.h>
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

/* Which argument says for how long; -1: the call is none of those with a relative time-out. */
static int timeout_arg(const struct call *c, bool *ret_is_ms)
{
	*ret_is_ms = false;
	switch (c->nr) {
	case SYS_nanosleep:
		return 0;
	case SYS_clock_nanosleep:
		return c->arg[1] & TIMER_ABSTIME ? -1 : 2;
#ifdef SYS_poll
	case SYS_poll:
		*ret_is_ms = true;
		return 2;
#endif
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
		*ret_is_ms = true;
		return 3;
	case SYS_futex: /* FUTEX_WAIT_BITSET and the PI kinds take an absolute time */
		return (c->arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? 3 : -1;
	case SYS_semtimedop:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
		return 3;
	case SYS_rt_sigtimedwait:
		return 2;
	case SYS_io_getevents:
	case SYS_io_pgetevents:
		return 4;
	default:
		return -1;
	}
}

static bool is_timed(const struct call *c)
{
	bool is_ms;
	int arg = timeout_arg(c, &is_ms);

	if (c->nr == SYS_restart_syscall) /* of a nanosleep, poll or futex */
		return true;
	return arg >= 0 && (is_ms ? (int)c->arg[arg] > 0 : c->arg[arg] != 0);
}

/* The whole time-out of a call that a thread is stopped in. */
static bool read_timeout(const struct thread *th, const struct call *c, uint64_t *ret_ns)
{
	struct timespec ts;
	bool is_ms;
	int arg = timeout_arg(c, &is_ms);

	if (arg < 0)
		return false;
	if (is_ms) {
		*ret_ns = (c->arg[arg] & 0x7fffffff) * NS_PER_MS;
		return true;
	}
	if (task_read_mem(th->task, c->arg[arg], &ts, sizeof(ts), NULL) < 0 || ts.tv_sec < 0)
		return false;
	*ret_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	return true;
}

struct sched_info {
	int64_t exec_start_ns;
	uint64_t nr_switches; /* voluntary: going to sleep */
};

static const char *find_value(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	p = p ? strchr(p, ':') : NULL;
	return p ? p + 1 : NULL;
}

/* "se.exec_start   :   1716098.634581" in ms, "nr_voluntary_switches  :   17" */
static bool read_sched(int dirfd, const char *name, struct sched_info *ret)
{
	const char *start, *switches;
	scoped_free char *text = NULL;
	size_t len;
	char *end;

	if (io_read_file_at(dirfd, name, SCHED_FILE_BYTES, &text, &len, NULL) < 0)
		return false;
	start = find_value(text, "se.exec_start");
	switches = find_value(text, "nr_voluntary_switches");
	if (!start || !switches)
		return false;
	ret->exec_start_ns = strtoll(start, &end, 10) * NS_PER_MS;
	if (*end != '.')
		return false;
	ret->exec_start_ns += strtol(end + 1, NULL, 10); /* always six digits */
	ret->nr_switches = strtoull(switches, NULL, 10);
	return true;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts); /* cannot fail */
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Read the clock of the processor we run on; the shortest of some readings is taken, for one that was
 * interrupted says little. */
static bool read_clock(int64_t *ret_offset_ns)
{
	enum { MAX_TRIES = 20, GOOD_WINDOW_NS = 200000 };
	int64_t best = INT64_MAX;

	for (int i = 0; i < MAX_TRIES && best > GOOD_WINDOW_NS; i++) {
		struct sched_info own;
		struct timespec unused;
		int64_t before = now_ns(), after;

		/* asking for our processor time makes the scheduler bring exec_start up to date */
		(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &unused);
		if (!read_sched(-1, "/proc/thread-self/sched", &own))
			return false;
		after = now_ns();
		if (after - before >= best)
			continue;
		best = after - before;
		*ret_offset_ns = own.exec_start_ns - after; /* rather too long a rest */
	}
	return true;
}

/*
 * What the run queue clock of a processor is ahead of ours. Each processor has its own, and where the
 * time stamp counters are not in step (virtual machines) they differ by a quarter of a second and
 * more: so it is read there.
 */
static bool learn_clock(struct stopper *st, int cpu)
{
	cpu_set_t there, before;
	struct rq_clock *c;

	if (cpu < 0 || cpu >= TREE_MAX_CPUS)
		return false;
	c = &st->rq_clocks[cpu];
	if (c->is_known || c->is_unknowable)
		return c->is_known;
	CPU_ZERO(&there);
	CPU_SET((size_t)cpu, &there);
	c->is_unknowable = true;
	if (sched_getaffinity(0, sizeof(before), &before) < 0 ||
	    sched_setaffinity(0, sizeof(there), &there) < 0)
		return false;
	c->is_known = read_clock(&c->offset_ns);
	(void)sched_setaffinity(0, sizeof(before), &before); /* it was ours */
	return c->is_known;
}

/* The processor a sleeping thread ran on last. */
static int last_cpu(struct task *t, pid_t tid)
{
	struct proc_stat st;
	char name[48];

	(void)snprintf(name, sizeof(name), "task/%d/stat", tid);
	return proc_read_stat(t->procfd, name, &st, NULL) < 0 ? -1 : st.processor;
}

/* nanosleep(request, rest) or clock_nanosleep(clock, flags, request, rest); -1: looks like neither. */
static long which_nanosleep(const struct call *c)
{
	enum { LOWEST_ADDRESS = 4096 };
	bool is_address[3];

	for (unsigned i = 0; i < 3; i++)
		is_address[i] = c->arg[i] >= LOWEST_ADDRESS;
	if (!is_address[0] && is_address[2])
		return SYS_clock_nanosleep;
	return is_address[0] && (is_address[1] || !c->arg[1]) ? SYS_nanosleep : -1;
}

/*
 * restart_syscall() continues one of three sleeps; where the thread sleeps in the kernel
 * (/proc/TID/wchan) tells which. A nanosleep shows under its name or, after a tail call, as the entry
 * code's function.
 */
static long call_behind_restart(struct task *t, pid_t tid, const struct call *call)
{
	scoped_free char *wchan = NULL;
	char name[48];
	size_t len;

	(void)snprintf(name, sizeof(name), "task/%d/wchan", tid);
	if (call->nr != SYS_restart_syscall ||
	    io_read_file_at(t->procfd, name, SMALL_FILE_BYTES, &wchan, &len, NULL) < 0)
		return -1;
	if (strstr(wchan, "futex"))
		return SYS_futex;
#ifdef SYS_poll
	if (strstr(wchan, "poll"))
		return SYS_poll;
#endif
	return strstr(wchan, "nanosleep") || strstr(wchan, "syscall") ? which_nanosleep(call) : -1;
}

void timed_call_measure(struct stopper *st, struct task *t, pid_t tid, struct timed_call *ret)
{
	scoped_free char *text = NULL;
	struct sched_info info;
	struct call call;
	int64_t elapsed;
	char name[48];
	size_t len;
	int cpu;

	*ret = (struct timed_call){.is_valid = false};
	(void)snprintf(name, sizeof(name), "task/%d/syscall", tid);
	if (io_read_file_at(t->procfd, name, SMALL_FILE_BYTES, &text, &len, NULL) < 0)
		return;
	if (!parse_call(text, &call) || !is_timed(&call))
		return;
	(void)snprintf(name, sizeof(name), "task/%d/sched", tid);
	cpu = last_cpu(t, tid);
	if (!read_sched(t->procfd, name, &info) || !learn_clock(st, cpu))
		return;
	elapsed = now_ns() - (info.exec_start_ns - st->rq_clocks[cpu].offset_ns);
	ret->is_valid = true;
	ret->elapsed_ns = elapsed > 0 ? (uint64_t)elapsed : 0;
	ret->nr_switches = info.nr_switches;
	ret->behind_restart = call_behind_restart(t, tid, &call);
	ret->nr = call.nr;
	memcpy(ret->args, call.arg, sizeof(ret->args));
}

static bool is_same_call(const struct thread *th)
{
	if (arch_syscall_nr(&th->regs) != th->timed.nr)
		return false;
	for (unsigned i = 0; i < NR_ARGS; i++)
		if (arch_syscall_arg(&th->regs, i) != th->timed.args[i])
			return false;
	return true;
}

/*
 * The call that was measured may have ended before the thread stopped, and the thread may be in
 * another one like it. Then it has gone to sleep once more than for the ptrace stop; or not even that
 * when the stop came first, but then the time-out had nearly run out when it was measured.
 */
static bool is_still_true(const struct thread *th)
{
	enum { MARGIN_NS = 5 * NS_PER_MS };
	struct call call = {.nr = th->timed.nr};
	struct sched_info info;
	uint64_t total_ns;
	char name[48];

	memcpy(call.arg, th->timed.args, sizeof(call.arg));
	(void)snprintf(name, sizeof(name), "task/%d/sched", th->tid);
	if (!is_same_call(th) || !read_sched(th->task->procfd, name, &info) ||
	    info.nr_switches != th->timed.nr_switches + 1)
		return false;
	return th->timed.nr == SYS_restart_syscall ||
	       (read_timeout(th, &call, &total_ns) &&
		th->timed.elapsed_ns + MARGIN_NS < total_ns);
}

void timed_call_confirm(struct thread *th)
{
	th->timed.is_valid = th->timed.is_valid && is_still_true(th);
}
