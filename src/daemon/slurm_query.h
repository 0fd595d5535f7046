/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Slurm knows, asked through its own commands: their output formats outlive the library's ABI. */
#ifndef DAEMON_SLURM_QUERY_H
#define DAEMON_SLURM_QUERY_H

#include "daemon/config.h"
#include "lib/error.h"
#include "wire/codes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SLURM_MAX_NODES = 4096, SLURM_MAX_STEPS = 1024, SLURM_NAME_LEN = 64, SLURM_ID_LEN = 32 };

struct slurm_job {
	/* As Slurm's commands take it: "42", and of a task of an array "40_2": the number of the array's last task is
	 * that of the array, and would stand for all of them. */
	char name[SLURM_ID_LEN];
	bool is_unsplit; /* tasks of an array that have not begun, all in one record */
	bool is_het;	 /* a component of a heterogeneous job */
	uint32_t het_leader; /* the job of the first component, which runs the script */
	unsigned het_offset;
	uid_t uid;
	gid_t gid;
	char state[24];	   /* RUNNING, PENDING, ... */
	bool has_script;   /* a batch job, and its script runs */
	char *nodes;	   /* list as Slurm writes it, "" for none */
	char *work_dir;
	struct job_traits traits;
	size_t nr_steps;   /* running ones, the batch script not among them */
	uint32_t *steps;
	char **step_nodes;
};

/* ret_is_known false: there is no such job. */
int slurm_job_load(uint32_t job, struct slurm_job *ret, bool *ret_is_known,
		   struct stasis_error *err);
void slurm_job_done(struct slurm_job *j); /* for scoped() */

/* A running step, and the srun that waits for it. */
struct slurm_step {
	uint32_t step;
	uint64_t tasks;
	char srun_host[SLURM_NAME_LEN];
	int srun_pid; /* as itself sees it */
	char *nodes;  /* list as Slurm writes it */
};

struct slurm_steps {
	size_t nr;
	struct slurm_step *steps;
};

/* name: that of struct slurm_job */
int slurm_steps_load(const char *name, struct slurm_steps *ret, struct stasis_error *err);
void slurm_steps_done(struct slurm_steps *l); /* for scoped() */
struct slurm_fate {
	uint64_t start, end; /* times; an end of 0: it is not known */
	uint64_t preempted;  /* when that was decided, 0: it is not */
	bool may_requeue;
	char nodes[2001]; /* list, as Slurm writes it */
};

int slurm_fate_load(uint32_t job, struct slurm_fate *ret, struct stasis_error *err);

/* Whether one of the nodes in the list is drained, or is to be. */
int slurm_is_drained(const char *nodes, bool *ret, struct stasis_error *err);

/* Index of the step in j->steps, or -1. */
ssize_t slurm_find_step(const struct slurm_job *j, uint32_t step);

/* The names in a node list; *ret is malloc()ed. */
int slurm_expand(const char *list, char (**ret)[SLURM_NAME_LEN], size_t *ret_nr,
		 struct stasis_error *err);

/* SlurmUser= of the cluster. */
int slurm_user(uid_t *ret, struct stasis_error *err);

/* scontrol WHAT NAME, that of struct slurm_job, as that user; its message is the error's text. */
int slurm_control(const char *what, const char *name, uid_t uid, gid_t gid, struct stasis_error *err);

/* Run a program to its end, 20 seconds at most, as that user; what it wrote, up to 1 MiB. */
int slurm_run(const char *const argv[], uid_t uid, gid_t gid, char **ret_out, int *ret_status,
	      struct stasis_error *err);

#endif
