/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_POLICY_H
#define DAEMON_POLICY_H

#include "daemon/config.h"

#include <stdint.h>

/* The configuration as it is for this job, by what Slurm says of it; that is asked for at most once a minute, and
 * only where there are policies. *ret lives no longer than *c. */
void policy_find(const struct config *c, uint32_t job, uint32_t step, struct config *ret);

/* Seconds between automatic checkpoints of a task that asked so with --checkpoint=TEXT, or with NULL did not ask;
 * 0: there are none. */
uint64_t policy_interval(const struct config *c, const char *text);

/* Age of a task at which its first automatic checkpoint is due. Those of a thousand jobs that began together do
 * not fall together. */
uint64_t policy_first(const struct config *c, uint32_t job, uint64_t interval);

#endif
