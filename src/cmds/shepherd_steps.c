/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See shepherd_steps.h. */
#include "cmds/shepherd_steps.h"

#include "lib/error.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

#define RESTART_OPTION "--restart-dir"
#define OPEN_MODE      "SLURM_OPEN_MODE="

static void free_strings(const char *const *list)
{
	for (size_t i = 0; list && list[i]; i++)
		free((void *)(uintptr_t)list[i]);
	free((void *)(uintptr_t)list);
}

void step_plan_done(struct step_plan *p)
{
	for (size_t i = 0; i < p->nr; i++) {
		free_strings(p->list[i].argv);
		free_strings(p->list[i].env);
	}
	free(p->list);
	*p = (struct step_plan){.nr = 0};
}

/* ---- its images ---- */

/* "task.N.ckpt" is the root of a task's image. */
static bool is_task(const char *name, unsigned *ret)
{
	int end = 0;

	return sscanf(name, "task.%9u.ckpt%n", ret, &end) == 1 && end && !name[end];
}

static int check_task(const char *folder, const char *name, struct stasis_error *err)
{
	struct stasis_tree_info *info = NULL;
	char path[2 * PATH_MAX];
	int rc;

	(void)snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX, folder, name);
	rc = stasis_image_inspect(AT_FDCWD, path, &info, err);
	stasis_tree_info_free(info);
	if (rc < 0 && err->cls == STASIS_E_IO && err->sys_errno == ENOENT)
		err->cls = STASIS_E_CORRUPT; /* of a child of the task */
	return rc;
}

/* Tasks 0 to the last. */
static int check_step(const char *folder, struct stasis_error *err)
{
	scoped_dir DIR *dir = opendir(folder);
	const struct dirent *e;
	size_t nr = 0, highest = 0;
	unsigned task;

	if (!dir && errno == ENOENT)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%.200s' is missing", folder);
	if (!dir)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.200s'", folder);
	while ((e = readdir(dir))) {
		if (!is_task(e->d_name, &task))
			continue;
		if (check_task(folder, e->d_name, err) < 0)
			return -1;
		nr++;
		if (task >= highest)
			highest = task + 1;
	}
	if (!nr || nr != highest)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%.200s' has the images of %zu of %zu tasks",
				   folder, nr, highest);
	return 0;
}

/* ---- what srun is begun with ---- */

/* Adds a copy; the list has room. */
static int add(const char **list, size_t *nr, const char *text)
{
	list[*nr] = strdup(text);
	return list[(*nr)++] ? 0 : -1;
}

static size_t count(char *const *list)
{
	size_t nr = 0;

	while (list && list[nr])
		nr++;
	return nr;
}

/* Before all others, as they may end with a program and its arguments; what an earlier restart put there, or the
 * user, is dropped. */
static int make_arguments(const char *folder, char *const *old, const char *const **ret)
{
	const char **argv = calloc(count(old) + 2, sizeof(*argv));
	size_t len = strlen(RESTART_OPTION), nr = 0;
	char option[PATH_MAX + 32];
	int failed = 0;

	if (!argv)
		return -1;
	(void)snprintf(option, sizeof(option), RESTART_OPTION "=%s", folder);
	for (size_t i = 0; old[i] && !failed; i++) {
		if (strncmp(old[i], RESTART_OPTION "=", len + 1) == 0)
			continue;
		if (strcmp(old[i], RESTART_OPTION) == 0 && old[i + 1]) {
			i++;
			continue;
		}
		failed = add(argv, &nr, old[i]) < 0 || (i == 0 && add(argv, &nr, option) < 0);
	}
	*ret = argv;
	return failed ? -1 : 0;
}

/* Of this task's environment, as the same name. */
static const char *new_value(const char *old)
{
	size_t len = strcspn(old, "=") + 1;

	for (char **e = environ; *e; e++)
		if (strncmp(*e, old, len) == 0)
			return *e;
	return NULL;
}

/*
 * What the script itself set stays. What it had from Slurm is the allocation's, which is another one now: of that a
 * variable that is not there any more is left out. The output file of a step that goes on is not emptied.
 */
static int make_environment(const struct stasis_proc_info *p, const char *const **ret)
{
	const char **env = calloc(count(p->env) + count(p->env_of_root) + 2, sizeof(*env));
	bool has_mode = false, failed = !env;
	size_t nr = 0;

	for (size_t i = 0; !failed && p->env[i]; i++) {
		has_mode |= strncmp(p->env[i], OPEN_MODE, strlen(OPEN_MODE)) == 0;
		failed = add(env, &nr, p->env[i]) < 0;
	}
	for (size_t i = 0; !failed && p->env_of_root[i]; i++) {
		const char *old = p->env_of_root[i];
		const char *now = strncmp(old, "SLURM", 5) == 0 ? new_value(old) : old;

		if (strncmp(old, OPEN_MODE, strlen(OPEN_MODE)) != 0 && now)
			failed = add(env, &nr, now) < 0;
	}
	if (!failed && !has_mode)
		failed = add(env, &nr, OPEN_MODE "a") < 0;
	*ret = env;
	return failed ? -1 : 0;
}

static int plan_one(const char *path, const struct stasis_proc_info *p, struct step_plan *plan,
		    struct stasis_error *err)
{
	struct stasis_stand_in *one = &plan->list[plan->nr++]; /* from here on it is freed */
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	if ((size_t)snprintf(folder, sizeof(folder), "%.*s%s", slash ? (int)(slash - path + 1) : 0, path,
			     p->stand_in) >= sizeof(folder) || strchr(p->stand_in, '/'))
		return stasis_fail(err, STASIS_E_CORRUPT, "'%.60s' is no folder of a step", p->stand_in);
	if (check_step(folder, err) < 0)
		return -1;
	one->pid = p->pid;
	if (make_arguments(folder, p->argv, &one->argv) < 0 || make_environment(p, &one->env) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the arguments of srun");
	return 0;
}

int step_plan_make(const char *path, const struct stasis_tree_info *info, struct step_plan *ret,
		   struct stasis_error *err)
{
	scoped(step_plan_done) struct step_plan plan = {.nr = 0};

	plan.list = calloc(info->nr_procs + 1, sizeof(*plan.list));
	if (!plan.list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	for (size_t i = 0; i < info->nr_procs; i++)
		/* one without a label was not saved by stasisd */
		if (info->procs[i].stand_in && *info->procs[i].stand_in &&
		    plan_one(path, &info->procs[i], &plan, err) < 0)
			return -1;
	*ret = plan;
	plan = (struct step_plan){.nr = 0};
	return 0;
}
