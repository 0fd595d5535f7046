/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program as one wrote them before Slurm 20.02: OPERATION JOB STEP [ARGUMENT]. Prints what the function
 * returned, errno, and what it gave back. Linked with -lslurmckpt and -lslurm.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

#include <slurm/slurm_checkpoint.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 0);
}

static int complete(uint32_t job, uint32_t step, const char *begin, const char *code, char *text)
{
	return slurm_checkpoint_complete(job, step, (time_t)strtoull(begin, NULL, 10), number(code), text);
}

int main(int argc, char **argv)
{
	uint32_t job, step, code = 77;
	char *arg, *message = NULL;
	time_t start = -1;
	int rc = -99, saved;

	if (argc < 4)
		return 2;
	job = number(argv[2]);
	step = number(argv[3]);
	arg = argc > 4 ? argv[4] : NULL;
	errno = 99;
	if (!strcmp(argv[1], "able"))
		rc = slurm_checkpoint_able(job, step, &start);
	else if (!strcmp(argv[1], "disable"))
		rc = slurm_checkpoint_disable(job, step);
	else if (!strcmp(argv[1], "enable"))
		rc = slurm_checkpoint_enable(job, step);
	else if (!strcmp(argv[1], "create"))
		rc = slurm_checkpoint_create(job, step, 60, arg);
	else if (!strcmp(argv[1], "vacate"))
		rc = slurm_checkpoint_vacate(job, step, 60, arg);
	else if (!strcmp(argv[1], "requeue"))
		rc = slurm_checkpoint_requeue(job, 60, arg);
	else if (!strcmp(argv[1], "restart"))
		rc = slurm_checkpoint_restart(job, step, 0, arg);
	else if (!strcmp(argv[1], "tasks"))
		rc = slurm_checkpoint_tasks(job, (uint16_t)step, 0, arg, 60, NULL);
	else if (!strcmp(argv[1], "complete") && argc == 7)
		rc = complete(job, step, argv[4], argv[5], argv[6]);
	else if (!strcmp(argv[1], "task_complete") && argc == 6)
		rc = slurm_checkpoint_task_complete(job, step, 0, 0, number(argv[4]), argv[5]);
	else if (!strcmp(argv[1], "error"))
		rc = slurm_checkpoint_error(job, step, &code, &message);
	else if (!strcmp(argv[1], "error-null"))
		rc = slurm_checkpoint_error(job, step, NULL, &message);
	saved = errno;
	printf("%d %d", rc, saved);
	if (start != -1)
		printf(" %lld", (long long)start);
	if (code != 77)
		printf(" %u '%s'", code, message);
	printf("\n");
	free(message);
	if (rc > 0 && !strcmp(argv[1], "disable"))
		slurm_perror((char *)(uintptr_t)"slurm_checkpoint_error:");
	return rc ? 1 : 0;
}
