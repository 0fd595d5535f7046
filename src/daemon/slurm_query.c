/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to Slurm. Fields that a user chooses (a job's account, its folder) come last in a line or are not
 * asked for, so that they cannot pass for others.
 */
#include "daemon/slurm_query.h"

#include "lib/scoped.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

void slurm_job_done(struct slurm_job *j)
{
	for (size_t i = 0; i < j->nr_steps; i++)
		free(j->step_nodes[i]);
	free(j->step_nodes);
	free(j->steps);
	free(j->nodes);
	free(j->work_dir);
	*j = (struct slurm_job){.nr_steps = 0};
}

static int is_ok(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The first line of what a command said, as an error. */
static int fail_said(struct stasis_error *err, const char *who, char *out)
{
	out[strcspn(out, "\n")] = '\0';
	return stasis_fail(err, STASIS_E_GONE, "%s: %.180s", who, *out ? out : "failed");
}

/* Cut the next field off; the last one is the rest of the line. */
static char *next_field(char **line)
{
	return strsep(line, "|");
}

/* "42", "40_2", "42+1": what squeue calls the job. */
static int parse_name(const char *text, uint32_t job, struct slurm_job *ret, struct stasis_error *err)
{
	unsigned array, task;
	int end = 0;

	(void)snprintf(ret->name, sizeof(ret->name), "%u", job);
	if (strchr(text, '+')) {
		ret->is_het = true;
		if (sscanf(text, "%u+%u%n", &ret->het_leader, &ret->het_offset, &end) == 2 && !text[end])
			return 0;
	} else if (strcmp(text, ret->name) == 0) {
		return 0;
	} else if (sscanf(text, "%u_%u%n", &array, &task, &end) == 2 && !text[end]) {
		(void)snprintf(ret->name, sizeof(ret->name), "%u_%u", array, task);
		return 0;
	}
	return stasis_fail(err, STASIS_E_IO, "squeue calls job %u '%.40s'", job, text);
}

/* What could not be kept (state.c) would make the job one without policies. */
static void take_trait(char *ret, size_t size, const char *text)
{
	(void)snprintf(ret, size, "%s", text);
	for (; *ret; ret++)
		if ((unsigned char)*ret < ' ' || *ret == 0x7f)
			*ret = '?';
}

/* "JOBID|NAME|UID|GID|STATE|NODES|PARTITION|QOS|ACCOUNT|FOLDER" of squeue. */
static int parse_job(char *line, uint32_t job, struct slurm_job *ret, struct stasis_error *err)
{
	char *fields[9];
	uint32_t id;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		fields[i] = next_field(&line);
		if (!line)
			return stasis_fail(err, STASIS_E_IO, "squeue says too little");
	}
	if (sscanf(fields[0], "%u", &id) != 1 || id != job)
		return 1;
	if (parse_name(fields[1], job, ret, err) < 0)
		return -1;
	if (sscanf(fields[2], "%u", &ret->uid) != 1 || sscanf(fields[3], "%u", &ret->gid) != 1)
		return stasis_fail(err, STASIS_E_IO, "squeue tells no ids of job %u", job);
	/* while a signal of slurmctld is on its way to it, a job that runs is called so */
	(void)snprintf(ret->state, sizeof(ret->state), "%s",
		       strcmp(fields[4], "SIGNALING") == 0 ? "RUNNING" : fields[4]);
	take_trait(ret->traits.partition, sizeof(ret->traits.partition), fields[6]);
	take_trait(ret->traits.qos, sizeof(ret->traits.qos), fields[7]);
	take_trait(ret->traits.account, sizeof(ret->traits.account), fields[8]);
	ret->nodes = strdup(fields[5]);
	ret->work_dir = strdup(line);
	if (!ret->nodes || !ret->work_dir)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a job");
	return 0;
}

static int add_step(struct slurm_job *j, uint32_t step, const char *nodes, struct stasis_error *err)
{
	if (j->nr_steps == SLURM_MAX_STEPS)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "more than %d steps", SLURM_MAX_STEPS);
	if (!j->steps) {
		j->steps = calloc(SLURM_MAX_STEPS, sizeof(*j->steps));
		j->step_nodes = calloc(SLURM_MAX_STEPS, sizeof(char *));
	}
	if (!j->steps || !j->step_nodes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	j->step_nodes[j->nr_steps] = strdup(nodes);
	if (!j->step_nodes[j->nr_steps])
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	j->steps[j->nr_steps++] = step;
	return 0;
}

/* "NAME.S|NODES", S a number, "batch", "extern" or "interactive". */
static int parse_step(char *line, struct slurm_job *ret, struct stasis_error *err)
{
	char *name = next_field(&line), *dot = strchr(name, '.'), *end;
	unsigned long step;

	if (!line || !dot || (size_t)(dot - name) != strlen(ret->name) ||
	    strncmp(name, ret->name, strlen(ret->name)) != 0)
		return 0;
	if (strcmp(dot + 1, "batch") == 0)
		ret->has_script = true;
	step = strtoul(dot + 1, &end, 10);
	if (dot[1] < '0' || dot[1] > '9' || *end || step > STEP_BATCH_SCRIPT)
		return 0;
	return add_step(ret, (uint32_t)step, line, err);
}

static int load_steps(struct slurm_job *ret, struct stasis_error *err)
{
	const char *const argv[] = {"squeue", "-h", "-s", "-j", ret->name, "-o", "%i|%N", NULL};
	scoped_free char *out = NULL;
	char *line, *rest;
	int status;

	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	if (!is_ok(status))
		return fail_said(err, "squeue", out);
	for (rest = out; (line = strsep(&rest, "\n"));)
		if (*line && parse_step(line, ret, err) < 0)
			return -1;
	return 0;
}

/* Tasks of an array that have not begun have one number, and a line each. */
static bool has_job(char *rest, const char *mark, uint32_t job)
{
	char *line;
	uint32_t id;

	while ((line = strsep(&rest, "\n")))
		if (strncmp(line, mark, strlen(mark)) == 0 && sscanf(line + strlen(mark), "%u", &id) == 1 && id == job)
			return true;
	return false;
}

static int load_job(uint32_t job, struct slurm_job *ret, bool *ret_is_known,
		    struct stasis_error *err)
{
	char id[16], format[64], mark[24];
	/* of an array's number or a heterogeneous job's it shows all tasks, all components */
	const char *const argv[] = {"squeue", "-h", "-r", "-t", "all", "-j", id, "-o", format, NULL};
	scoped_free char *out = NULL;
	char *line, *rest;
	int status, rc = 1;
	uint64_t secret;

	/* A folder's name may have a line end in it: what comes behind that is no line of squeue. */
	if (getrandom(&secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
		return stasis_fail_errno(err, STASIS_E_IO, "random bytes");
	(void)snprintf(mark, sizeof(mark), "%016llx|", (unsigned long long)secret);
	(void)snprintf(format, sizeof(format), "%s%%A|%%i|%%U|%%G|%%T|%%N|%%P|%%q|%%a|%%Z", mark);
	(void)snprintf(id, sizeof(id), "%u", job);
	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	*ret_is_known = false;
	if (!is_ok(status))
		return strstr(out, "Invalid job id") ? 0 : fail_said(err, "squeue", out);
	for (rest = out; rc == 1 && (line = strsep(&rest, "\n"));)
		if (strncmp(line, mark, strlen(mark)) == 0)
			rc = parse_job(line + strlen(mark), job, ret, err);
	if (rc < 0)
		return -1;
	ret->is_unsplit = rc == 0 && has_job(rest, mark, job);
	*ret_is_known = rc == 0;
	return rc || strcmp(ret->state, "RUNNING") != 0 ? 0 : load_steps(ret, err);
}

int slurm_job_load(uint32_t job, struct slurm_job *ret, bool *ret_is_known,
		   struct stasis_error *err)
{
	*ret = (struct slurm_job){.nr_steps = 0};
	if (load_job(job, ret, ret_is_known, err) == 0)
		return 0;
	slurm_job_done(ret);
	return -1;
}

ssize_t slurm_find_step(const struct slurm_job *j, uint32_t step)
{
	for (size_t i = 0; i < j->nr_steps; i++)
		if (j->steps[i] == step)
			return (ssize_t)i;
	return -1;
}

int slurm_expand(const char *list, char (**ret)[SLURM_NAME_LEN], size_t *ret_nr,
		 struct stasis_error *err)
{
	const char *const argv[] = {"scontrol", "show", "hostnames", list, NULL};
	scoped_free char(*names)[SLURM_NAME_LEN] = calloc(SLURM_MAX_NODES, SLURM_NAME_LEN);
	scoped_free char *out = NULL;
	char *line, *rest;
	size_t nr = 0;
	int status;

	if (!names)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for node names");
	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	if (!is_ok(status))
		return fail_said(err, "scontrol", out);
	for (rest = out; (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		if (nr == SLURM_MAX_NODES || strlen(line) >= SLURM_NAME_LEN)
			return stasis_fail(err, STASIS_E_UNSUPPORTED, "more than %d nodes, or names above "
					   "%d bytes", SLURM_MAX_NODES, SLURM_NAME_LEN - 1);
		(void)strcpy(names[nr++], line); /* fits, see above */
	}
	*ret = ptr_take(&names);
	*ret_nr = nr;
	return 0;
}

int slurm_user(uid_t *ret, struct stasis_error *err)
{
	const char *const argv[] = {"scontrol", "show", "config", NULL};
	scoped_free char *out = NULL;
	const char *at;
	int status;

	if (slurm_run(argv, 0, 0, &out, &status, err) < 0)
		return -1;
	at = is_ok(status) ? strstr(out, "\nSlurmUser ") : NULL;
	if (!at || sscanf(at, "\nSlurmUser = %*[^(](%u)", ret) != 1)
		return fail_said(err, "scontrol", out);
	return 0;
}

int slurm_control(const char *what, const char *name, uid_t uid, gid_t gid, struct stasis_error *err)
{
	const char *const argv[] = {"scontrol", what, name, NULL};
	scoped_free char *out = NULL;
	int status;

	if (slurm_run(argv, uid, gid, &out, &status, err) < 0)
		return -1;
	return is_ok(status) ? 0 : fail_said(err, "scontrol", out);
}
