/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether output is on its way from a step's tasks to where their srun writes it: in the pipe from a task, in
 * slurmstepd, in its connection to srun, or in srun. While the tasks stand still it comes to an end, and a script
 * that is stopped after it has all of it. Bytes that a process has read and not yet written cannot be seen; but it
 * would be writing them: one that has not run at all for a moment, and has nothing to read and nowhere a full
 * buffer in its way, has none. (Except the beginning of a line, which slurmstepd keeps until the rest has come.)
 *
 * All of it is for root.
 */
#ifndef DAEMON_QUIET_H
#define DAEMON_QUIET_H

#include "lib/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Until the slurmstepd of a step, whose tasks stand still, has passed all on. BUSY at the deadline (of
 * wire_now_ms()), GONE when it ends. */
int quiet_await_stepd(pid_t stepd, int64_t deadline, struct stasis_error *err);

/* The same for an srun, whose slurmstepds are quiet. */
int quiet_await_srun(pid_t srun, int64_t deadline, struct stasis_error *err);

/* How many bytes of input an srun has passed on so far; BUSY when some are on their way. A task that was saved
 * between two looks that agree did not miss any. */
int quiet_input(pid_t srun, uint64_t *ret_sent, struct stasis_error *err);

#endif
