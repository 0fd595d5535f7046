/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_COORDINATE_H
#define DAEMON_COORDINATE_H

#include "daemon/config.h"
#include "daemon/fanout.h"
#include "daemon/script.h"
#include "daemon/slurm_query.h"

#include <limits.h>

/* A checkpoint of one step, or of a batch script, on all its nodes. */
struct checkpoint {
	uint32_t job, step;
	const char *name; /* of struct slurm_job, for `then` */
	uid_t uid;
	gid_t gid;
	const char *image_dir;
	const char *own_dir; /* where the job looks for them when it is restarted; NULL: there is no need */
	const char (*nodes)[SLURM_NAME_LEN];
	size_t nr_nodes;
	bool is_vacate;
	const struct script_steps *steps; /* of a script: what is saved with it; or NULL */
	const char *then; /* scontrol command once it is decided, before the kill: "requeue", "requeuehold"; or NULL */
	unsigned max_wait_s;
	unsigned keep; /* checkpoints in the folder, this one among them */
};

struct checkpoint_result {
	char folder[PATH_MAX]; /* of the images */
	struct report sum;     /* of all nodes */
	uint64_t round_ms;     /* from the first message to the last */
};

/*
 * All nodes or none: on failure every task runs on and no image is left. Returns 0, or -1 with *err.
 * `then` failing is a warning in the journal: the images are there.
 */
int checkpoint_run(const struct config *c, const struct checkpoint *what,
		   struct checkpoint_result *ret, struct stasis_error *err);

#endif
