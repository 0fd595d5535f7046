/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The builder: a process forked for one restart. It checks the rest of the plan, opens everything that
 * processes share, creates the root and, when every thread has arrived in the restorer, hands over.
 * It ends when the tree runs, so nothing of the work stays behind in the caller.
 */
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	READY_POLL_NS = 50000000,
	RSEQ_BYTES = 32,	/* what glibc registers */
	RSEQ_UNREGISTER = 1,	/* enum rseq_flags of <linux/rseq.h> */
};

/* The kernel writes into a registered rseq area at any time, also after its memory is gone: fatal. */
static void leave_rseq(void)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (__rseq_size)
		(void)syscall(SYS_rseq, area, RSEQ_BYTES, RSEQ_UNREGISTER, RSEQ_SIG);
}

/* Nothing of the caller's signal handling must be inherited; SIGCHLD stays open, see task.c. */
static void reset_signals(void)
{
	sigset_t set;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
}

static size_t index_of(const struct restore *r, pid_t pid)
{
	for (size_t i = 0; i < r->nr && pid; i++)
		if (r->procs[i].process->pid == (uint32_t)pid)
			return i;
	return NS_OUTSIDE;
}

static int enter_place(void *arg, pid_t pid, struct stasis_error *err)
{
	struct restore *r = arg;

	return ns_load_switch(r->ns, index_of(r, pid), err);
}

static int enter_ipc(void *arg, pid_t pid, struct stasis_error *err)
{
	struct restore *r = arg;

	return ns_load_switch_ipc(r->ns, index_of(r, pid), err);
}

static int make_namespaces(struct restore *r, struct stasis_error *err)
{
	struct ns_proc *procs = r->ns_procs = calloc(r->nr, sizeof(*procs));

	if (!procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the plan");
	for (size_t i = 0; i < r->nr; i++)
		procs[i] = (struct ns_proc){
			.comm = r->procs[i].process->comm,
			.pid = (pid_t)r->procs[i].process->pid,
			.image = r->procs[i].image,
			.in = r->procs[i].process->namespaces,
		};
	if (restore_move_ipc(r, err) < 0)
		return -1;
	if (ns_load_plan(r->s, procs, r->nr, &r->ns, err) < 0)
		return -1;
	if (!r->ns)
		return 0;
	for (size_t i = 0; i < r->nr; i++)
		if (r->procs[i].nr_threads > 1 && ns_load_check_threads(r->ns, i, err) < 0)
			return -1;
	r->s->enter = enter_place;
	r->s->enter_ipc = enter_ipc;
	r->s->enter_arg = r;
	return ns_load_make(r->ns, r->cgroups, err);
}

static int plan_memory(struct restore *r, struct stasis_error *err)
{
	struct mem_proc *procs = r->mem_procs = calloc(r->nr, sizeof(*procs));
	void *at;

	if (!procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the plan");
	for (size_t i = 0; i < r->nr; i++)
		procs[i] = (struct mem_proc){
			.pid = (pid_t)r->procs[i].process->pid,
			.ppid = (pid_t)r->procs[i].process->ppid,
			.image = r->procs[i].image,
			.mm = r->procs[i].mm,
		};
	if (vdso_read_own(&r->own_vdso, err) < 0)
		return -1;
	args_plan(r);
	if (mem_load_plan(r->s, procs, r->nr, args_zone_bytes(r),
			  r->opts->flags & STASIS_RESTORE_QUIET_FILES, &r->mem, err) < 0)
		return -1;
	at = mremap(r->shared, r->shared_len, r->shared_len, MREMAP_MAYMOVE | MREMAP_FIXED,
		    (void *)mem_load_zone(r->mem));
	if (at == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "move the shared page");
	r->shared = at;
	return 0;
}

static int plan_descriptors(struct restore *r, struct stasis_error *err)
{
	struct fd_proc *procs = r->fd_procs = calloc(r->nr, sizeof(*procs));
	size_t nr = 0;

	if (!procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the plan");
	for (size_t i = 0; i < r->nr; i++)
		if (r->procs[i].fdtable)
			procs[nr++] = (struct fd_proc){
				.pid = (pid_t)r->procs[i].process->pid,
				.image = r->procs[i].image,
				.table = r->procs[i].fdtable,
			};
	return fd_load_plan(r->s, procs, nr, r->opts, &r->fds, err);
}

static int object_fd(void *arg, uint64_t object)
{
	return mem_load_object_fd(arg, object);
}

static int open_shared(struct restore *r, struct stasis_error *err)
{
	if (mem_load_objects(r->mem, fd_load_base(r->fds), err) < 0 ||
	    ipc_load_make(r->ipc, err) < 0)
		return -1;
	fd_load_set_object_fd(r->fds, object_fd, r->mem);
	if (r->opts->flags & STASIS_RESTORE_ROLLBACK_FILES)
		fd_load_set_rollback(r->fds);
	return fd_load_open_all(r->fds, err);
}

/* A process that died without a word (killed, or a bug of ours) would be waited for for ever. */
static bool somebody_died(const struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		scoped_fd int procfd = -1;
		struct proc_stat st;

		if (!r->procs[i].fdtable || !r->shared->slots[i].is_created ||
		    r->shared->slots[i].is_off)
			continue;
		procfd = proc_open((pid_t)r->procs[i].process->pid, NULL);
		if (procfd < 0)
			return !r->is_namespace; /* no /proc of our namespace: cannot tell */
		if (proc_read_stat(procfd, "stat", &st, NULL) < 0 || 
		    (strchr("ZX", st.state) && st.nr_threads <= 1))
			return true;
	}
	return false;
}

int build_await(struct restore *r, uint32_t *word, size_t want, struct stasis_error *err)
{
	const struct timespec poll = {.tv_nsec = READY_POLL_NS};
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_SEQ_CST)) < want) {
		if (shared_has_failed(r))
			return shared_error(r, err);
		if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &poll, NULL, 0) < 0 &&
		    errno == ETIMEDOUT && somebody_died(r))
			return shared_error(r, err);
	}
	return shared_has_failed(r) ? shared_error(r, err) : 0;
}

static void open_gate(uint32_t *gate)
{
	__atomic_store_n(gate, 1, __ATOMIC_SEQ_CST);
	shared_wake(gate);
}

static size_t count_ended_leaders(const struct restore *r)
{
	size_t nr = 0;

	for (size_t i = 0; i < r->nr; i++)
		nr += r->procs[i].process->leader != NULL;
	return nr;
}

/* Everybody has done his part and waits. */
static int await_threads(struct restore *r, struct stasis_error *err)
{
	struct restorer_control *c = &r->shared->control;
	size_t nr_confined = seccomp_count(r), nr_ended = count_ended_leaders(r);

	if (nr_confined) {
		if (build_await(r, &c->nr_confined, nr_confined, err) < 0 ||
		    hand_over_trace_confined(r, err) < 0)
			return -1;
		open_gate(&c->confine_gate);
	}
	if (build_await(r, &c->ready, r->nr_threads + r->nr_stand_ins, err) < 0)
		return -1;
	if (!nr_ended)
		return 0;
	open_gate(&c->leader_gate);
	return build_await(r, &c->nr_ended, nr_ended, err);
}

/* The terminal's foreground group, when the tree had one and is at a terminal again. */
static void plan_foreground(struct restore *r)
{
	const Stasis__Process *root = r->procs[0].process;

	if (root->tty_nr && !root->has_own_tty && root->tty_pgrp && !r->is_namespace)
		fd_load_set_foreground(r->fds, (pid_t)root->tty_pgrp);
}

int build_tree(struct restore *r, struct stasis_error *err)
{
	leave_rseq();
	reset_signals();
	r->outer_group = getpgrp();
	if (clocks_enter(r, err) < 0 || creds_become_owner(r, err) < 0)
		return -1;
	if (cgroups_open(r, err) < 0 || make_namespaces(r, err) < 0)
		return -1;
	if (plan_memory(r, err) < 0 || plan_descriptors(r, err) < 0 || vdso_check(r, err) < 0)
		return -1;
	plan_foreground(r);
	if (open_shared(r, err) < 0 || session_enter(r->s, 0, err) < 0)
		return -1;
	r->shared->control.nr_threads = (uint32_t)(r->nr_threads + r->nr_stand_ins);
	if (fault_point("restore.opened", err) < 0)
		return -1;
	if (pids_start(r, err) < 0)
		return -1;
	if (birth_create_root(r, err) < 0 || await_threads(r, err) < 0 ||
	    fault_point("restore.ready", err) < 0 || hand_over_stop(r, err) < 0)
		return -1;
	pids_stop(r);
	if (fault_point("restore.stopped", err) < 0)
		return -1;
	if (cgroups_place_threads(r, err) < 0)
		return -1;
	/* the last things that can fail; from here on the tree is on its own */
	if (fd_load_finish(r->fds, err) < 0 || mem_load_finish(r->mem, err) < 0)
		return -1;
	return hand_over_run(r, err);
}
