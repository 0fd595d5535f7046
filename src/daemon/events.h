/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include "daemon/request_priv.h"
#include "daemon/tasks.h"

/* A look at a step that may want to be checkpointed before something happens (--checkpoint-on), from time to
 * time: at most every `watch` seconds Slurm is asked. Does what is due. True when that was so. */
bool events_watch(const struct config *c, uint32_t job, uint32_t step, const struct task_info *task);

/* The request of a shepherd that Slurm has warned: as above, at once. */
int request_warned(struct request *r);

#endif
