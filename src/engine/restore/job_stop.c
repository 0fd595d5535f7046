/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The signal that a process stopped by job control is stopped with again. Its parent may ask
 * (WSTOPSIG of waitpid(2)): bash prints "Stopped" for SIGTSTP and "Stopped (signal)" for SIGSTOP. But only
 * SIGSTOP stops whatever the disposition is, so the others are sent just where the kernel will obey.
 */
#include "restore/restore_priv.h"

#include <signal.h>

static bool has_default_action(const struct restore_proc *p, int sig)
{
	for (size_t i = 0; i < p->process->n_sigactions; i++)
		if (p->process->sigactions[i]->signo == (uint32_t)sig)
			return false;
	return true;
}

static bool is_taken_by_some_thread(const struct restore_proc *p, int sig)
{
	for (size_t k = 0; k < p->nr_threads; k++)
		if (!(p->threads[k]->sigmask & 1ull << (sig - 1)))
			return true;
	return false;
}

/* Whom a shell looks after: in an orphaned process group these signals stop nobody (POSIX). Whose
 * parent is outside counts as an orphan. */
static bool has_shell(const struct restore *r, const struct restore_proc *p)
{
	for (size_t i = 1; i < r->nr; i++) {
		const Stasis__Process *one = r->procs[i].process;
		const Stasis__Process *parent = r->procs[r->procs[i].parent].process;

		if (one->pgid == p->process->pgid && one->state != STASIS__PROCESS_STATE__PROCESS_ZOMBIE &&
		    one->ppid == parent->pid && parent->sid == one->sid && parent->pgid != one->pgid)
			return true;
	}
	return false;
}

int job_stop_signal(const struct restore *r, const struct restore_proc *p)
{
	int sig = (int)p->process->exit_status;

	if ((sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) && has_default_action(p, sig) &&
	    is_taken_by_some_thread(p, sig) && has_shell(r, p))
		return sig;
	return SIGSTOP;
}
