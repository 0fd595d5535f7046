/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_REQUEST_PRIV_H
#define DAEMON_REQUEST_PRIV_H

#include "daemon/config.h"
#include "daemon/slurm_query.h"
#include "wire/wire.h"

/* One request about a job or step. Functions return 0, an error code of wire/codes.h, or -1 with err. */
struct request {
	const struct config *c;
	struct config own; /* what c leads to once it is known which job it is */
	struct wire_conn *conn; /* NULL: nobody waits for an answer */
	const struct wire_msg *m;
	uid_t uid; /* who asks */
	uint64_t job, step;
	struct slurm_job info;
	struct stasis_error err;
	bool is_answered;
};

/* Fill info of a job that runs, and whose first node for this step is ours; -1 otherwise. */
int request_load_running(struct request *r);

/* request_checkpoint.c: create, vacate, requeue; answers by itself once it has begun. */
int request_checkpoint(struct request *r, const char *op);

/* request_state.c: able, disable, enable, complete, task_complete, error, tasks, restart. */
int request_able(struct request *r);
int request_disable(struct request *r);
int request_enable(struct request *r);
int request_complete(struct request *r);
int request_error(struct request *r);
int request_list(struct request *r);
int request_restart(struct request *r);

/* restarts.c: restarting, of shepherds. */
int request_restarting(struct request *r);

/* request.c: send rc and, with NULL for none, one more field of text and of number. */
int request_answer(struct request *r, int code, const char *number_key, uint64_t number,
		   const char *text);

int request_send(struct request *r, const struct wire_msg *answer);

/* Keep the outcome of an operation: its code and message, when the code is higher than what there is. */
int request_note(struct request *r, uint32_t job, uint32_t step, uint32_t code, const char *message);

/* Whether a job of this kind is checkpointed and restarted under this number: 0, or -1 with r->err. */
int request_check_kind(struct request *r);

/* The code that stands for an error of the engine. */
int request_code_of(const struct stasis_error *err);

#endif
