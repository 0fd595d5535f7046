/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Slurm has in mind for a running job: when it ends it, and whether it runs it again afterwards. */
#include "daemon/slurm_query.h"

#include "lib/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A time in seconds since 1970 as SLURM_TIME_FORMAT=%s has it; 0 for "NONE", "N/A". */
static uint64_t time_of(const char *text)
{
	return *text >= '0' && *text <= '9' ? strtoull(text, NULL, 10) : 0;
}

/* Without padding between them the fields would still be apart: they are shorter than their columns. */
static bool parse_fate(const char *line, uint32_t job, struct slurm_fate *ret)
{
	char start[24], end[24], preempt[24], requeue[8];
	uint32_t id;
	int n = 0;

	if (sscanf(line, "%u %23s %23s %23s %7s %n", &id, start, end, preempt, requeue, &n) != 5 || !n || id != job)
		return false;
	*ret = (struct slurm_fate){
		.start = time_of(start),
		.end = time_of(end),
		.preempted = time_of(preempt),
		.may_requeue = strcmp(requeue, "0") != 0,
	};
	(void)snprintf(ret->nodes, sizeof(ret->nodes), "%.*s", (int)strcspn(line + n, " "), line + n);
	return true;
}

/* Of an array's number or a heterogeneous job's there are many lines. */
int slurm_fate_load(uint32_t job, struct slurm_fate *ret, struct stasis_error *err)
{
	char id[16];
	const char *const argv[] = {"squeue", "-h", "-j", id, "-O",
				    "JobID:12,StartTime:23,EndTime:23,PreemptTime:23,Requeue:7,NodeList:2000", NULL};
	scoped_free char *out = NULL;
	char *line, *rest;
	int status;

	(void)snprintf(id, sizeof(id), "%u", job);
	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	for (rest = out; (line = strsep(&rest, "\n"));)
		if (parse_fate(line, job, ret))
			return 0;
	return stasis_fail(err, STASIS_E_GONE, "squeue: %.180s", *out ? out : "no such job");
}

int slurm_is_drained(const char *nodes, bool *ret, struct stasis_error *err)
{
	const char *const argv[] = {"sinfo", "-h", "-N", "-n", nodes, "-t", "drain", "-o", "%N", NULL};
	scoped_free char *out = NULL;
	int status;

	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	if (status) {
		out[strcspn(out, "\n")] = '\0';
		return stasis_fail(err, STASIS_E_GONE, "sinfo: %.180s", out);
	}
	*ret = *out != '\0';
	return 0;
}
