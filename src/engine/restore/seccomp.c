/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the seccomp filters of an image can be put back. They are installed while the builder has
 * them suspended (PTRACE_O_SUSPEND_SECCOMP), for what is left to be done in a thread need not be
 * allowed by them; the kernel permits that to root outside of user namespaces and filters only.
 */
#include "restore/restore_priv.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_FILTERS = 4096 }; /* of a process; the kernel bounds a chain to 32,768 instructions */

bool seccomp_is_wanted(const struct restore *r, const Stasis__Thread *th)
{
	return th->seccomp_mode && !r->drops_filters;
}

size_t seccomp_count(const struct restore *r)
{
	size_t nr = 0;

	for (size_t i = 0; i < r->nr; i++)
		for (size_t k = 0; k < r->procs[i].nr_threads; k++)
			nr += seccomp_is_wanted(r, r->procs[i].threads[k]);
	return nr;
}

static int check_programs(const Stasis__Process *p, struct stasis_error *err)
{
	if (p->n_seccomp_filters > MAX_FILTERS)
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu seccomp filters",
				   p->n_seccomp_filters);
	for (size_t i = 0; i < p->n_seccomp_filters; i++) {
		const Stasis__SeccompFilter *f = p->seccomp_filters[i];

		if (!f->program.len || f->program.len % sizeof(struct sock_filter) ||
		    f->program.len / sizeof(struct sock_filter) > BPF_MAXINSNS ||
		    f->flags & ~(uint32_t)SECCOMP_FILTER_FLAG_LOG)
			return stasis_fail(err, STASIS_E_CORRUPT, "seccomp filter %zu", i);
	}
	return 0;
}

static int check_thread(const Stasis__Process *p, const Stasis__Thread *th, struct stasis_error *err)
{
	bool is_filtered = th->seccomp_mode == SECCOMP_MODE_FILTER;

	if (th->seccomp_mode > SECCOMP_MODE_FILTER || th->n_seccomp > MAX_FILTERS ||
	    is_filtered != (th->n_seccomp > 0))
		return stasis_fail(err, STASIS_E_CORRUPT, "seccomp mode %u with %zu filters",
				   th->seccomp_mode, th->n_seccomp);
	for (size_t i = 0; i < th->n_seccomp; i++)
		if (th->seccomp[i] >= p->n_seccomp_filters)
			return stasis_fail(err, STASIS_E_CORRUPT, "seccomp filter %u of %zu",
					   th->seccomp[i], p->n_seccomp_filters);
	return 0;
}

static int check_records(const struct restore_proc *p, struct stasis_error *err)
{
	if (check_programs(p->process, err) < 0)
		return -1;
	for (size_t k = 0; k < p->nr_threads; k++)
		if (check_thread(p->process, p->threads[k], err) < 0)
			return -1;
	return 0;
}

/* Tried on a process that does nothing. */
static bool may_suspend(void)
{
	/* no SIGCHLD for the caller to wonder about */
	pid_t pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
	bool may;

	if (pid == 0)
		for (;;)
			(void)syscall(SYS_pause);
	if (pid < 0)
		return false;
	may = ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_SUSPEND_SECCOMP) == 0;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, __WALL);
	return may;
}

int seccomp_check(struct restore *r, struct stasis_error *err)
{
	for (size_t i = 0; i < r->nr; i++)
		if (check_records(&r->procs[i], err) < 0)
			return stasis_fail_prefix(err, "image '%s'",
						  image_name(r->procs[i].image));
	if (!seccomp_count(r) || (r->is_trusted && may_suspend()))
		return 0;
	if (!r->s->is_forced)
		return stasis_fail(err, STASIS_E_DENIED,
				   "the program was confined by seccomp filters, which only root can "
				   "put back, from an image that is root's; use -F to restart it "
				   "without");
	s_warn(r->s, "the seccomp filters of the program are left out");
	r->drops_filters = true;
	return 0;
}
