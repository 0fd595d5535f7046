/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shepherds of batch scripts say of their restarts: a line for the journal; and a job that was restarted from
 * the same checkpoint too often, and each time ended at once, is held rather than run again for ever.
 */
#include "daemon/journal.h"
#include "daemon/request_priv.h"
#include "lib/scoped.h"

#include <stdio.h>
#include <string.h>

/* Why, where `scontrol show job` has it; the user's own Comment is left alone. */
static void set_reason(const struct request *r, const char *text)
{
	char job[16 + SLURM_ID_LEN], comment[560];
	const char *const argv[] = {"scontrol", "update", job, comment, NULL};
	scoped_free char *out = NULL;
	struct stasis_error err;
	int status;

	(void)snprintf(job, sizeof(job), "jobid=%s", r->info.name);
	(void)snprintf(comment, sizeof(comment), "admincomment=stasis: %s", text);
	if (slurm_run(argv, 0, 0, &out, &status, &err) < 0)
		journal(r->c, "job=%u admincomment: %s", (uint32_t)r->job, err.text);
}

static int hold(struct request *r, unsigned generation, unsigned nr)
{
	char text[240];

	(void)snprintf(text, sizeof(text),
		       "ended at once after each of %u restarts from checkpoint %u; held, 'scontrol release %s' "
		       "tries again", nr, generation, r->info.name);
	journal(r->c, "job=%u %s", (uint32_t)r->job, text);
	/* first, as the shepherd has to write it to the job's output before it is killed */
	(void)request_answer(r, CODE_DISABLED, NULL, 0, text);
	set_reason(r, text);
	if (slurm_control("requeuehold", r->info.name, r->info.uid, r->info.gid, &r->err) < 0)
		return -1;
	return CODE_DISABLED;
}

int request_restarting(struct request *r)
{
	const char *why = wire_get(r->m, "why");
	uint64_t generation, tries;

	if (!step_is_job((uint32_t)r->step))
		return CODE_NOT_SUPPORTED;
	if (wire_get_number(r->m, "generation", UINT32_MAX, 0, &generation, &r->err) < 0 ||
	    wire_get_number(r->m, "tries", UINT32_MAX, 0, &tries, &r->err) < 0)
		return -1;
	if (why)
		journal(r->c, "job=%u restarted from the older checkpoint %u: %s", (uint32_t)r->job,
			(unsigned)generation, why);
	if (tries > r->c->restarts)
		return hold(r, (unsigned)generation, (unsigned)tries - 1);
	return 0;
}
