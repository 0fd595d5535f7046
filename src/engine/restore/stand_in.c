/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes whose program was not saved (dump/stand_in.c): they are born like all others, with their pid,
 * relations and descriptors, wait until the tree is whole, and then call execve(2).
 *
 * Each is bound to its parent until then, and lets go of it before the parent runs: that one may end at once.
 */
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_STRINGS = 1 << 20, NR_CAPS = 64, SIGSET_BYTES = 8, EXIT_NOT_STARTED = 127 };

int stand_in_check(const struct restore_proc *p, struct stasis_error *err)
{
	const Stasis__StandIn *s = p->process->stand_in;

	if (*s->exe != '/' || !s->n_argv || !s->creds || s->n_argv > MAX_STRINGS ||
	    s->n_env > MAX_STRINGS || s->n_env_of_root > MAX_STRINGS || p->fdtable->n_locks ||
	    p->process->state != STASIS__PROCESS_STATE__PROCESS_RUNNING || p->process->leader)
		return stasis_fail(err, STASIS_E_CORRUPT, "what process %u is to be begun with",
				   p->process->pid);
	return 0;
}

static const struct stasis_stand_in *find_wish(const struct restore *r, const struct restore_proc *p)
{
	for (size_t i = 0; i < r->opts->nr_stand_ins; i++)
		if (r->opts->stand_ins[i].pid == (pid_t)p->process->pid)
			return &r->opts->stand_ins[i];
	return NULL;
}

/* In the files that the restarter sees: what is in a container may be elsewhere. */
int stand_in_check_all(const struct restore *r, struct stasis_error *err)
{
	if (r->procs[0].process->stand_in)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "image '%s' is of a process that was not saved: restart its hierarchy",
				   image_name(r->procs[0].image));
	for (size_t i = 0; i < r->nr; i++) {
		const Stasis__Process *p = r->procs[i].process;

		if (!p->stand_in || (p->namespaces && p->namespaces->mnt) || strcmp(p->root, "/") != 0 ||
		    access(p->stand_in->exe, X_OK) == 0)
			continue;
		return stasis_fail_errno(err, STASIS_E_GONE, "%s(%u) is to be started again: '%.150s'",
					 p->comm, p->pid, p->stand_in->exe);
	}
	return 0;
}

static void set_limits(struct restore *r, const struct restore_proc *p)
{
	for (size_t i = 0; i < p->process->n_rlimits; i++) {
		const Stasis__Rlimit *l = p->process->rlimits[i];
		uint64_t limit[2];
		struct rlimit value;

		if (!args_limit(r, p, l, limit))
			continue;
		value = (struct rlimit){.rlim_cur = limit[0], .rlim_max = limit[1]};
		(void)setrlimit((int)l->resource, &value); /* the inherited one stays */
	}
}

/* Capabilities are execve's affair: they follow from the ids and from the bounding set. */
static int set_creds(struct restore *r, const struct restore_proc *p, struct stasis_error *err)
{
	const Stasis__Creds *saved = p->process->stand_in->creds;
	const Stasis__Thread as_thread = {.creds = p->process->stand_in->creds};
	scoped_free uint32_t *groups = calloc(saved->n_groups + 1, sizeof(*groups));
	struct restorer_creds c;

	if (!groups)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for groups");
	if (creds_fill(r, p, &as_thread, &c, groups, saved->n_groups, err) < 0)
		return -1;
	for (unsigned long cap = 0; c.mode == RESTORER_CREDS_ALL && cap < NR_CAPS; cap++)
		if (!(c.cap_bnd >> cap & 1))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* EINVAL past the last */
	if (c.mode == RESTORER_CREDS_ALL &&
	    ((c.nr_groups != RESTORER_KEEP_GROUPS &&
	      syscall(SYS_setgroups, c.nr_groups, groups) < 0) ||
	     syscall(SYS_setresgid, c.rgid, c.egid, c.sgid) < 0 ||
	     syscall(SYS_setresuid, c.ruid, c.euid, c.suid) < 0))
		return stasis_fail_errno(err, STASIS_E_DENIED, "set user and group ids");
	if (c.no_new_privs)
		(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}

static const char **join(char **a, size_t nr_a, char **b, size_t nr_b)
{
	const char **all = calloc(nr_a + nr_b + 1, sizeof(*all));

	for (size_t i = 0; all && i < nr_a + nr_b; i++)
		all[i] = i < nr_a ? a[i] : b[i - nr_a];
	return all;
}

/* What is ignored and blocked outlives execve. */
static void set_signals(const Stasis__StandIn *s)
{
	const uint64_t mask = s->sig_blocked;

	/* not by sigaction(3), which keeps two signals for itself: make ignores these, too */
	for (int sig = 1; sig < NSIG; sig++) {
		const struct {
			uint64_t handler, flags, restorer, mask;
		} act = {.handler = (uintptr_t)(s->sig_ignored >> (sig - 1) & 1 ? SIG_IGN : SIG_DFL)};

		(void)syscall(SYS_rt_sigaction, sig, &act, NULL, SIGSET_BYTES); /* EINVAL for two */
	}
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, SIGSET_BYTES);
}

static void arrive(uint32_t *word, size_t all)
{
	if (__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST) >= all)
		shared_wake(word);
}

static void __attribute__((__noreturn__)) begin(const struct restore_proc *p, const char *const *argv,
						const char *const *env)
{
	const Stasis__StandIn *s = p->process->stand_in;

	set_signals(s);
	/* execve() is declared for writable strings, which it does not write to */
	(void)execve(s->exe, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	(void)dprintf(STDERR_FILENO, "restart: %s: %s\n", s->exe, strerror(errno));
	_exit(EXIT_NOT_STARTED);
}

int stand_in_run(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	const struct stasis_stand_in *wish = find_wish(r, p);
	const Stasis__StandIn *s = p->process->stand_in;
	const char *const *argv = wish && wish->argv ? wish->argv : join(s->argv, s->n_argv, NULL, 0);
	const char *const *env = wish && wish->env ? wish->env
						   : join(s->env_of_root, s->n_env_of_root, s->env, s->n_env);

	if (!argv || !env)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for arguments");
	set_limits(r, p);
	if (set_creds(r, p, err) < 0)
		return -1;
	arrive(&r->shared->control.ready, r->nr_threads + r->nr_stand_ins);
	if (shared_wait_for(r, &r->shared->stand_in_gate, 1) < 0)
		return shared_error(r, err);
	(void)prctl(PR_SET_PDEATHSIG, 0);
	r->shared->slots[p->index].is_off = 1;
	arrive(&r->shared->nr_stand_ins_off, r->nr_stand_ins);
	if (r->opts->flags & (STASIS_RESTORE_STOPPED | STASIS_RESTORE_TRACED))
		(void)raise(SIGSTOP);
	begin(p, argv, env);
}

int stand_in_let_go(struct restore *r, struct stasis_error *err)
{
	__atomic_store_n(&r->shared->stand_in_gate, 1, __ATOMIC_SEQ_CST);
	shared_wake(&r->shared->stand_in_gate);
	return build_await(r, &r->shared->nr_stand_ins_off, r->nr_stand_ins, err);
}
