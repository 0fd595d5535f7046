/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Turns the images of a tree into the public description (restart -i, stasis show). */
#include "lib/scoped.h"
#include "restore/restore.h"
#include "restore/restore_priv.h"

#include <stdlib.h>
#include <string.h>

static char **copy_strings(char **list, size_t nr)
{
	char **copy = calloc(nr + 1, sizeof(*copy));

	for (size_t i = 0; copy && i < nr; i++)
		copy[i] = strdup(list[i]);
	if (!copy || !nr || copy[nr - 1])
		return copy;
	for (size_t i = 0; i < nr; i++)
		free(copy[i]);
	free(copy);
	return NULL;
}

static int describe_stand_in(const Stasis__StandIn *s, struct stasis_proc_info *ret)
{
	if (!s)
		return 0;
	ret->stand_in = strdup(s->label);
	ret->argv = copy_strings(s->argv, s->n_argv);
	ret->env = copy_strings(s->env, s->n_env);
	ret->env_of_root = copy_strings(s->env_of_root, s->n_env_of_root);
	return ret->stand_in && ret->argv && ret->env && ret->env_of_root ? 0 : -1;
}

static int describe_proc(const struct restore_proc *p, struct stasis_proc_info *ret,
			 struct stasis_error *err)
{
	ret->pid = (pid_t)p->process->pid;
	ret->ppid = (pid_t)p->process->ppid;
	ret->pgrp = (pid_t)p->process->pgid;
	ret->sid = (pid_t)p->process->sid;
	ret->is_zombie = !p->fdtable;
	ret->user_ns = p->process->utime_ns;
	ret->system_ns = p->process->stime_ns;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", p->process->comm);
	if (describe_stand_in(p->process->stand_in, ret) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory to describe the tree");
	return p->fdtable ? fd_describe_image(p->image, ret, err) : 0;
}

static void free_info(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

int restore_inspect(struct session *s, int dirfd, const char *name, struct stasis_tree_info **ret,
		    struct stasis_error *err)
{
	const struct stasis_restore_opts opts = {.dirfd = dirfd, .name = name};
	scoped(restore_done) struct restore r = {
		.s = s, .opts = &opts, .dirfd = -1, .status_fd = -1};
	scoped(free_info) struct stasis_tree_info *info = calloc(1, sizeof(*info));

	if (restore_load(&r, err) < 0)
		return -1;
	if (info)
		info->procs = calloc(r.nr, sizeof(*info->procs));
	if (!info || !info->procs)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory to describe the tree");
	for (size_t i = 0; i < r.nr; i++) {
		info->nr_procs++;
		if (describe_proc(&r.procs[i], &info->procs[i], err) < 0)
			return -1;
	}
	*ret = ptr_take(&info);
	return 0;
}
