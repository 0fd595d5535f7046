/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a job as `scontrol show step` tells them. A step's name is its user's choice and stands in the middle
 * of the line: what comes before it is searched from the front, the rest from the back.
 */
#include "daemon/slurm_query.h"

#include "lib/scoped.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void slurm_steps_done(struct slurm_steps *l)
{
	for (size_t i = 0; i < l->nr; i++)
		free(l->steps[i].nodes);
	free(l->steps);
	*l = (struct slurm_steps){.nr = 0};
}

static const char *find_last(const char *line, const char *key)
{
	const char *found = NULL;

	for (const char *at = line; (at = strstr(at, key)); at++)
		found = at + strlen(key);
	return found;
}

/* Value of the first such field, without the rest of the line; "" when there is none. */
static int copy_first(const char *line, const char *key, char **ret)
{
	const char *at = strstr(line, key);

	at = at ? at + strlen(key) : "";
	*ret = strndup(at, strcspn(at, " "));
	return *ret ? 0 : -1;
}

/* Steps that have no number (batch, extern), and those of a heterogeneous job, are passed over. */
static int parse_step(const char *line, const char *name, struct slurm_steps *l, struct stasis_error *err)
{
	const char *srun = find_last(line, " SrunHost:Pid=");
	struct slurm_step *s = &l->steps[l->nr];
	scoped_free char *tasks = NULL;
	size_t len = strlen(name);
	int end = 0;

	if (strncmp(line, "StepId=", 7) != 0 || strncmp(line + 7, name, len) != 0)
		return 0;
	if (sscanf(line + 7 + len, ".%u%n", &s->step, &end) != 1 || line[7 + len + (size_t)end] != ' ')
		return 0;
	if (l->nr == SLURM_MAX_STEPS)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "more than %d steps", SLURM_MAX_STEPS);
	if (!srun || sscanf(srun, "%63[^: ]:%d", s->srun_host, &s->srun_pid) != 2)
		return stasis_fail(err, STASIS_E_IO, "scontrol says nothing of the srun of step %s.%u", name,
				   s->step);
	if (copy_first(line, " NodeList=", &s->nodes) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	l->nr++; /* from here on it is freed */
	if (copy_first(line, " Tasks=", &tasks) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	s->tasks = strtoull(tasks, NULL, 10);
	return 0;
}

int slurm_steps_load(const char *name, struct slurm_steps *ret, struct stasis_error *err)
{
	const char *const argv[] = {"scontrol", "-o", "show", "step", name, NULL};
	scoped(slurm_steps_done) struct slurm_steps l = {.nr = 0};
	scoped_free char *out = NULL;
	char *line, *rest;
	int status;

	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	l.steps = calloc(SLURM_MAX_STEPS + 1, sizeof(*l.steps));
	if (!l.steps)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	for (rest = out; (line = strsep(&rest, "\n"));)
		if (parse_step(line, name, &l, err) < 0)
			return -1;
	*ret = l;
	l = (struct slurm_steps){.nr = 0};
	return 0;
}
