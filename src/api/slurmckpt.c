/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The eleven functions of Slurm's old checkpoint interface. Their ways of returning errors differ, and are
 * kept: see slurm_checkpoint.h.
 */
#include <slurm/slurm_checkpoint.h>

#include "api/client.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <string.h>

enum { ANSWER_MS = 60000, COMMUNICATION_FAILED = -1 };

struct call {
	struct wire_msg request, reply;
	struct stasis_error err;
	int failed; /* errno of a field that could not be put */
};

static struct call *call_new(const char *op, uint32_t step)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	if (wire_put(&c->request, "op", op, &c->err) < 0 ||
	    wire_put_number(&c->request, "step", step, &c->err) < 0)
		c->failed = EINVAL;
	return c;
}

static void put_number(struct call *c, const char *key, uint64_t value)
{
	if (c && value && wire_put_number(&c->request, key, value, &c->err) < 0)
		c->failed = EINVAL;
}

static void put_text(struct call *c, const char *key, const char *value)
{
	if (c && value && wire_put(&c->request, key, value, &c->err) < 0)
		c->failed = EINVAL;
}

/* 0, a code (also in errno), or -1 with errno when nobody could be asked. */
static int call_do(struct call *c, uint32_t job)
{
	int rc;

	if (!c) {
		errno = ENOMEM;
		return ENOMEM;
	}
	if (c->failed) {
		errno = c->failed;
		return c->failed;
	}
	rc = client_ask(job, &c->request, ANSWER_MS, &c->reply, &c->err);
	if (rc >= 0)
		errno = rc;
	else
		errno = c->err.sys_errno ? c->err.sys_errno : ECOMM;
	return rc;
}

static int simple(struct call *call, uint32_t job)
{
	scoped_free struct call *c = call;

	return call_do(c, job);
}

int slurm_checkpoint_able(uint32_t job_id, uint32_t step_id, time_t *start_time)
{
	scoped_free struct call *c = call_new("able", step_id);
	int rc = call_do(c, job_id);
	uint64_t start;

	if (rc)
		return rc;
	if (wire_get_number(&c->reply, "start", INT64_MAX, 0, &start, NULL) < 0)
		start = 0;
	if (start_time)
		*start_time = (time_t)start;
	return 0;
}

int slurm_checkpoint_disable(uint32_t job_id, uint32_t step_id)
{
	return simple(call_new("disable", step_id), job_id);
}

int slurm_checkpoint_enable(uint32_t job_id, uint32_t step_id)
{
	return simple(call_new("enable", step_id), job_id);
}

static int save(const char *op, uint32_t job, uint32_t step, uint16_t max_wait, const char *image_dir)
{
	struct call *c = call_new(op, step);

	put_number(c, "max_wait", max_wait);
	put_text(c, "image_dir", image_dir);
	return simple(c, job);
}

int slurm_checkpoint_create(uint32_t job_id, uint32_t step_id, uint16_t max_wait, char *image_dir)
{
	return save("create", job_id, step_id, max_wait, image_dir);
}

int slurm_checkpoint_requeue(uint32_t job_id, uint16_t max_wait, char *image_dir)
{
	return save("requeue", job_id, STEP_BATCH_SCRIPT, max_wait, image_dir);
}

int slurm_checkpoint_vacate(uint32_t job_id, uint32_t step_id, uint16_t max_wait, char *image_dir)
{
	return save("vacate", job_id, step_id, max_wait, image_dir);
}

int slurm_checkpoint_restart(uint32_t job_id, uint32_t step_id, uint16_t stick, char *image_dir)
{
	struct call *c = call_new("restart", step_id);

	put_number(c, "stick", stick);
	put_text(c, "image_dir", image_dir);
	return simple(c, job_id);
}

/* -1 with errno, unlike the others. */
static int note(struct call *c, uint32_t job, time_t begin, uint32_t code, const char *message)
{
	put_number(c, "begin", begin > 0 ? (uint64_t)begin : 0);
	put_number(c, "code", code);
	put_text(c, "message", message);
	return simple(c, job) ? -1 : 0;
}

int slurm_checkpoint_complete(uint32_t job_id, uint32_t step_id, time_t begin_time,
			      uint32_t error_code, char *error_msg)
{
	return note(call_new("complete", step_id), job_id, begin_time, error_code, error_msg);
}

int slurm_checkpoint_task_complete(uint32_t job_id, uint32_t step_id, uint32_t task_id,
				   time_t begin_time, uint32_t error_code, char *error_msg)
{
	struct call *c = call_new("task_complete", step_id);

	put_number(c, "task", task_id);
	return note(c, job_id, begin_time, error_code, error_msg);
}

int slurm_checkpoint_error(uint32_t job_id, uint32_t step_id, uint32_t *error_code,
			   char **error_msg)
{
	scoped_free struct call *c = NULL;
	const char *message;
	uint64_t code = 0;
	int rc;

	if (!error_code || !error_msg) {
		errno = EINVAL;
		return EINVAL;
	}
	c = call_new("error", step_id);
	rc = call_do(c, job_id);
	if (rc == COMMUNICATION_FAILED)
		return rc;
	message = rc ? NULL : wire_get(&c->reply, "message");
	if (!rc && wire_get_number(&c->reply, "code", UINT32_MAX, 0, &code, NULL) < 0)
		code = 0;
	*error_code = (uint32_t)code;
	*error_msg = strdup(message ? message : "");
	errno = rc;
	return rc;
}

/* The nodes are those of the step: who said fewer would have had half a checkpoint. */
int slurm_checkpoint_tasks(uint32_t job_id, uint16_t step_id, time_t begin_time, char *image_dir,
			   uint16_t max_wait, char *nodelist)
{
	struct call *c = call_new("tasks", step_id);

	(void)nodelist;
	put_number(c, "begin", begin_time > 0 ? (uint64_t)begin_time : 0);
	put_number(c, "max_wait", max_wait);
	put_number(c, "wait", 1);
	put_text(c, "image_dir", image_dir);
	return simple(c, job_id);
}
