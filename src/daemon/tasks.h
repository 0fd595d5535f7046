/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_TASKS_H
#define DAEMON_TASKS_H

#include "lib/error.h"

#include <stdint.h>
#include <sys/types.h>

enum { TASKS_MAX = 1024 };

/* One task of a step on this node: the process that slurmstepd started, or what was restarted in its place. */
struct task_info {
	pid_t pid;	   /* root of what is to be saved */
	uint32_t global;   /* its number in the step */
	char *image_dir;   /* SLURM_CHECKPOINT_IMAGE_DIR of its environment, or NULL */
	char *interval;	   /* --checkpoint= as it was given, or NULL */
	char *on;	   /* --checkpoint-on=, likewise */
	char *keep;	   /* --checkpoint-keep= */
};

struct task_list {
	size_t nr;
	struct task_info *tasks;
	pid_t stepd; /* the slurmstepd, 0 when there is none */
};

/*
 * The tasks of a step (or STEP_BATCH_SCRIPT) on this node that belong to uid, found below its slurmstepd;
 * none is no error. Nothing that a user's process says of itself is believed but what concerns only its
 * own images.
 */
int tasks_find(uint32_t job, uint32_t step, uid_t uid, struct task_list *ret,
	       struct stasis_error *err);
/* Whosever they are. */
int tasks_find_any(uint32_t job, uint32_t step, struct task_list *ret, struct stasis_error *err);
void tasks_done(struct task_list *l); /* for scoped() */

/* Calls fn for each step whose slurmstepd runs on this node, until it returns non-zero; returns that. */
int tasks_each_step(int (*fn)(void *arg, uint32_t job, uint32_t step), void *arg);

#endif
