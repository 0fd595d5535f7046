/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The checkpoint functions of Slurm up to 19.05, with their names and C interface, answered by stasisd(8).
 * Link with -lslurmckpt.
 *
 * Each returns 0, or on error the error code, which is in errno as well (slurm_checkpoint_complete() and
 * slurm_checkpoint_task_complete(): -1, with the code in errno); -1 when no daemon could be asked. Codes
 * are those of <slurm/slurm_errno.h> and of errno(3). See slurm_checkpoint(3).
 *
 * step_id NO_VAL or SLURM_BATCH_SCRIPT is the whole job: the script of a batch job, else every step. The
 * old value of SLURM_BATCH_SCRIPT (0xfffffffe) means the same as today's (0xfffffffb).
 */
#ifndef SLURM_SLURM_CHECKPOINT_H
#define SLURM_SLURM_CHECKPOINT_H

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

int slurm_checkpoint_able(uint32_t job_id, uint32_t step_id, time_t *start_time);
int slurm_checkpoint_disable(uint32_t job_id, uint32_t step_id);
int slurm_checkpoint_enable(uint32_t job_id, uint32_t step_id);
int slurm_checkpoint_create(uint32_t job_id, uint32_t step_id, uint16_t max_wait, char *image_dir);
int slurm_checkpoint_requeue(uint32_t job_id, uint16_t max_wait, char *image_dir);
int slurm_checkpoint_vacate(uint32_t job_id, uint32_t step_id, uint16_t max_wait, char *image_dir);
int slurm_checkpoint_restart(uint32_t job_id, uint32_t step_id, uint16_t stick, char *image_dir);
int slurm_checkpoint_complete(uint32_t job_id, uint32_t step_id, time_t begin_time,
			      uint32_t error_code, char *error_msg);
int slurm_checkpoint_task_complete(uint32_t job_id, uint32_t step_id, uint32_t task_id,
				   time_t begin_time, uint32_t error_code, char *error_msg);
/* *error_msg is to be passed to free(3). */
int slurm_checkpoint_error(uint32_t job_id, uint32_t step_id, uint32_t *error_code,
			   char **error_msg);
int slurm_checkpoint_tasks(uint32_t job_id, uint16_t step_id, time_t begin_time, char *image_dir,
			   uint16_t max_wait, char *nodelist);

#ifdef __cplusplus
}
#endif
#endif
