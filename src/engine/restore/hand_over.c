/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last step of a restart: every thread waits in the restorer. The builder stops them all, puts the
 * saved registers in, takes the restorer's zone out and lets them go at once.
 */
#include "inject/inject.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

enum {
	ERESTART_RESTARTBLOCK_NR = 516, /* include/linux/errno.h: never seen by programs */
	ONWARD_NS = 200000,		/* for the few instructions in front of a system call */
};

/* Until they are let go a thread without the builder is one of a half-built tree. */
static int seize(pid_t tid, unsigned long more_options, struct stasis_error *err)
{
	if (ptrace(PTRACE_SEIZE, tid, NULL, 
		   (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | more_options)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "seize restored thread %d", tid);
	return 0;
}

static int interrupt(pid_t tid, struct stasis_error *err)
{
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "interrupt restored thread %d", tid);
	return 0;
}

static int await_stop(pid_t tid, struct stasis_error *err)
{
	int status;
	pid_t got;

	do
		got = waitpid(tid, &status, __WALL);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "wait for restored thread %d", tid);
	if (!WIFSTOPPED(status))
		return stasis_fail(err, STASIS_E_INTERNAL, "restored thread %d died (status 0x%x)",
				   tid, status);
	return 0;
}

/* regs: where the final registers of this thread are kept between the passes. */
typedef int (*thread_fn)(struct restore *r, struct restore_proc *p, size_t k,
			 struct arch_regs *regs, struct stasis_error *err);

static int for_each_thread(struct restore *r, thread_fn fn, struct arch_regs *regs,
			   struct stasis_error *err)
{
	for (size_t i = 0; i < r->nr; i++)
		for (size_t k = 0; k < r->procs[i].nr_threads; k++)
			if (fn(r, &r->procs[i], k, regs ? regs++ : NULL, err) < 0)
				return -1;
	return 0;
}

static pid_t tid_of(const struct restore_proc *p, size_t k)
{
	return (pid_t)p->threads[k]->tid;
}

static int stop_one(struct restore *r, struct restore_proc *p, size_t k, struct arch_regs *regs,
		    struct stasis_error *err)
{
	(void)regs;
	if (!seccomp_is_wanted(r, p->threads[k]) && seize(tid_of(p, k), 0, err) < 0)
		return -1;
	return interrupt(tid_of(p, k), err);
}

static int trace_confined(struct restore *r, struct restore_proc *p, size_t k,
			  struct arch_regs *regs, struct stasis_error *err)
{
	(void)regs;
	if (!seccomp_is_wanted(r, p->threads[k]))
		return 0;
	return seize(tid_of(p, k), PTRACE_O_SUSPEND_SECCOMP, err);
}

int hand_over_trace_confined(struct restore *r, struct stasis_error *err)
{
	return for_each_thread(r, trace_confined, NULL, err);
}

static int read_thread_state(struct restore *r, struct restore_proc *p, size_t k,
			     struct restorer_thread *ret, struct stasis_error *err)
{
	struct iovec here = {.iov_base = ret, .iov_len = sizeof(*ret)};
	struct iovec there = {.iov_base = (void *)args_thread_address(r, k),
			      .iov_len = sizeof(*ret)};

	if (process_vm_readv(tid_of(p, 0), &here, 1, &there, 1, 0) !=
	    (ssize_t)sizeof(*ret))
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "read the restorer's state");
	return 0;
}

/* Whether the thread that stands still now sleeps in its call with a time-out, or has slept to the end. One that
 * was on its way there when the builder's interrupt came has no restart block: its sleep would end at once. */
static int is_in_timed_call(struct restore *r, struct restore_proc *p, size_t k, bool *ret,
			    struct stasis_error *err)
{
	struct restorer_thread state;
	struct arch_regs regs;

	if (read_thread_state(r, p, k, &state, err) < 0)
		return -1;
	*ret = state.timed_nr < 0 || state.is_timed_done;
	if (*ret)
		return 0;
	if (ptrace(PTRACE_GETREGS, tid_of(p, k), NULL, &regs.u) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "registers of %d", tid_of(p, k));
	*ret = arch_syscall_nr(&regs) == state.timed_nr &&
	       arch_syscall_result(&regs) == -ERESTART_RESTARTBLOCK_NR;
	return 0;
}

static int await_one(struct restore *r, struct restore_proc *p, size_t k, struct arch_regs *regs,
		     struct stasis_error *err)
{
	const struct timespec nap = {.tv_nsec = ONWARD_NS};
	pid_t tid = tid_of(p, k);
	bool is_there = false;

	(void)regs;
	if (await_stop(tid, err) < 0)
		return -1;
	if (!p->threads[k]->has_remaining)
		return 0;
	for (;;) {
		if (is_in_timed_call(r, p, k, &is_there, err) < 0)
			return -1;
		if (is_there)
			return 0;
		if (ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
			return stasis_fail_errno(err, STASIS_E_INTERNAL, "continue thread %d", tid);
		(void)nanosleep(&nap, NULL);
		if (interrupt(tid, err) < 0 || await_stop(tid, err) < 0)
			return -1;
	}
}

/* A thread that slept with a time-out: it goes on sleeping by the kernel's restart block, or, when the
 * time ran out meanwhile, returns from the call. A wait without an end, or until a point in time, is
 * simply begun again. What is left, a call nobody could name, is interrupted. */
static int fix_timed_call(struct restore *r, struct restore_proc *p, size_t k,
			  struct arch_regs *regs, struct stasis_error *err)
{
	struct restorer_thread state;

	if (arch_syscall_nr(regs) < 0 ||
	    arch_syscall_result(regs) != -ERESTART_RESTARTBLOCK_NR)
		return 0;
	if (read_thread_state(r, p, k, &state, err) < 0)
		return -1;
	if (state.timed_nr < 0 && p->threads[k]->timed_nr)
		arch_repeat_syscall(regs, p->threads[k]->timed_nr);
	else if (state.timed_nr < 0)
		arch_finish_syscall(regs, -EINTR);
	else if (state.is_timed_done)
		arch_finish_syscall(regs, (long)state.timed_result);
	return 0;
}

/* Remote system calls in threads that wait in the restorer, each in another. */
struct calls {
	size_t nr;
	struct remote_call *list;
};

static void calls_done(struct calls *c)
{
	free(c->list);
}

static void add_call(struct calls *c, pid_t tid, long nr, uint64_t arg0, uint64_t arg1)
{
	c->list[c->nr++] = (struct remote_call){.tid = tid, .nr = nr, .args = {arg0, arg1}};
}

/* The threads stand at the exit of the remote calls, where the kernel does not look for system calls to
 * restart. It does at the stop of an interrupt, which comes before any instruction is executed. */
static int leave_syscall_stops(const struct calls *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr; i++)
		if (ptrace(PTRACE_INTERRUPT, c->list[i].tid, NULL, NULL) < 0 ||
		    ptrace(PTRACE_CONT, c->list[i].tid, NULL, NULL) < 0)
			return stasis_fail_errno(err, STASIS_E_INTERNAL, "interrupt thread %d", c->list[i].tid);
	for (size_t i = 0; i < c->nr; i++)
		if (await_stop(c->list[i].tid, err) < 0)
			return -1;
	return 0;
}

static int make_calls(struct restore *r, const struct calls *c, struct stasis_error *err)
{
	if (remote_syscalls_at(c->list, c->nr, args_gadget_address(r), err) < 0)
		return -1;
	for (size_t i = 0; i < c->nr; i++) {
		const struct remote_call *call = &c->list[i];

		if (call->result >= 0)
			continue;
		errno = (int)-call->result;
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "system call %ld in %d", call->nr, call->tid);
	}
	return 0;
}

/*
 * The kernel takes an area of exactly its own size. One from a processor with fewer state components
 * is filled up with components in their initial state; one from a processor with more is cut, which
 * restore_check() allowed only when the program's features are all here.
 */
static int put_xstate(struct restore *r, struct restore_proc *p, size_t k, struct stasis_error *err)
{
	size_t saved_len, len = r->s->caps.xsave_size;
	const void *saved = image_note(p->image, "LINUX", NT_X86_XSTATE, k, &saved_len);
	scoped_free void *area = calloc(1, len);
	struct iovec iov = {.iov_base = area, .iov_len = len};

	if (!area)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for registers");
	memcpy(area, saved, saved_len < len ? saved_len : len);
	if (ptrace(PTRACE_SETREGSET, tid_of(p, k), (void *)NT_X86_XSTATE, &iov) < 0)
		return stasis_fail_errno(err, STASIS_E_CORRUPT, "extended registers of thread %d",
					 tid_of(p, k));
	return 0;
}

/* Everything but what the last remote call needs as it is: the general registers, and the mask, which
 * keeps pending signals and timers away from it. */
static int prepare_one(struct restore *r, struct restore_proc *p, size_t k, struct arch_regs *regs,
		       struct stasis_error *err)
{
	*regs = restore_regs(p, k);
	if (fix_timed_call(r, p, k, regs, err) < 0)
		return -1;
	return put_xstate(r, p, k, err);
}

static int put_regs_one(struct restore *r, struct restore_proc *p, size_t k, struct arch_regs *regs,
			struct stasis_error *err)
{
	uint64_t mask = p->threads[k]->sigmask;

	(void)r;
	if (ptrace(PTRACE_SETSIGMASK, tid_of(p, k), sizeof(mask), &mask) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "signal mask of thread %d",
					 tid_of(p, k));
	if (ptrace(PTRACE_SETREGS, tid_of(p, k), NULL, &regs->u) < 0)
		return stasis_fail_errno(err, STASIS_E_CORRUPT, "registers of thread %d",
					 tid_of(p, k));
	return 0;
}

static int stop_signal(const struct restore *r, const struct restore_proc *p)
{
	if (r->opts->flags & (STASIS_RESTORE_STOPPED | STASIS_RESTORE_TRACED))
		return SIGSTOP;
	return p->process->state == STASIS__PROCESS_STATE__PROCESS_STOPPED ? job_stop_signal(r, p) : 0;
}

/* While all still stand: those that were stopped stop again, then what the caller asked for. */
static void send_signals(struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		const struct restore_proc *p = &r->procs[i];
		pid_t pid = (pid_t)p->process->pid;

		if (!p->fdtable) /* a zombie */
			continue;
		if (p->nr_threads && stop_signal(r, p)) /* a stand-in does it itself */
			(void)kill(pid, stop_signal(r, p));
		if (r->opts->signal_all)
			(void)kill(pid, r->opts->signal_all);
	}
	if (r->opts->signal_root && r->procs[0].nr_threads)
		(void)kill((pid_t)r->procs[0].process->pid, r->opts->signal_root);
}

/* Until now the first thread's has bound the process to its parent. */
static void add_pdeath_signal(const struct restore *r, const struct restore_proc *p, size_t k, struct calls *c)
{
	uint32_t sig = p->threads[k]->pdeath_signal;

	if (sig != args_pdeath_signal(r, p, k))
		add_call(c, tid_of(p, k), SYS_prctl, PR_SET_PDEATHSIG, sig);
}

/* First threads make a second call right behind the first: every process unmaps the restorer. */
static int make_last_calls(struct restore *r, struct stasis_error *err)
{
	scoped(calls_done) struct calls firsts = {.list = calloc(r->nr + 1, sizeof(*firsts.list))};
	scoped(calls_done) struct calls others = {.list = calloc(r->nr_threads + 1, sizeof(*others.list))};
	scoped(calls_done) struct calls unmaps = {.list = calloc(r->nr + 1, sizeof(*unmaps.list))};

	if (!firsts.list || !others.list || !unmaps.list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", r->nr_threads);
	for (size_t i = 0; i < r->nr; i++)
		for (size_t k = 0; k < r->procs[i].nr_threads; k++) {
			add_pdeath_signal(r, &r->procs[i], k, k ? &others : &firsts);
			if (k == 0)
				add_call(&unmaps, tid_of(&r->procs[i], 0), SYS_munmap,
					 mem_load_zone(r->mem), args_zone_bytes(r));
		}
	if (make_calls(r, &firsts, err) < 0 || make_calls(r, &others, err) < 0 ||
	    make_calls(r, &unmaps, err) < 0)
		return -1;
	return leave_syscall_stops(&others, err) < 0 ? -1 : leave_syscall_stops(&unmaps, err);
}

static int drop_exitkill(struct restore *r, struct restore_proc *p, size_t k, struct arch_regs *regs,
			 struct stasis_error *err)
{
	(void)r;
	(void)regs;
	if (ptrace(PTRACE_SETOPTIONS, tid_of(p, k), NULL, NULL) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "options of thread %d", tid_of(p, k));
	return 0;
}

/* The tree is whole: from here on the end of the caller, or even ours, lets it run. */
static int commit(struct restore *r, struct stasis_error *err)
{
	(void)prctl(PR_SET_PDEATHSIG, 0);
	if (for_each_thread(r, drop_exitkill, NULL, err) < 0)
		return -1;
	return r->nr_stand_ins ? stand_in_let_go(r, err) : 0;
}

static void detach(const struct restore_proc *p)
{
	/* a thread that a signal of ours has just killed is gone: nothing to let go */
	for (size_t k = 0; k < p->nr_threads; k++)
		(void)ptrace(PTRACE_DETACH, tid_of(p, k), NULL, NULL);
}

static void await_stopped(const struct restore *r, const struct restore_proc *p)
{
	scoped_fd int procfd = -1;

	if (!p->nr_threads || r->opts->signal_all || r->opts->signal_root)
		return; /* the signals may have ended the stop */
	procfd = proc_open((pid_t)p->process->pid, NULL);
	if (procfd >= 0 && !proc_await_stopped(procfd) &&
	    kill((pid_t)p->process->pid, SIGSTOP) == 0)
		(void)proc_await_stopped(procfd);
}

/* Those that are to stand still first: no parent may see its stopped child run. */
static void detach_all(const struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (stop_signal(r, &r->procs[i]))
			detach(&r->procs[i]);
	for (size_t i = 0; i < r->nr; i++)
		if (stop_signal(r, &r->procs[i]))
			await_stopped(r, &r->procs[i]);
	for (size_t i = 0; i < r->nr; i++)
		if (!stop_signal(r, &r->procs[i]))
			detach(&r->procs[i]);
}

int hand_over_stop(struct restore *r, struct stasis_error *err)
{
	if (for_each_thread(r, stop_one, NULL, err) < 0)
		return -1;
	return for_each_thread(r, await_one, NULL, err);
}

int hand_over_run(struct restore *r, struct stasis_error *err)
{
	scoped_free struct arch_regs *regs = calloc(r->nr_threads + 1, sizeof(*regs));

	if (!regs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for registers");
	if (for_each_thread(r, prepare_one, regs, err) < 0 ||
	    make_last_calls(r, err) < 0 ||
	    for_each_thread(r, put_regs_one, regs, err) < 0 || commit(r, err) < 0)
		return -1;
	send_signals(r);
	detach_all(r);
	return 0;
}
