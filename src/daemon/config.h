/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "lib/error.h"

#include <stdbool.h>
#include <sys/types.h>

#define CONFIG_MAX_PATH 1024

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
	unsigned min_interval_s; /* between automatic checkpoints */
	unsigned checkpoint_on;	 /* EVENT_* for jobs that do not say */
	unsigned checkpoint_on_allowed; /* the others are not done for anybody */
	unsigned watch_s;	 /* between questions to Slurm about a job with such a wish */
	unsigned limit_margin_s; /* before the time limit */
	unsigned tree_width; /* nodes that one daemon speaks to in a checkpoint */
	unsigned operations; /* requests that are worked on at the same time */
};

/* Defaults, and what the file says instead; a file that is not there is no error when it is the default
 * one. Mistakes are USAGE, with the line. */
int config_read(const char *path, bool must_exist, struct config *ret, struct stasis_error *err);

#endif
