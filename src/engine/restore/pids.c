/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ids for those that may not choose them: whoever is in a user namespace of the tree's own has no right in the
 * outermost pid namespace (clone(2), set_tid). A helper that has it writes ns_last_pid, and the id behind
 * that is the next to be given. The tree is in a pid namespace of its own then, where nobody else takes it; the
 * few processes of ours that are born meanwhile get ids that nobody in the image has.
 */
#include "lib/io.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_FREE_PID = 300, ONE = 1 };

static bool is_in_image(const struct restore *r, uint32_t pid)
{
	for (size_t i = 0; i < r->nr; i++) {
		const struct restore_proc *p = &r->procs[i];

		if (p->process->pid == pid || p->process->pgid == pid || p->process->sid == pid)
			return true;
		for (size_t k = 0; k < p->nr_threads; k++)
			if (p->threads[k]->tid == pid)
				return true;
	}
	return false;
}

/* Each time another one: the last may not be free yet. */
static pid_t next_free(const struct restore *r, pid_t *last)
{
	do
		++*last;
	while (is_in_image(r, (uint32_t)*last));
	return *last;
}

/* A write after a read of the same descriptor would be ignored, as one at another position than 0. */
static int set_next(int fd, pid_t pid)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", pid - 1);

	return pwrite(fd, text, (size_t)len, 0) == len ? 0 : -1;
}

static _Noreturn void serve(struct restore *r, pid_t last)
{
	struct restorer_control *c = &r->shared->control;
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	uint32_t state;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((state = __atomic_load_n(&c->pid_state, __ATOMIC_SEQ_CST)) != RESTORER_PID_OVER) {
		uint32_t answer = RESTORER_PID_IDLE;

		if (state != RESTORER_PID_ASKED) {
			(void)syscall(SYS_futex, &c->pid_state, FUTEX_WAIT, state, NULL, NULL, 0);
			continue;
		}
		if (set_next(fd, c->pid_wanted ? c->pid_wanted : next_free(r, &last)) < 0)
			answer = RESTORER_PID_FAILED;
		__atomic_store_n(&c->pid_state, answer, __ATOMIC_SEQ_CST);
		shared_wake(&c->pid_state);
	}
	_exit(0);
}

int pids_begin(void *restore, pid_t pid)
{
	struct restore *r = restore;
	struct restorer_control *c = &r->shared->control;

	while (__atomic_exchange_n(&c->pid_lock, 1, __ATOMIC_SEQ_CST))
		(void)syscall(SYS_futex, &c->pid_lock, FUTEX_WAIT, 1, NULL, NULL, 0);
	c->pid_wanted = pid;
	__atomic_store_n(&c->pid_state, RESTORER_PID_ASKED, __ATOMIC_SEQ_CST);
	shared_wake(&c->pid_state);
	while (__atomic_load_n(&c->pid_state, __ATOMIC_SEQ_CST) == RESTORER_PID_ASKED)
		(void)syscall(SYS_futex, &c->pid_state, FUTEX_WAIT, RESTORER_PID_ASKED, NULL, NULL, 0);
	return __atomic_load_n(&c->pid_state, __ATOMIC_SEQ_CST) == RESTORER_PID_IDLE ? 0 : -1;
}

void pids_end(void *restore)
{
	struct restorer_control *c = &((struct restore *)restore)->shared->control;

	__atomic_store_n(&c->pid_lock, 0, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, &c->pid_lock, FUTEX_WAKE, ONE, NULL, NULL, 0);
}

bool pids_are_needed(const struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (r->procs[i].process->namespaces && r->procs[i].process->namespaces->user)
			return true;
	return false;
}

static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

pid_t pids_fork(const struct restore *r)
{
	pid_t last = FIRST_FREE_PID;

	return fork_as(next_free(r, &last));
}

int pids_start(struct restore *r, struct stasis_error *err)
{
	static const struct ns_pids ops = {.begin = pids_begin, .end = pids_end};
	pid_t last = FIRST_FREE_PID + 1; /* that of pids_fork() */

	if (!pids_are_needed(r))
		return 0;
	r->pids_ops = ops;
	r->pids_ops.arg = r;
	ns_load_set_pids(r->ns, &r->pids_ops);
	r->pids_helper = fork_as(next_free(r, &last));
	if (r->pids_helper == 0)
		serve(r, last);
	return r->pids_helper < 0 ? stasis_fail_errno(err, STASIS_E_IO, "helper for pids") : 0;
}

void pids_stop(struct restore *r)
{
	struct restorer_control *c = &r->shared->control;

	if (r->pids_helper <= 0)
		return;
	__atomic_store_n(&c->pid_state, RESTORER_PID_OVER, __ATOMIC_SEQ_CST);
	shared_wake(&c->pid_state);
	(void)waitpid(r->pids_helper, NULL, 0);
	r->pids_helper = 0;
}
