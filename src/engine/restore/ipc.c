/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which IPC namespace the tree's System V objects come back in: the one they were in, when their ids are free
 * there or they are still there unused; else, without privilege or with -F, one of the tree's own.
 */
#include "restore/restore_priv.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

enum { MOMENTS = 100, MOMENT_NS = 20000000 };

int restore_plan_ipc(struct restore *r, struct stasis_error *err)
{
	r->ipc_procs = calloc(r->nr, sizeof(*r->ipc_procs));
	if (!r->ipc_procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the plan");
	for (size_t i = 0; i < r->nr; i++)
		r->ipc_procs[i] = (struct ipc_proc){
			.pid = (pid_t)r->procs[i].process->pid,
			.image = r->procs[i].image,
			.process = r->procs[i].process,
		};
	return ipc_load_plan(r->s, r->ipc_procs, r->nr, &r->ipc, err);
}

int restore_choose_ipc(struct restore *r, struct stasis_error *err)
{
	const struct timespec moment = {.tv_nsec = MOMENT_NS};
	struct stasis_error why;
	bool may_move;
	int result = ipc_load_look(r->ipc, &may_move, &why);

	/* the processes that were killed a moment ago may be just going */
	for (int i = 0; i < MOMENTS && result < 0 && why.cls == STASIS_E_BUSY; i++) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
		result = ipc_load_look(r->ipc, &may_move, &why);
	}
	r->moves_ipc = false;
	if (result == 0)
		return 0;
	r->moves_ipc = may_move && (r->is_user_namespace || r->s->is_forced);
	if (!r->moves_ipc && err)
		*err = why;
	if (r->moves_ipc)
		s_info(r->s, "the processes get an IPC namespace of their own: %s", why.text);
	return r->moves_ipc ? 0 : -1;
}

static bool has_own(const struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (r->ns_procs[i].in && r->ns_procs[i].in->ipc)
			return true;
	return false;
}

int restore_move_ipc(struct restore *r, struct stasis_error *err)
{
	if (r->moves_ipc) {
		r->moved = calloc(r->nr, sizeof(*r->moved));
		if (!r->moved)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for the plan");
		for (size_t i = 0; i < r->nr; i++) {
			stasis__membership__init(&r->moved[i]);
			if (r->ns_procs[i].in)
				r->moved[i] = *r->ns_procs[i].in;
			if (!r->moved[i].ipc)
				r->moved[i].ipc = NS_MOVED_IPC;
			r->ns_procs[i].in = &r->moved[i];
		}
	}
	/* from the caller's namespace, which is not its user namespace's, it could not come back to */
	if (r->is_user_namespace && has_own(r) && unshare(CLONE_NEWIPC) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "make an IPC namespace");
	return 0;
}
