/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked, and by whom: opens the first frame, finds the job, checks that the asker may, and hands
 * over. The order of the checks is that of slurmctld when it still had this interface.
 */
#include "daemon/request.h"

#include "daemon/events.h"
#include "daemon/journal.h"
#include "daemon/node.h"
#include "daemon/request_priv.h"
#include "daemon/state.h"
#include "lib/scoped.h"

#include <string.h>

enum { ANSWER_MS = 10000 };

int request_send(struct request *r, const struct wire_msg *answer)
{
	if (!r->conn || r->is_answered)
		return 0;
	r->is_answered = true;
	(void)wire_send(r->conn, answer, r->uid, ANSWER_MS, NULL); /* he may have gone */
	return 0;
}

int request_answer(struct request *r, int code, const char *number_key, uint64_t number,
		   const char *text)
{
	struct wire_msg m = {.len = 0};
	struct stasis_error err;

	if (wire_put_number(&m, "rc", (uint64_t)code, &err) < 0 ||
	    (number_key && wire_put_number(&m, number_key, number, &err) < 0) ||
	    (text && wire_put(&m, "message", text, &err) < 0))
		return -1;
	return request_send(r, &m);
}

int request_code_of(const struct stasis_error *err)
{
	switch (err->cls) {
	case STASIS_E_OK:
		return 0;
	case STASIS_E_UNSUPPORTED:
		return CODE_NOT_SUPPORTED;
	case STASIS_E_DENIED:
		return EACCES;
	case STASIS_E_TIMEOUT:
		return ETIMEDOUT;
	case STASIS_E_NOMEM:
		return ENOMEM;
	case STASIS_E_USAGE:
	case STASIS_E_CORRUPT: /* a request that is none */
		return EINVAL;
	case STASIS_E_BUSY:
		return EAGAIN;
	default:
		return err->sys_errno ? err->sys_errno : EIO;
	}
}

/* ---- may he? ---- */

static int check_asker(struct request *r)
{
	uid_t slurm;

	if (r->uid == 0 || r->uid == r->info.uid)
		return 0;
	if (slurm_user(&slurm, &r->err) < 0)
		return -1;
	return r->uid == slurm ? 0 : CODE_ACCESS_DENIED;
}

static int check_running(struct request *r)
{
	const char *state = r->info.state;

	if (strcmp(state, "PENDING") == 0)
		return CODE_JOB_PENDING;
	if (strcmp(state, "SUSPENDED") == 0)
		return step_is_job((uint32_t)r->step) ? CODE_JOB_SUSPENDED : CODE_DISABLED;
	if (strcmp(state, "RUNNING") != 0)
		return CODE_ALREADY_DONE;
	if (!step_is_job((uint32_t)r->step) && slurm_find_step(&r->info, (uint32_t)r->step) < 0)
		return CODE_INVALID_JOB_ID;
	return 0;
}

int request_check_kind(struct request *r)
{
	const struct slurm_job *j = &r->info;

	if (j->is_het && j->het_offset)
		return stasis_fail(&r->err, STASIS_E_UNSUPPORTED, "job %u is component %u of the heterogeneous job %u, "
				   "which Slurm ends and starts as a whole; ask for job %u", (uint32_t)r->job,
				   j->het_offset, j->het_leader, j->het_leader);
	if (j->is_het && !step_is_job((uint32_t)r->step))
		return stasis_fail(&r->err, STASIS_E_UNSUPPORTED, "steps of a heterogeneous job are checkpointed with "
				   "its script only; ask for job %u", (uint32_t)r->job);
	return 0;
}

/* ---- what ---- */

static int dispatch(struct request *r, const char *op)
{
	static const struct {
		const char *name;
		int (*serve)(struct request *r);
	} simple[] = {
		{"able", request_able},		{"disable", request_disable},
		{"enable", request_enable},	{"error", request_error},
		{"list", request_list},		{"warned", request_warned},
		{"restarting", request_restarting},
		{"complete", request_complete}, {"task_complete", request_complete},
	};

	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
		if (strcmp(op, simple[i].name) == 0)
			return simple[i].serve(r);
	if (strcmp(op, "create") == 0 || strcmp(op, "vacate") == 0 || strcmp(op, "requeue") == 0 ||
	    strcmp(op, "tasks") == 0)
		return request_checkpoint(r, op);
	return EINVAL;
}

static int serve_job(struct request *r, const char *op)
{
	bool is_known = false;
	int code;

	if (wire_get_number(r->m, "job", UINT32_MAX, 0, &r->job, &r->err) < 0 ||
	    wire_get_number(r->m, "step", UINT32_MAX, STEP_NO_VAL, &r->step, &r->err) < 0 ||
	    slurm_job_load((uint32_t)r->job, &r->info, &is_known, &r->err) < 0)
		return -1;
	if (!is_known)
		return CODE_INVALID_JOB_ID;
	config_for_job(r->c, &r->info.traits, &r->own);
	r->c = &r->own;
	code = check_asker(r);
	if (code)
		return code;
	if (strcmp(op, "restart") == 0)
		return request_restart(r);
	code = check_running(r);
	return code ? code : dispatch(r, op);
}

static bool is_for_us(const struct config *c, const struct wire_conn *conn, const struct wire_msg *m)
{
	const char *node = wire_get(m, "node");

	return !conn->is_sealed || (node && strcmp(node, c->node) == 0);
}

static void serve_client(struct request *r, const char *op)
{
	int code = serve_job(r, op);

	if (code < 0)
		code = request_code_of(&r->err);
	else
		r->err.text[0] = '\0';
	journal(r->c, "uid=%u %s job=%u step=%d: %d%s%s", r->uid, op, (uint32_t)r->job,
		step_is_job((uint32_t)r->step) ? -1 : (int)r->step, code, *r->err.text ? " " : "",
		r->err.text);
	(void)request_answer(r, code, NULL, 0, *r->err.text ? r->err.text : NULL);
	slurm_job_done(&r->info);
}

void request_serve(const struct config *c, struct wire_conn *conn, char *bytes, size_t len)
{
	scoped_free struct wire_msg *m = calloc(1, sizeof(*m));
	struct request r = {.c = c, .conn = conn, .m = m};
	const char *op;

	if (!m || wire_open_frame(conn, bytes, len, m, &r.err) < 0) {
		if (state_may_complain(c)) /* else whoever connects could fill the disk */
			journal(c, "refused: %s", m ? r.err.text : "no memory");
		return; /* nobody that we know asked */
	}
	r.uid = conn->peer;
	op = wire_get(m, "op");
	if (!op || !is_for_us(c, conn, m)) {
		journal(c, "uid=%u refused: %s", r.uid, op ? "for another node" : "no operation");
		return;
	}
	if (strcmp(op, "prepare") != 0) {
		serve_client(&r, op);
		return;
	}
	if (r.uid == 0)
		node_serve(c, conn, m);
	else
		journal(c, "uid=%u refused: prepare is for root", r.uid);
}
