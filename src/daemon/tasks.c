/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the tasks of a step in /proc: a slurmstepd calls itself "slurmstepd: [JOB.STEP]", runs as root,
 * and its children of the job's user are the tasks. So nothing has to be kept up to date, and a daemon
 * that was restarted knows as much as before. What `restart` brought back is below that process.
 */
#include "daemon/tasks.h"

#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_ENVIRON = 4 << 20, MAX_DEPTH = 4 };

void tasks_done(struct task_list *l)
{
	for (size_t i = 0; i < l->nr; i++) {
		free(l->tasks[i].image_dir);
		free(l->tasks[i].interval);
		free(l->tasks[i].on);
		free(l->tasks[i].keep);
	}
	free(l->tasks);
	*l = (struct task_list){.nr = 0};
}

static uid_t owner_of(int procfd)
{
	struct stat st;

	return fstat(procfd, &st) == 0 ? st.st_uid : (uid_t)-1;
}

/* "slurmstepd: [JOB.STEP]" of root's: the numbers; false for anything else. */
static bool is_stepd(int procfd, uint32_t *ret_job, uint32_t *ret_step)
{
	scoped_free char *text = NULL;
	char step[16];
	size_t len;

	if (owner_of(procfd) != 0 || io_read_file_at(procfd, "cmdline", 4096, &text, &len, NULL) < 0)
		return false;
	if (sscanf(text, "slurmstepd: [%u.%15[a-z0-9]]", ret_job, step) != 2)
		return false;
	if (strcmp(step, "batch") == 0)
		*ret_step = STEP_BATCH_SCRIPT;
	else if (sscanf(step, "%u", ret_step) != 1)
		return false;
	return true;
}

/* fn for each process; stops when it returns non-zero. */
static int each_process(int (*fn)(void *arg, int pid, int procfd), void *arg)
{
	scoped_fd int procs = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	size_t nr;
	int rc = 0;

	if (procs < 0 || proc_list_numbers(procs, ".", &pids, &nr, NULL) < 0)
		return 0;
	for (size_t i = 0; i < nr && !rc; i++) {
		scoped_fd int fd = proc_open(pids[i], NULL);

		if (fd >= 0)
			rc = fn(arg, pids[i], fd);
	}
	return rc;
}

/* ---- steps ---- */

struct step_walk {
	int (*fn)(void *arg, uint32_t job, uint32_t step);
	void *arg;
};

static int visit_step(void *arg, int pid, int procfd)
{
	struct step_walk *w = arg;
	uint32_t job, step;

	(void)pid;
	return is_stepd(procfd, &job, &step) ? w->fn(w->arg, job, step) : 0;
}

int tasks_each_step(int (*fn)(void *arg, uint32_t job, uint32_t step), void *arg)
{
	struct step_walk w = {fn, arg};

	return each_process(visit_step, &w);
}

/* ---- tasks ---- */

/* A variable of a process's environment, malloc()ed. */
static char *find_variable(const char *env, size_t len, const char *name)
{
	size_t name_len = strlen(name);

	for (const char *p = env; p < env + len; p += strlen(p) + 1)
		if (strncmp(p, name, name_len) == 0 && p[name_len] == '=')
			return strdup(p + name_len + 1);
	return NULL;
}

static void read_environment(int procfd, struct task_info *t)
{
	scoped_free char *env = NULL, *number = NULL;
	size_t len;

	if (io_read_file_at(procfd, "environ", MAX_ENVIRON, &env, &len, NULL) < 0)
		return;
	t->image_dir = find_variable(env, len, "SLURM_CHECKPOINT_IMAGE_DIR");
	t->interval = find_variable(env, len, "SLURM_CHECKPOINT");
	t->on = find_variable(env, len, "SLURM_CHECKPOINT_ON");
	t->keep = find_variable(env, len, "SLURM_CHECKPOINT_KEEP");
	number = find_variable(env, len, "SLURM_PROCID");
	if (number)
		t->global = (uint32_t)strtoul(number, NULL, 10);
}

/* The program that stands for what it restarted: stasis-shepherd, or `restart` that a user called. */
static bool is_shepherd(int procfd)
{
	scoped_free char *exe = proc_readlink(procfd, "exe", NULL);
	const char *name = exe ? strrchr(exe, '/') : NULL;
	struct proc_stat st;

	return name && (!strcmp(name, "/restart") || !strcmp(name, "/stasis-shepherd")) &&
	       proc_read_stat(procfd, "stat", &st, NULL) == 0 &&
	       !strncmp(st.comm, name + 1, strlen(st.comm)); /* comm is cut at 15 bytes */
}

struct child_search {
	pid_t parent, found;
	uint64_t starttime;
};

static int visit_child(void *arg, int pid, int procfd)
{
	struct child_search *s = arg;
	struct proc_stat st;

	if (proc_read_stat(procfd, "stat", &st, NULL) < 0 || st.ppid != s->parent ||
	    st.state == 'Z' || (s->found && s->starttime <= st.starttime_ticks))
		return 0;
	s->found = pid;
	s->starttime = st.starttime_ticks;
	return 0;
}

/* Down from the shepherd, by way of the first process of its pid namespace, to the restarted root. */
static pid_t skip_shepherd(pid_t pid)
{
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		scoped_fd int procfd = proc_open(pid, NULL);
		struct child_search s = {.parent = pid};

		if (procfd < 0 || !is_shepherd(procfd))
			return pid;
		(void)each_process(visit_child, &s);
		if (!s.found)
			return 0;
		pid = s.found;
	}
	return 0;
}

struct task_search {
	uint32_t job, step;
	uid_t uid;
	bool is_any;
	struct task_list *list;
	pid_t stepd;
};

static int visit_stepd(void *arg, int pid, int procfd)
{
	struct task_search *s = arg;
	uint32_t job, step;

	/* one may have forked for a task that has not called exec yet: the parent comes first */
	if (is_stepd(procfd, &job, &step) && job == s->job && step == s->step && !s->stepd)
		s->stepd = pid;
	return s->stepd != 0;
}

static int visit_task(void *arg, int pid, int procfd)
{
	struct task_search *s = arg;
	struct task_list *l = s->list;
	struct proc_stat st;

	if (proc_read_stat(procfd, "stat", &st, NULL) < 0 || st.ppid != s->stepd || st.state == 'Z' ||
	    (!s->is_any && owner_of(procfd) != s->uid) || l->nr == TASKS_MAX)
		return 0;
	l->tasks[l->nr] = (struct task_info){.global = (uint32_t)l->nr};
	read_environment(procfd, &l->tasks[l->nr]);
	l->tasks[l->nr].pid = skip_shepherd(pid);
	l->nr++;
	return 0;
}

static int check_tasks(const struct task_list *l, struct stasis_error *err)
{
	for (size_t i = 0; i < l->nr; i++) {
		if (!l->tasks[i].pid)
			return stasis_fail(err, STASIS_E_BUSY, "task %u is being restarted",
					   l->tasks[i].global);
		for (size_t k = 0; k < i; k++)
			if (l->tasks[i].global == l->tasks[k].global)
				return stasis_fail(err, STASIS_E_UNSUPPORTED,
						   "two processes say that they are task %u "
						   "(SLURM_PROCID)", l->tasks[i].global);
	}
	return 0;
}

static int find(struct task_search *s, struct task_list *ret, struct stasis_error *err)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};

	l.tasks = calloc(TASKS_MAX, sizeof(*l.tasks));
	if (!l.tasks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for tasks");
	s->list = &l;
	(void)each_process(visit_stepd, s);
	if (s->stepd)
		(void)each_process(visit_task, s);
	if (check_tasks(&l, err) < 0)
		return -1;
	l.stepd = s->stepd;
	*ret = l;
	l = (struct task_list){.nr = 0};
	return 0;
}

int tasks_find(uint32_t job, uint32_t step, uid_t uid, struct task_list *ret,
	       struct stasis_error *err)
{
	struct task_search s = {.job = job, .step = step, .uid = uid};

	return find(&s, ret, err);
}

int tasks_find_any(uint32_t job, uint32_t step, struct task_list *ret, struct stasis_error *err)
{
	struct task_search s = {.job = job, .step = step, .is_any = true};

	return find(&s, ret, err);
}
