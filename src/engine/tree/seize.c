/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Becoming the tracer of a thread, and why that may fail. Options: none may disturb the tracee or
 * outlive us. TRACEFORK and its like attach children at birth, so that nobody escapes; TRACESYSGOOD
 * marks system call stops, which also makes them harmless when we die in one (the kernel would turn
 * an unmarked one into a real SIGTRAP).
 */
#include "lib/proc.h"
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <string.h>
#include <sys/ptrace.h>

enum {
	SEIZE_OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			PTRACE_O_TRACECLONE,
};

static enum seize_result fail_traced(pid_t tid, pid_t tracer, struct stasis_error *err)
{
	struct proc_stat st = {.comm = "?"};
	scoped_fd int procfd = proc_open(tracer, NULL);

	if (procfd >= 0)
		(void)proc_read_stat(procfd, "stat", &st, NULL); /* the name is an extra */
	(void)stasis_fail(err, STASIS_E_DENIED, "process %d is traced by process %d (%s)", tid,
			  tracer, st.comm);
	return SEIZE_FAILED;
}

/* PTRACE_SEIZE said EPERM: it does so for the dead too. */
static enum seize_result explain_refusal(struct stopper *st, struct task *t, pid_t tid,
					 struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status status = {.groups = NULL};
	struct proc_stat stat;
	char name[48];

	(void)snprintf(name, sizeof(name), "task/%d/stat", tid);
	if (proc_read_stat(t->procfd, name, &stat, NULL) < 0)
		return SEIZE_GONE;
	if (stat.state == 'Z')
		return SEIZE_ZOMBIE;
	if (stat.state == 'X')
		return SEIZE_GONE;
	(void)snprintf(name, sizeof(name), "task/%d/status", tid);
	if (proc_read_status(t->procfd, name, &status, NULL) < 0)
		return SEIZE_GONE;
	if (status.tracer == st->self_tid)
		return SEIZE_OK; /* attached at birth */
	if (status.tracer)
		return fail_traced(tid, status.tracer, err);
	(void)stasis_fail(err, STASIS_E_DENIED,
			  "process %d (%s) may not be traced: it belongs to another user, has more "
			  "privileges, or has switched dumping off",
			  tid, stat.comm);
	return SEIZE_FAILED;
}

enum seize_result thread_seize(struct stopper *st, struct task *t, pid_t tid,
			       struct stasis_error *err)
{
	if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)(uintptr_t)SEIZE_OPTIONS) < 0) {
		enum seize_result r;

		if (errno == ESRCH)
			return SEIZE_GONE;
		if (errno != EPERM) {
			(void)stasis_fail_errno(err, STASIS_E_IO, "trace process %d", tid);
			return SEIZE_FAILED;
		}
		r = explain_refusal(st, t, tid, err);
		if (r != SEIZE_OK)
			return r;
	}
	return SEIZE_OK;
}
