/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Turns the images of a tree into the public description (restart -i, stasis show). */
#include "lib/scoped.h"
#include "restore/restore.h"
#include "restore/restore_priv.h"

#include <stdlib.h>

static int describe_proc(const struct restore_proc *p, struct stasis_proc_info *ret,
			 struct stasis_error *err)
{
	ret->pid = (pid_t)p->process->pid;
	ret->ppid = (pid_t)p->process->ppid;
	ret->pgrp = (pid_t)p->process->pgid;
	ret->sid = (pid_t)p->process->sid;
	ret->is_zombie = !p->mm;
	ret->user_ns = p->process->utime_ns;
	ret->system_ns = p->process->stime_ns;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", p->process->comm);
	return p->mm ? fd_describe_image(p->image, ret, err) : 0;
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
