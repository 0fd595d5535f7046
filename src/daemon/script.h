/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch script is saved with the steps that it runs: in its tree each is an srun, which is not saved but begun
 * again by a restart (STAND-INS of the engine), and then restarts its step from images that were made with the
 * script's.
 */
#ifndef DAEMON_SCRIPT_H
#define DAEMON_SCRIPT_H

#include "daemon/slurm_query.h"

#include <stdbool.h>

enum { SCRIPT_MAX_SRUNS = 64 };

/* One srun below the script, and the step it runs. */
struct script_step {
	pid_t srun;
	uint32_t step;
	uint64_t tasks; /* that the step has on all nodes */
	uint64_t sent;	/* quiet_input() of the srun */
	char (*nodes)[SLURM_NAME_LEN];
	size_t nr_nodes;
};

struct script_steps {
	size_t nr;
	struct script_step *steps;
};

/*
 * What runs below the script whose root is that process. An srun without a step yet, or one that is just
 * ending, is waited for, some seconds, then BUSY; one that cannot be begun again is UNSUPPORTED.
 */
int script_find_steps(const struct slurm_job *job, pid_t root, const char *node, struct script_steps *ret,
		      struct stasis_error *err);
void script_done(struct script_steps *s); /* for scoped() */

/*
 * The same as one field of a message to the node where the script runs, and back there: "PID:STEP:SENT"s. Only
 * srun, step and sent are filled.
 */
int script_encode(const struct script_steps *s, char *buf, size_t size, struct stasis_error *err);
int script_decode(const char *text, struct script_steps *ret, struct stasis_error *err);

/* Name of the folder of a step's images beside those of the script. */
void script_name_step(uint32_t step, char *buf, size_t size);

#endif
