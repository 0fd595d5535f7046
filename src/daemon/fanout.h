/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many nodes asked through few: the nodes of a round (node.h) are split into `tree-width` branches; the
 * daemon at the head of each does its own part and asks the others of its branch in the same way. What
 * they answer comes back as one answer for the whole branch.
 *
 * All nodes are needed or there is no checkpoint, so that a head that cannot be reached, ends or is silent
 * ends the round: nobody else could do its part. The nodes below it see the end of their connection or, when
 * nothing ends, find the decision in the folder (store_is_decided()). Each level has a little less time than
 * the one above, so that a silent node is named by who asked it.
 */
#ifndef DAEMON_FANOUT_H
#define DAEMON_FANOUT_H

#include "daemon/config.h"
#include "daemon/slurm_query.h"
#include "wire/wire.h"

#include <poll.h>

/* What a part of a round came to; of a branch: added up, or the longest. */
struct report {
	uint64_t bytes, tasks;
	uint64_t stopped_us;			       /* how long a task stood still */
	uint64_t freeze_us, save_us, commit_us, resume_us; /* see struct stasis_dump_result */
	uint64_t nodes;
	uint64_t messages; /* over all connections below */
	uint64_t depth;	   /* of the tree below: 0 for a node that asks no other */
};

int report_put(const struct report *r, struct wire_msg *m, struct stasis_error *err);
int report_take(const struct wire_msg *m, struct report *ret, struct stasis_error *err);
void report_add(struct report *sum, const struct report *r);

struct branch {
	char name[SLURM_NAME_LEN];
	struct wire_conn conn;
	uint64_t messages;
	bool is_due; /* has not answered yet in this phase */
};

struct fanout {
	const struct config *c;
	size_t nr;
	struct branch *branches;
	struct report sum;	 /* of the branches that have answered in this phase */
	char at[SLURM_NAME_LEN]; /* after a failure: the node that it is about */
};

/*
 * Connect to the heads of the branches, then let all of them prepare.
 *
 *   nodes, nr  names of all nodes to ask
 *   order      fields of the "prepare" that are the same for all nodes
 *   left_ms    time for all of it
 *
 * Returns 0, or -1 with *err and f->at. fanout_done() in any case.
 */
int fanout_begin(struct fanout *f, const struct config *c, const char (*nodes)[SLURM_NAME_LEN], size_t nr,
		 const struct wire_msg *order, int64_t left_ms, struct stasis_error *err);

/* Nodes below, as another daemon names them: *ret is malloc()ed. CORRUPT when they are no names. */
int fanout_parse(const char *text, char (**ret)[SLURM_NAME_LEN], size_t *ret_nr, struct stasis_error *err);

/* The next phase, to all. Whom it does not reach is a failure only when err is given. */
int fanout_tell(struct fanout *f, const char *phase, struct stasis_error *err);

/* For poll(): f->nr entries; returns how many branches are due. */
size_t fanout_poll(const struct fanout *f, struct pollfd *p);

/* Take the answers that poll() has found. A branch that fails is not due any more. */
int fanout_hear(struct fanout *f, const struct pollfd *p, const char *phase, struct stasis_error *err);

/* All answers to a phase, or those that come before the deadline (CLOCK_MONOTONIC, ms). */
int fanout_await(struct fanout *f, const char *phase, int64_t deadline, struct stasis_error *err);

/* TIMEOUT: fails, with the name of one that is due. */
int fanout_late(struct fanout *f, struct stasis_error *err);

/* Close; an end of file says to who still listens that the round is over. */
void fanout_done(struct fanout *f);

#endif
