/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that only look at what is remembered of a job or step, or change it; and restart, which is
 * Slurm's to do. */
#include "daemon/journal.h"
#include "daemon/request_priv.h"
#include "daemon/state.h"
#include "lib/scoped.h"

#include <stdio.h>
#include <string.h>

static int load(struct request *r, struct state *ret)
{
	return state_read(r->c, (uint32_t)r->job, (uint32_t)r->step, ret, &r->err);
}

int request_able(struct request *r)
{
	struct state s;

	if (load(r, &s) < 0)
		return -1;
	if (s.disabled)
		return CODE_DISABLED;
	if (!state_is_busy(r->c, (uint32_t)r->job, (uint32_t)r->step))
		s.begin = 0;
	(void)request_answer(r, 0, "start", s.begin, NULL);
	return 0;
}

static int count_up(struct state *s, void *arg)
{
	(void)arg;
	s->disabled += s->disabled < UINT16_MAX;
	return 0;
}

/* One enable more than there were disables changes nothing. */
static int count_down(struct state *s, void *arg)
{
	(void)arg;
	s->disabled -= s->disabled > 0;
	return 0;
}

int request_disable(struct request *r)
{
	return state_change(r->c, (uint32_t)r->job, (uint32_t)r->step, count_up, NULL, &r->err);
}

int request_enable(struct request *r)
{
	return state_change(r->c, (uint32_t)r->job, (uint32_t)r->step, count_down, NULL, &r->err);
}

int request_error(struct request *r)
{
	struct state s;

	if (load(r, &s) < 0)
		return -1;
	(void)request_answer(r, 0, "code", s.code, s.message);
	return 0;
}

/* The last checkpoint that was made. */
int request_list(struct request *r)
{
	struct wire_msg m = {.len = 0};
	struct state s;

	if (load(r, &s) < 0)
		return -1;
	if (!s.saved)
		return ENOENT;
	if (wire_put_number(&m, "rc", 0, &r->err) < 0 ||
	    wire_put_number(&m, "saved", s.saved, &r->err) < 0 ||
	    wire_put_number(&m, "bytes", s.bytes, &r->err) < 0 ||
	    wire_put_number(&m, "tasks", s.tasks, &r->err) < 0 ||
	    wire_put(&m, "folder", s.folder, &r->err) < 0)
		return -1;
	return request_send(r, &m);
}

/* ---- outcomes ---- */

struct outcome {
	uint64_t begin; /* 0 fits any operation */
	uint32_t code;
	const char *message;
};

static int keep_highest(struct state *s, void *arg)
{
	const struct outcome *o = arg;

	if (o->begin && o->begin != s->begin)
		return CODE_ALREADY_DONE;
	if (o->code > s->code) {
		s->code = o->code;
		(void)snprintf(s->message, sizeof(s->message), "%s", o->message);
	}
	return 0;
}

int request_note(struct request *r, uint32_t job, uint32_t step, uint32_t code, const char *message)
{
	struct outcome o = {.code = code, .message = message};

	return state_change(r->c, job, step, keep_highest, &o, &r->err);
}

/* Of steps only, never of a script. */
int request_complete(struct request *r)
{
	const char *message = wire_get(r->m, "message");
	struct outcome o = {.message = message ? message : ""};
	uint64_t code;

	if (step_is_job((uint32_t)r->step))
		return CODE_INVALID_JOB_ID;
	if (wire_get_number(r->m, "begin", UINT64_MAX, 0, &o.begin, &r->err) < 0 ||
	    wire_get_number(r->m, "code", UINT32_MAX, 0, &code, &r->err) < 0)
		return -1;
	o.code = (uint32_t)code;
	return state_change(r->c, (uint32_t)r->job, (uint32_t)r->step, keep_highest, &o, &r->err);
}

/* ---- restart ---- */

/* A vacated job waits, held, for this; its record and number are still there. */
int request_restart(struct request *r)
{
	const char *state = r->info.state;

	if (!step_is_job((uint32_t)r->step))
		return CODE_NOT_SUPPORTED;
	if (strcmp(state, "PENDING") != 0)
		return CODE_JOB_NOT_FINISHED;
	if (request_check_kind(r) < 0)
		return -1;
	if (r->info.is_unsplit)
		return stasis_fail(&r->err, STASIS_E_UNSUPPORTED, "job %u stands for all tasks of an array that have "
				   "not begun; restart a task by its own number (ARRAY_TASK)", (uint32_t)r->job);
	if (wire_get(r->m, "image_dir") || wire_get(r->m, "stick"))
		return CODE_NOT_SUPPORTED; /* it restarts from its newest checkpoint, wherever */
	return slurm_control("release", r->info.name, 0, 0, &r->err);
}
