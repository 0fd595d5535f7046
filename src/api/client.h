/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ask the daemon that keeps the state of a job: the one of the job's first node. */
#ifndef API_CLIENT_H
#define API_CLIENT_H

#include "wire/wire.h"

/* The answer's rc (0 or a code), or -1 with *err when there is none. timeout_ms is for the answer. */
int client_ask(uint32_t job, struct wire_msg *request, int timeout_ms, struct wire_msg *ret,
	       struct stasis_error *err);

/* The number of the job that squeue calls "ARRAY_TASK" or "JOB+COMPONENT": 0, a code, or -1 with *err. */
int client_find_job(const char *name, uint32_t *ret, struct stasis_error *err);

/* The daemon of this machine, whatever the job; with NULL for ret no answer is awaited. */
int client_ask_local(struct wire_msg *request, int timeout_ms, struct wire_msg *ret,
		     struct stasis_error *err);

#endif
