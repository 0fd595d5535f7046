/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may happen to a job before which it is to be checkpointed: the list of --checkpoint-on. */
#ifndef WIRE_EVENTS_H
#define WIRE_EVENTS_H

#include <stdbool.h>

enum {
	EVENT_PREEMPT = 1u << 0, /* another job takes its place, after a time of grace */
	EVENT_LIMIT = 1u << 1,	 /* its time limit is near */
	EVENT_DRAIN = 1u << 2,	 /* one of its nodes is to be drained */
	EVENTS_ALL = EVENT_PREEMPT | EVENT_LIMIT | EVENT_DRAIN,
};

/* The signal by which Slurm tells a batch job's shepherd of the first two: harmless to every program that does
 * not ask for it. */
#define EVENT_SIGNAL	  SIGURG
#define EVENT_SIGNAL_NAME "URG"

/* "preempt,limit,drain", in any order and case, or "none". False, without *ret, for anything else. */
bool events_parse(const char *text, unsigned *ret);

#endif
