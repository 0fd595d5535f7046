/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Result codes of requests: Slurm's error numbers (unchanged since 1.3, see <slurm/slurm_errno.h>), and
 * the EALREADY, EINVAL and so on of the system. */
#ifndef WIRE_CODES_H
#define WIRE_CODES_H

#include <stdint.h>
#include <stdio.h>

enum {
	CODE_UNEXPECTED_MSG = 1000,
	CODE_ACCESS_DENIED = 2002,
	CODE_INVALID_JOB_ID = 2017,
	CODE_ALREADY_DONE = 2021,
	CODE_JOB_PENDING = 2024,
	CODE_NOT_SUPPORTED = 2036,
	CODE_DISABLED = 2037,
	CODE_JOB_SUSPENDED = 2077,
	CODE_JOB_NOT_FINISHED = 2088,
	CODE_NOT_RUNNING = 4027,
};

/* Step numbers that mean the job: NO_VAL (and SLURM_BATCH_SCRIPT up to 20.02), SLURM_BATCH_SCRIPT since. */
#define STEP_NO_VAL 0xfffffffeu
#define STEP_BATCH_SCRIPT 0xfffffffbu

static inline int step_is_job(uint32_t step)
{
	return step == STEP_NO_VAL || step == STEP_BATCH_SCRIPT;
}

/* The number of a checkpoint's folder "gen.N"; 0 when the name is not such a one. */
static inline unsigned generation_of(const char *name)
{
	unsigned n;
	int end = 0;

	return sscanf(name, "gen.%9u%n", &n, &end) == 1 && !name[end] ? n : 0;
}

#endif
