/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the administrator's policies make of a job, and of what its user wishes. */
#include "daemon/policy.h"

#include "daemon/slurm_query.h"
#include "daemon/state.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FRESH_S = 60 };

/* ---- which ---- */

static int keep_traits(struct state *s, void *arg)
{
	s->traits = *(const struct job_traits *)arg;
	s->asked = (uint64_t)time(NULL);
	return 0;
}

/* Slurm not answering is no reason to have other rules than a minute ago. */
static void ask(const struct config *c, uint32_t job, uint32_t step, struct job_traits *ret)
{
	struct slurm_job j;
	struct stasis_error err;
	bool is_known = false;

	if (slurm_job_load(job, &j, &is_known, &err) < 0)
		return;
	if (is_known && state_change(c, job, step, keep_traits, &j.traits, &err) == 0)
		*ret = j.traits;
	slurm_job_done(&j);
}

void policy_find(const struct config *c, uint32_t job, uint32_t step, struct config *ret)
{
	struct state s;

	if (!c->policies || state_read(c, job, step, &s, NULL) < 0) {
		*ret = *c;
		return;
	}
	if (s.asked + FRESH_S <= (uint64_t)time(NULL))
		ask(c, job, step, &s.traits);
	config_for_job(c, &s.traits, ret);
}

/* ---- when ---- */

/* "30", "1:30", "2-12": minutes; 0 when there is no interval in it. The plugin refuses other spellings. */
static uint64_t parse_interval(const char *text)
{
	unsigned d = 0, h = 0, m = 0, s = 0;
	const char *dash = strchr(text, '-');
	int n;

	if (*text < '0' || *text > '9') /* for scanf() -1 is a number, too */
		return 0;
	if (dash) {
		n = sscanf(dash + 1, "%5u:%5u:%5u", &h, &m, &s);
		return sscanf(text, "%5u-", &d) == 1 && n > 0 ? d * 86400ull + h * 3600ull + m * 60ull + s : 0;
	}
	n = sscanf(text, "%5u:%5u:%5u", &d, &h, &m); /* by position */
	if (n == 3)
		return d * 3600ull + h * 60ull + m;
	return n == 2 ? d * 60ull + h : n == 1 ? d * 60ull : 0;
}

uint64_t policy_interval(const struct config *c, const char *text)
{
	uint64_t interval = text ? parse_interval(text) : c->interval_s;

	return interval && interval < c->min_interval_s ? c->min_interval_s : interval;
}

uint64_t policy_first(const struct config *c, uint32_t job, uint64_t interval)
{
	uint64_t first = c->first_delay_s ? c->first_delay_s : interval;
	uint64_t share = (job * 2654435761u) >> 22; /* 0 to 1023, neighbours far apart (Knuth's multiplier) */
	uint64_t early = first * c->spread / 100 * share / 1024;

	return first - early < c->min_interval_s && first > c->min_interval_s ? c->min_interval_s : first - early;
}
