/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of a restart, seen from the caller: load and check, fork the builder, wait for its word.
 * When anything fails, no process is left.
 */
#include "restore/restore.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUTCOME_POLL_NS = 50000000, REAP_POLL_NS = 1000000, REAP_TRIES = 5000, BUSY_TRIES = 10 };

static uint64_t permitted_caps(void)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (syscall(SYS_capget, &hdr, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* With the right to choose pids the tree is restarted as it was; else in a namespace. */
static int choose_way(struct restore *r, struct stasis_error *err)
{
	r->own_caps = permitted_caps();
	r->is_user_namespace = !r->s->caps.has_set_tid;
	r->is_namespace = r->is_user_namespace || pids_are_needed(r);
	if (!r->is_namespace && restore_wait_for_pids(r, err) < 0) {
		if (!r->s->is_forced)
			return -1;
		r->is_namespace = true;
	}
	if (restore_choose_ipc(r, err) < 0)
		return -1;
	s_info(r->s, "restarting %zu processes %s", r->nr,
	       r->is_user_namespace ? "in a user and pid namespace of their own"
	       : pids_are_needed(r) ? "in a pid namespace of their own (they have user namespaces)"
	       : r->is_namespace    ? "in a pid namespace of their own (a pid is in use)"
				    : "with their pids in this pid namespace");
	return 0;
}

static void report_done(struct restore *r)
{
	/* the caller may end at once when it knows */
	(void)prctl(PR_SET_PDEATHSIG, 0);
	__atomic_store_n(&r->shared->outcome, RESTORE_DONE, __ATOMIC_SEQ_CST);
	shared_wake(&r->shared->outcome);
}

/* Without privilege outside, the builder cannot come back from a network of the tree's own, in which the
 * first process of the pid namespace has no business: then it is another process. */
static void part_from_builder(struct restore *r)
{
	pid_t pid = pids_fork(r);
	int status = 1;

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		_exit(1); /* who failed has said why */
	report_done(r);
	namespace_serve(r);
}

static bool has_network(const struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (r->procs[i].process->namespaces && r->procs[i].process->namespaces->net)
			return true;
	return false;
}

static void __attribute__((__noreturn__)) builder_main(struct restore *r)
{
	struct stasis_error err;

	birth_bind(r->is_namespace ? 0 : r->caller);
	r->is_first = r->is_namespace && !(r->is_user_namespace && has_network(r));
	if (r->is_namespace && !r->is_first)
		part_from_builder(r);
	if (build_tree(r, &err) < 0) {
		shared_fail(r, &err);
		ipc_load_undo(r->ipc);
		mem_load_undo(r->mem);
		fd_load_free(r->fds); /* puts files back that it changed */
		_exit(1);
	}
	if (r->is_namespace && !r->is_first)
		_exit(0);
	report_done(r);
	if (r->is_first)
		namespace_serve(r);
	_exit(0);
}

static int await_outcome(struct restore *r, pid_t builder, struct stasis_error *err)
{
	const struct timespec poll = {.tv_nsec = OUTCOME_POLL_NS};
	uint32_t *outcome = &r->shared->outcome;
	siginfo_t info;

	while (__atomic_load_n(outcome, __ATOMIC_SEQ_CST) == RESTORE_PENDING) {
		if (shared_has_failed(r))
			return shared_error(r, err);
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)builder, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == builder &&
		    __atomic_load_n(outcome, __ATOMIC_SEQ_CST) == RESTORE_PENDING)
			return shared_error(r, err);
		(void)syscall(SYS_futex, outcome, FUTEX_WAIT, RESTORE_PENDING, &poll, NULL, 0);
	}
	return 0;
}

/* Kill one process of a failed restart and take its status, however it was related. */
static void kill_and_reap(pid_t pid)
{
	const struct timespec poll = {.tv_nsec = REAP_POLL_NS};

	(void)kill(pid, SIGKILL);
	for (int i = 0; i < REAP_TRIES; i++) {
		if (waitpid(pid, NULL, WNOHANG | __WALL) == pid)
			return;
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &poll, NULL);
	}
}

/* The builder puts back what it has changed (files, socket files) when it learns of a failure; killed at
 * once it could not. */
static void let_undo(pid_t builder)
{
	const struct timespec poll = {.tv_nsec = REAP_POLL_NS};
	siginfo_t info;

	info.si_pid = 0;
	for (int i = 0; i < REAP_TRIES && !info.si_pid; i++) {
		if (waitid(P_PID, (id_t)builder, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			return;
		if (!info.si_pid)
			(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &poll, NULL);
	}
}

/* The caller is the subreaper for the time of the restart, so orphans of a killed parent come here. */
static void destroy_tree(struct restore *r, pid_t builder)
{
	uint32_t nr_helpers = r->shared->nr_helpers;

	let_undo(builder);
	kill_and_reap(builder);
	if (r->is_namespace)
		return; /* its first process took everybody along */
	for (size_t i = 0; i < r->nr; i++)
		if (r->shared->slots[i].is_created)
			(void)kill((pid_t)r->procs[i].process->pid, SIGKILL);
	for (size_t i = 0; i < r->nr; i++)
		if (r->shared->slots[i].is_created)
			kill_and_reap((pid_t)r->procs[i].process->pid);
	for (uint32_t i = 0; i < nr_helpers && i < 64; i++)
		kill_and_reap(r->shared->helpers[i]);
}

static int run_builder(struct restore *r, struct stasis_restored *ret, struct stasis_error *err)
{
	pid_t builder;

	r->caller = getpid();
	builder = r->is_namespace ? namespace_fork(r, err) : fork();
	if (builder == 0)
		builder_main(r);
	if (builder < 0)
		return r->is_namespace ? -1 : stasis_fail_errno(err, STASIS_E_IO, "fork");
	if (await_outcome(r, builder, err) < 0) {
		destroy_tree(r, builder);
		return -1;
	}
	ret->saved_pid = (pid_t)r->procs[0].process->pid;
	ret->root = r->is_namespace ? namespace_root_pid(r, builder) : ret->saved_pid;
	ret->nr_procs = r->nr;
	ret->status_fd = r->status_fd;
	r->status_fd = -1;
	__atomic_store_n(&r->shared->outcome, RESTORE_SEEN, __ATOMIC_SEQ_CST);
	shared_wake(&r->shared->outcome);
	if (!r->is_namespace)
		(void)waitpid(builder, NULL, 0);
	return 0;
}

/*
 * A free pid may be taken between the look at it and its use, by any fork() on the machine: likely enough
 * for a tree of hundreds of threads. Then what there is of the tree is undone, and all is tried again.
 */
static int run_builder_patiently(struct restore *r, struct stasis_restored *ret,
				 struct stasis_error *err)
{
	for (int tries = 1;; tries++) {
		struct stasis_error why;

		if (choose_way(r, err) < 0 || birth_plan(r, err) < 0 || shared_create(r, err) < 0)
			return -1;
		if (run_builder(r, ret, &why) == 0)
			return 0;
		if (tries == BUSY_TRIES || why.cls != STASIS_E_BUSY || why.sys_errno != EEXIST) {
			if (err)
				*err = why;
			return -1;
		}
		s_info(r->s, "a pid was taken meanwhile, once more: %s", why.text);
		shared_destroy(r);
	}
}

int restore_run(struct session *s, const struct stasis_restore_opts *opts,
		struct stasis_restored *ret, struct stasis_error *err)
{
	scoped(restore_done) struct restore r = {
		.s = s, .opts = opts, .dirfd = -1, .status_fd = -1};
	scoped_fd int procdir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int was_subreaper = 0, result;

	s->procdir = procdir;
	s->is_forced = opts->flags & STASIS_RESTORE_FORCE;
	if (restore_load(&r, err) < 0 || restore_check(&r, err) < 0 || restore_plan_ipc(&r, err) < 0)
		return -1;
	(void)prctl(PR_GET_CHILD_SUBREAPER, &was_subreaper);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	result = run_builder_patiently(&r, ret, err);
	(void)prctl(PR_SET_CHILD_SUBREAPER, was_subreaper);
	return result;
}

int restore_verify(struct session *s, int dirfd, const char *name, struct stasis_error *err)
{
	const struct stasis_restore_opts opts = {.dirfd = dirfd, .name = name};
	scoped(restore_done) struct restore r = {
		.s = s, .opts = &opts, .dirfd = -1, .status_fd = -1};

	if (restore_load(&r, err) < 0)
		return -1;
	for (size_t i = 0; i < r.nr; i++)
		if (image_verify_data(r.procs[i].image, 2, err) < 0)
			return -1;
	return 0;
}
