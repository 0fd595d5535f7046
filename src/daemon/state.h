/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of a job or step between requests, in RUN/state, so that a daemon that was killed
 * has lost nothing. That an operation is in progress is a file lock of the process that does it: it
 * cannot outlive it.
 */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include "daemon/config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct state {
	uint64_t disabled;   /* requests to disable that were not taken back */
	uint64_t begin;	     /* time the last operation began; 0: none yet */
	uint64_t code;	     /* its highest error code */
	char message[512];   /* and the message with that */
	uint64_t automatic;  /* time of the last automatic checkpoint */
	uint64_t watched;    /* time of the last question to Slurm what is to become of the job */
	uint64_t due;	     /* when its time limit is a reason for a checkpoint, 0: not known */
	uint64_t tried, tries; /* last attempt because of such an event, and how many failed */
	uint64_t saved;	     /* time of the last one that was made, 0: none */
	uint64_t bytes, tasks;
	char folder[PATH_MAX];
	char own_dir[PATH_MAX]; /* where the job looks for it */
	uint64_t named;	     /* 1: somebody asked for that folder, and takes care of it */
	uint64_t uid, gid;   /* whose it is */
	uint64_t asked;	     /* time when Slurm told the following, 0: not yet */
	struct job_traits traits;
	uint64_t looked;     /* time of the last look whether the job is complete */
	uint64_t completed;  /* time it was seen to be, 0: not yet */
};

/* All of them are for root's file rights. */
int state_prepare(const struct config *c, struct stasis_error *err);
int state_read(const struct config *c, uint32_t job, uint32_t step, struct state *ret,
	       struct stasis_error *err);

/* Read, change, write, as one step for everybody. change() returns 0, or a code that is passed on and leaves
 * everything as it was. */
int state_change(const struct config *c, uint32_t job, uint32_t step,
		 int (*change)(struct state *s, void *arg), void *arg, struct stasis_error *err);

/* The lock of an operation: a descriptor to keep, or -1 when another one is in progress. */
int state_lock_operation(const struct config *c, uint32_t job, uint32_t step);
bool state_is_busy(const struct config *c, uint32_t job, uint32_t step);

/* Operations of this node at the same time are bounded, and so are those that wait for their turn: with
 * them, STATE_WAITING times as many. A descriptor to keep, or -1 when there is no room, or no turn in time. */
enum { STATE_WAITING = 4 };
int state_enter(const struct config *c);
int state_await_slot(const struct config *c, unsigned max_wait_s);

/* Whether a complaint about somebody unknown may be written: not more than one in a second. */
bool state_may_complain(const struct config *c);

/* Calls fn for each job or step of which something is remembered. */
void state_each(const struct config *c, void (*fn)(void *arg, uint32_t job, uint32_t step), void *arg);

/* Forget what has not changed for a week. */
void state_expire(const struct config *c);

#endif
