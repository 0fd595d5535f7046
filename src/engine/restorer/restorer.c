/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process-wide half of the restorer: gives a process the memory, signal handlers, threads and
 * timers of the program. Runs without libc in memory of its own (the zone), since everything else is
 * unmapped under it. It ends in waiting for the builder, which puts in the registers and removes the
 * zone.
 */
#include "memory/vma_flags.h"
#include "restorer/restorer_priv.h"

#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/time.h>
#include <linux/futex.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <linux/mman.h>

enum {
	PRCTL_TIMER_CREATE_RESTORE_IDS = 77, /* Linux 6.15 */
	PRCTL_SET_MEMORY_MERGE = 67,	     /* Linux 6.4 */
	NR_MSEAL = 462,			     /* Linux 6.10 */
	MAX_TIMER_TRIES = 1 << 20,
	NS_PER_S = 1000000000,
	US_PER_S = 1000000,
	INFINITE = 0x7fffffff,
};

void restorer_fail(const struct restorer_args *a, enum restorer_step step, long result,
		   uint64_t info)
{
	struct restorer_control *c = (struct restorer_control *)a->control;
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(&c->failed, &none, 1, 0, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST)) {
		c->failure_errno = (int32_t)-result;
		c->failure_info = info;
		c->failure_tid = (int32_t)SYS0(gettid);
		__atomic_store_n(&c->failure_step, step, __ATOMIC_SEQ_CST);
	}
	SYS3(futex, &c->ready, FUTEX_WAKE, INFINITE);
	for (;;)
		SYS1(exit_group, 1);
}

/* The kernel's mappings leave first: their old place may be where the program's memory goes. */
static void park_specials(const struct restorer_args *a)
{
	const struct restorer_special *s = (const struct restorer_special *)a->specials;

	for (uint64_t i = 0; i < a->nr_specials; i++) {
		long r = SYS5(mremap, s[i].from, s[i].len, s[i].len, MREMAP_MAYMOVE | MREMAP_FIXED,
			      s[i].park);

		if (r < 0)
			restorer_fail(a, RESTORER_STEP_PARK_VDSO, r, s[i].from);
	}
}

static void place_specials(const struct restorer_args *a)
{
	const struct restorer_special *s = (const struct restorer_special *)a->specials;

	for (uint64_t i = 0; i < a->nr_specials; i++) {
		long r = SYS5(mremap, s[i].park, s[i].len, s[i].len, MREMAP_MAYMOVE | MREMAP_FIXED,
			      s[i].to);

		if (r < 0)
			restorer_fail(a, RESTORER_STEP_PLACE_VDSO, r, s[i].to);
	}
}

static void unmap_gap(const struct restorer_args *a, uint64_t start, uint64_t end)
{
	long r;

	if (start >= end)
		return;
	r = SYS2(munmap, start, end - start);
	if (r < 0)
		restorer_fail(a, RESTORER_STEP_UNMAP, r, start);
}

static void unmap_all_but_ranges(const struct restorer_args *a)
{
	const struct restorer_range *keep = (const struct restorer_range *)a->ranges;
	uint64_t at = 0;

	for (uint64_t i = 0; i < a->nr_ranges; i++) {
		unmap_gap(a, at, keep[i].start);
		at = keep[i].end;
	}
	unmap_gap(a, at, a->task_size);
}

static void move_one(const struct restorer_args *a, const struct restorer_move *m)
{
	long r = SYS5(mremap, m->from, m->len, m->len, MREMAP_MAYMOVE | MREMAP_FIXED, m->to);

	if (r < 0)
		restorer_fail(a, RESTORER_STEP_MOVE, r, m->to);
	if (m->advice & VMA_F_LOCKED) {
		r = SYS3(mlock2, m->to, m->len, MLOCK_ONFAULT);
		if (r < 0)
			restorer_fail(a, RESTORER_STEP_LOCK, r, m->to);
		/* fills in what pages it can: see finish_in_place() of memory/load_moves.c */
		if (!(m->advice & VMA_F_LOCKONFAULT))
			SYS3(mlock2, m->to, m->len, 0);
	}
	if (m->advice & VMA_F_SEALED) {
		r = raw_syscall(NR_MSEAL, m->to, m->len, 0, 0, 0, 0);
		if (r < 0)
			restorer_fail(a, RESTORER_STEP_SEAL, r, m->to);
	}
}

static void move_memory(const struct restorer_args *a)
{
	const struct restorer_move *moves = (const struct restorer_move *)a->moves;

	for (uint64_t i = 0; i < a->nr_moves; i++)
		move_one(a, &moves[i]);
}

/* PR_SET_MM_MAP, Linux 3.18; needs no privilege but for the executable's link. */
static void set_mm(const struct restorer_args *a)
{
	long r = SYS5(prctl, PR_SET_MM, PR_SET_MM_MAP, a->mm_map, a->mm_map_len, 0);

	if (r < 0)
		restorer_fail(a, RESTORER_STEP_SET_MM, r, 0);
	if (a->exe_fd >= 0)
		SYS1(close, a->exe_fd);
}

static void set_sigactions(const struct restorer_args *a)
{
	for (uint64_t sig = 1; sig <= RESTORER_NSIG; sig++) {
		long r;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		r = SYS4(rt_sigaction, sig, &a->sigactions[sig - 1], 0, sizeof(uint64_t));
		if (r < 0)
			restorer_fail(a, RESTORER_STEP_SIGACTION, r, sig);
	}
}

static void lock_pids(struct restorer_control *c)
{
	while (__atomic_exchange_n(&c->pid_lock, 1, __ATOMIC_SEQ_CST))
		SYS4(futex, &c->pid_lock, FUTEX_WAIT, 1, 0);
}

static void unlock_pids(struct restorer_control *c)
{
	__atomic_store_n(&c->pid_lock, 0, __ATOMIC_SEQ_CST);
	SYS3(futex, &c->pid_lock, FUTEX_WAKE, 1);
}

/* The next id to be given is to be that one: see restore/pids.c. */
static void place_pid(const struct restorer_args *a, int32_t pid)
{
	struct restorer_control *c = (struct restorer_control *)a->control;

	lock_pids(c);
	c->pid_wanted = pid;
	__atomic_store_n(&c->pid_state, RESTORER_PID_ASKED, __ATOMIC_SEQ_CST);
	SYS3(futex, &c->pid_state, FUTEX_WAKE, INFINITE);
	while (__atomic_load_n(&c->pid_state, __ATOMIC_SEQ_CST) == RESTORER_PID_ASKED)
		SYS4(futex, &c->pid_state, FUTEX_WAIT, RESTORER_PID_ASKED, 0);
	if (__atomic_load_n(&c->pid_state, __ATOMIC_SEQ_CST) != RESTORER_PID_IDLE)
		restorer_fail(a, RESTORER_STEP_THREAD, -EBUSY_NR, (uint64_t)pid);
}

static long start_thread(const struct restorer_args *a, struct restorer_thread *t, struct clone_args *c)
{
	long r;

	if (t->placed_tid)
		place_pid(a, t->placed_tid);
	r = raw_clone_thread(c, sizeof(*c), __NR_clone3, restorer_thread_main, t);
	if (t->placed_tid)
		unlock_pids((struct restorer_control *)a->control);
	if (r >= 0 && r != (t->nr_tids ? t->tids[0] : t->placed_tid))
		return -EEXIST_NR; /* all is tried again */
	return r;
}

static void start_threads(const struct restorer_args *a)
{
	struct restorer_thread *threads = (struct restorer_thread *)a->threads;

	for (uint64_t i = a->leader ? 0 : 1; i < a->nr_threads; i++) {
		struct clone_args c = {
			.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
				 CLONE_SYSVSEM,
			.stack = threads[i].stack_top - RESTORER_STACK,
			.stack_size = RESTORER_STACK,
			.set_tid = threads[i].nr_tids ? (uint64_t)threads[i].tids : 0,
			.set_tid_size = threads[i].nr_tids,
		};
		long r = start_thread(a, &threads[i], &c);

		if (r < 0)
			restorer_fail(a, RESTORER_STEP_THREAD, r, (uint64_t)threads[i].tids[0]);
	}
}

/* unshare(CLONE_NEWPID) of old: no thread could be created after it. */
static void set_pids_for_children(const struct restorer_args *a)
{
	long r;

	if (a->pids_for_children_fd < 0)
		return;
	r = SYS2(setns, a->pids_for_children_fd, CLONE_NEWPID);
	if (r < 0)
		restorer_fail(a, RESTORER_STEP_PIDS, r, 0);
	SYS1(close, a->pids_for_children_fd);
}

/* A process that closes a descriptor of a file loses its locks of it: that was the last one. */
static void take_locks(const struct restorer_args *a)
{
	const struct restorer_lock *locks = (const struct restorer_lock *)a->locks;

	for (uint64_t i = 0; i < a->nr_locks; i++) {
		struct flock range = {
			.l_type = locks[i].type,
			.l_whence = 0, /* SEEK_SET */
			.l_start = locks[i].start,
			.l_len = locks[i].len,
		};
		long r = SYS3(fcntl, locks[i].fd, F_SETLK, &range);

		if (r < 0)
			restorer_fail(a, RESTORER_STEP_FILE_LOCK, r,
				      a->process_index << 32 | locks[i].index);
	}
}

static long create_timer(const struct restorer_timer *t, int32_t *ret_id)
{
	struct sigevent ev = {
		.sigev_notify = t->notify,
		.sigev_signo = t->signo,
		.sigev_value.sival_ptr = (void *)t->sigval,
	};

	ev._sigev_un._tid = t->notify_tid;
	return SYS3(timer_create, t->clock, &ev, ret_id);
}

/* Before Linux 6.15 ids count up for each process: make and delete until the wanted one comes. */
static void make_timer(const struct restorer_args *a, const struct restorer_timer *t)
{
	struct {
		int64_t interval_s, interval_ns, value_s, value_ns;
	} spec = {t->interval_ns / NS_PER_S, t->interval_ns % NS_PER_S, t->value_ns / NS_PER_S,
		  t->value_ns % NS_PER_S};
	int32_t id = t->id;
	long r;

	for (int tries = 0;; tries++) {
		r = create_timer(t, &id);
		if (r < 0 || tries > MAX_TIMER_TRIES)
			restorer_fail(a, RESTORER_STEP_TIMER, r, (uint64_t)t->id);
		if (id == t->id)
			break;
		SYS1(timer_delete, id);
		if (id > t->id)
			restorer_fail(a, RESTORER_STEP_TIMER, -EBUSY_NR, (uint64_t)t->id);
	}
	r = SYS4(timer_settime, id, 0, &spec, 0);
	if (r < 0)
		restorer_fail(a, RESTORER_STEP_TIMER, r, (uint64_t)t->id);
}

static void make_timers(const struct restorer_args *a)
{
	const struct restorer_timer *timers = (const struct restorer_timer *)a->timers;

	if (a->has_timer_restore)
		SYS5(prctl, PRCTL_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0);
	for (uint64_t i = 0; i < a->nr_timers; i++)
		make_timer(a, &timers[i]);
	if (a->has_timer_restore)
		SYS5(prctl, PRCTL_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
	for (uint64_t i = 0; i < 3; i++) {
		const struct restorer_itimer *t = &a->itimers[i];
		/* An interval without a rest: it had run out and its signal was still queued. The
		 * kernel winds such a timer up when the signal is taken, but cannot be told to; one
		 * that runs out now adds no second signal to the queued one. */
		int64_t value_us = t->value_us ? t->value_us : 1;
		int64_t spec[4] = {t->interval_us / US_PER_S, t->interval_us % US_PER_S,
				   value_us / US_PER_S, value_us % US_PER_S};

		if (t->value_us || t->interval_us)
			SYS3(setitimer, i, spec, 0);
	}
}

static void set_rlimits(const struct restorer_args *a)
{
	const uint64_t(*limits)[2] = (const uint64_t(*)[2])a->rlimits;

	for (uint64_t i = 0; i < RESTORER_NLIMITS; i++) {
		long r;

		if (!(a->rlimits_mask & 1u << i))
			continue;
		r = SYS4(prlimit64, 0, i, limits[i], 0);
		if (r < 0)
			restorer_fail(a, RESTORER_STEP_RLIMIT, r, i);
	}
}

static void queue_process_signals(const struct restorer_args *a)
{
	uint64_t pid = (uint64_t)SYS0(getpid);

	for (uint64_t i = 0; i < a->nr_pending; i++) {
		uint64_t info = a->pending + i * RESTORER_SIGINFO;
		long r = SYS3(rt_sigqueueinfo, pid, *(const int32_t *)info, info);

		if (r < 0)
			restorer_fail(a, RESTORER_STEP_SIGNAL, r, i);
	}
}

/* For mappings the program makes from now on; the zone is no new one. */
static void lock_future(const struct restorer_args *a)
{
	long r;

	if (!a->lock_future)
		return;
	r = SYS1(mlockall, a->lock_future);
	if (r < 0)
		restorer_fail(a, RESTORER_STEP_LOCK, r, 0);
}

static void set_process_state(const struct restorer_args *a)
{
	if (a->child_subreaper)
		SYS5(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (a->thp_disable)
		SYS5(prctl, PR_SET_THP_DISABLE, 1, a->thp_disable & ~1u, 0, 0);
	if (a->memory_merge) /* needs CAP_SYS_RESOURCE; the builder has warned */
		SYS5(prctl, PRCTL_SET_MEMORY_MERGE, 1, 0, 0, 0);
}

/* main() had called pthread_exit(): a zombie as long as others live. */
static __attribute__((__noreturn__)) void end_leader(struct restorer_args *a)
{
	struct restorer_control *c = (struct restorer_control *)a->control;

	restorer_thread_set((struct restorer_thread *)a->leader);
	/* The end of a thread sends its children's parent-death signals, by which they are bound to us
	 * until they are ready; and so is this process to its parent's first thread, so that it has to look
	 * for the parent itself. */
	SYS5(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
	restorer_note_set(a);
	while (!__atomic_load_n(&c->leader_gate, __ATOMIC_SEQ_CST))
		restorer_wait(a, &c->leader_gate, 0, true);
	for (;;)
		SYS1(exit, a->leader_exit_code);
}

/* Entry. The stack is the leader's in the zone; never returns. */
__attribute__((__noreturn__, __section__(".head"), __used__)) void
blob_start(struct restorer_args *a)
{
	uint64_t all = ~0ull;

	SYS4(rt_sigprocmask, SIG_SETMASK, &all, 0, sizeof(all));
	a->parent = (int32_t)SYS0(getppid);
	park_specials(a);
	unmap_all_but_ranges(a);
	move_memory(a);
	place_specials(a);
	set_mm(a);
	set_sigactions(a);
	set_process_state(a);
	start_threads(a);
	set_pids_for_children(a);
	take_locks(a);
	make_timers(a);
	queue_process_signals(a);
	lock_future(a);
	set_rlimits(a);
	if (a->leader)
		end_leader(a);
	restorer_thread_main((void *)a->threads);
	__builtin_unreachable();
}
