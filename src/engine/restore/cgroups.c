/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* restart --cgroup: in which cgroups the processes of the tree are to be. */
#include "restore/restore_priv.h"

int cgroups_open(struct restore *r, struct stasis_error *err)
{
	const char *join = r->opts->cgroup == STASIS_CGROUP_JOIN ? r->opts->cgroup_path : NULL;

	if (r->opts->cgroup == STASIS_CGROUP_IGNORE)
		return 0;
	if (ns_cgroups_open(r->s, join, &r->cgroups, err) < 0)
		return -1;
	for (size_t i = 0; i < r->nr; i++) {
		const Stasis__Process *p = r->procs[i].process;

		if (ns_cgroups_add(r->cgroups, p->cgroups, p->n_cgroups, err) < 0)
			return stasis_fail_prefix(err, "%s(%u)", p->comm, p->pid);
		for (size_t k = 1; k < r->procs[i].nr_threads; k++) {
			const Stasis__Thread *th = r->procs[i].threads[k];

			if (ns_cgroups_add(r->cgroups, th->cgroups, th->n_cgroups, err) < 0)
				return stasis_fail_prefix(err, "%s(%u) thread %u", p->comm, p->pid, th->tid);
		}
	}
	return 0;
}

int cgroups_enter(struct restore *r, const struct restore_proc *p, struct stasis_error *err)
{
	if (!r->cgroups)
		return 0;
	return ns_cgroups_enter(r->cgroups, p->process->cgroups, p->process->n_cgroups, err);
}

int cgroups_place_threads(struct restore *r, struct stasis_error *err)
{
	for (size_t i = 0; i < r->nr && r->cgroups; i++)
		for (size_t k = 1; k < r->procs[i].nr_threads; k++) {
			const Stasis__Thread *th = r->procs[i].threads[k];

			if (ns_cgroups_place_thread(r->cgroups, (pid_t)th->tid, th->cgroups,
						    th->n_cgroups, err) < 0)
				return -1;
		}
	return 0;
}
