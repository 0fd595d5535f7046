/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "lib/error.h"

#include <stdbool.h>
#include <sys/types.h>

#define CONFIG_MAX_PATH 1024

/* What a policy goes by: of a job, as Slurm has it. */
struct job_traits {
	char partition[64], qos[64], account[64];
};

struct policy;

/* stasis.yaml(5); one field for each key. */
struct config {
	char node[256];	   /* our name in Slurm; default: the host's, up to the first dot */
	char socket[108];  /* local requests */
	unsigned port;	   /* requests from other machines; 0: none are taken */
	char run[CONFIG_MAX_PATH];	 /* state that a reboot may end */
	char journal[CONFIG_MAX_PATH];	 /* one line for each operation */
	char directory[CONFIG_MAX_PATH]; /* default for image files; "": the job's working directory */
	unsigned keep;	     /* checkpoints of a job or step, when it does not say */
	unsigned max_keep;   /* whatever it says */
	unsigned restarts;   /* of a job that ends at once, from the same checkpoint */
	unsigned max_wait_s; /* for requests that do not say */
	unsigned interval_s;	 /* of automatic checkpoints of jobs that do not say; 0: none */
	unsigned min_interval_s; /* whatever they say */
	unsigned first_delay_s;	 /* from the begin of a task to its first one; 0: the interval */
	unsigned spread;	 /* percent of that by which it may come earlier */
	unsigned checkpoint_on;	 /* EVENT_* for jobs that do not say */
	unsigned checkpoint_on_allowed; /* the others are not done for anybody */
	unsigned watch_s;	 /* between questions to Slurm about a job with such a wish */
	unsigned limit_margin_s; /* before the time limit */
	unsigned tree_width; /* nodes that one daemon speaks to in a checkpoint */
	unsigned operations; /* requests that are worked on at the same time */
	unsigned clean_after_s; /* after a job is complete its checkpoints are deleted; CONFIG_NEVER */
	char look_in[CONFIG_MAX_PATH]; /* where a job looks for its checkpoints: "directory" without policies */
	unsigned scan_s;	 /* the shortest period that anything asks for */
	struct policy *policies; /* malloc()ed list */
};

#define CONFIG_NEVER (-1u)

/* Defaults, and what the file says instead; a file that is not there is no error when it is the default
 * one. Mistakes are USAGE, with the line. */
int config_read(const char *path, bool must_exist, struct config *ret, struct stasis_error *err);
void config_done(struct config *c);

/* For one job: every policy that fits, one after the other as in the file. *ret lives no longer than *c. */
void config_for_job(const struct config *c, const struct job_traits *t, struct config *ret);

#endif
