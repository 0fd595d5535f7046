/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choices are kept for every item from the start, at their defaults, so that a dialogue may be left
 * at any item and a log file need not name each of them.
 */
#include "cmds/selection.h"

#include <stdlib.h>

static struct selection_fd *default_fds(const struct stasis_proc_info *p, bool is_copying)
{
	struct selection_fd *fds = calloc(p->nr_fds ? p->nr_fds : 1, sizeof(*fds));

	for (size_t i = 0; fds && i < p->nr_fds; i++)
		fds[i].action =
			is_copying && p->fds[i].is_regular ? STASIS_FD_COPY : STASIS_FD_KEEP;
	return fds;
}

static bool fill_defaults(struct selection *sel, bool is_copying)
{
	size_t nr = sel->info->nr_procs;

	sel->procs = calloc(nr ? nr : 1, sizeof(*sel->procs));
	if (!sel->procs)
		return false;
	for (size_t i = 0; i < nr; i++) {
		sel->procs[i].fds = default_fds(&sel->info->procs[i], is_copying);
		if (!sel->procs[i].fds)
			return false;
	}
	return true;
}

struct selection *selection_create(const struct stasis_tree_info *info, bool is_copying,
				   struct stasis_error *err)
{
	struct selection *sel = calloc(1, sizeof(*sel));

	if (!sel)
		return stasis_fail_null(err, STASIS_E_NOMEM, "out of memory");
	sel->info = info;
	if (!fill_defaults(sel, is_copying)) {
		selection_free(sel);
		return stasis_fail_null(err, STASIS_E_NOMEM, "out of memory");
	}
	return sel;
}

static void free_fds(const struct stasis_proc_info *p, struct selection_fd *fds)
{
	for (size_t i = 0; fds && i < p->nr_fds; i++)
		free(fds[i].path);
	free(fds);
}

void selection_free(struct selection *sel)
{
	if (!sel)
		return;
	for (size_t i = 0; sel->procs && i < sel->info->nr_procs; i++)
		free_fds(&sel->info->procs[i], sel->procs[i].fds);
	free(sel->procs);
	free(sel->choices);
	free(sel->skip_pids);
	free(sel);
}

void selection_freep(struct selection **sel)
{
	selection_free(*sel);
}

void selection_set(struct selection *sel, size_t proc, size_t fd, enum stasis_fd_action action,
		   char *path)
{
	struct selection_fd *f = &sel->procs[proc].fds[fd];

	free(f->path);
	f->path = path;
	f->action = action;
}

static void add_choices(struct selection *sel, size_t proc)
{
	const struct stasis_proc_info *p = &sel->info->procs[proc];

	for (size_t i = 0; i < p->nr_fds; i++) {
		const struct selection_fd *f = &sel->procs[proc].fds[i];

		if (f->action == STASIS_FD_KEEP)
			continue;
		sel->choices[sel->nr_choices++] = (struct stasis_fd_choice){
			.pid = p->pid, .fd = p->fds[i].fd, .action = f->action, .path = f->path};
	}
}

int selection_finish(struct selection *sel, struct stasis_error *err)
{
	size_t nr_procs = sel->info->nr_procs, nr_fds = 0;

	for (size_t i = 0; i < nr_procs; i++)
		nr_fds += sel->info->procs[i].nr_fds;
	free(sel->choices);
	free(sel->skip_pids);
	sel->nr_choices = sel->nr_skip_pids = 0;
	sel->choices = calloc(nr_fds + 1, sizeof(*sel->choices));
	sel->skip_pids = calloc(nr_procs + 1, sizeof(*sel->skip_pids));
	if (!sel->choices || !sel->skip_pids)
		return stasis_fail(err, STASIS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < nr_procs; i++) {
		if (sel->procs[i].is_skipped)
			sel->skip_pids[sel->nr_skip_pids++] = sel->info->procs[i].pid;
		else
			add_choices(sel, i);
	}
	if (sel->nr_skip_pids == nr_procs)
		return stasis_fail(err, STASIS_E_USAGE, "no process is selected");
	return 0;
}
