/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which sruns are below a script, and which step each runs. Slurm knows of each step the host and the pid of
 * its srun; that pid is the one that srun itself sees, which in a script that was restarted is one of the
 * namespace it lives in.
 */
#include "daemon/script.h"

#include "daemon/quiet.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

enum {
	AWAIT_STEP_MS = 3000, /* for an srun that has no step yet, or none any more */
	LOOK_NS = 100000000,
	CMDLINE_MAX_BYTES = 4 << 20,
};

void script_done(struct script_steps *s)
{
	for (size_t i = 0; i < s->nr; i++)
		free(s->steps[i].nodes);
	free(s->steps);
	*s = (struct script_steps){.nr = 0};
}

void script_name_step(uint32_t step, char *buf, size_t size)
{
	(void)snprintf(buf, size, "step.%u", step);
}

/* ---- the sruns ---- */

/* A process that can be asked for, with its parent. */
struct process {
	int pid;
	pid_t parent;
	bool is_srun;
};

static bool is_srun(int procfd, const struct proc_stat *st)
{
	scoped_free char *exe = NULL;
	const char *name;

	if (strcmp(st->comm, "srun") != 0 || st->state == 'Z')
		return false;
	exe = proc_readlink(procfd, "exe", NULL);
	name = exe ? strrchr(exe, '/') : NULL;
	return name && strncmp(name, "/srun", 5) == 0; /* "/srun (deleted)" after an upgrade */
}

static int list_processes(struct process **ret, size_t *ret_nr, struct stasis_error *err)
{
	scoped_fd int procs = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	scoped_free struct process *all = NULL;
	size_t nr, kept = 0;

	if (procs < 0 || proc_list_numbers(procs, ".", &pids, &nr, err) < 0)
		return stasis_fail_prefix(err, "/proc");
	all = calloc(nr + 1, sizeof(*all));
	if (!all)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a list of processes");
	for (size_t i = 0; i < nr; i++) {
		scoped_fd int fd = proc_open(pids[i], NULL);
		struct proc_stat st;

		if (fd >= 0 && proc_read_stat(fd, "stat", &st, NULL) == 0)
			all[kept++] = (struct process){pids[i], st.ppid, is_srun(fd, &st)};
	}
	*ret = ptr_take(&all);
	*ret_nr = kept;
	return 0;
}

static const struct process *find_process(const struct process *all, size_t nr, pid_t pid)
{
	for (size_t i = 0; i < nr; i++)
		if (all[i].pid == pid)
			return &all[i];
	return NULL;
}

/* Below the root, and not below another srun, which has a helper. */
static bool is_of_script(const struct process *all, size_t nr, const struct process *p, pid_t root)
{
	for (size_t depth = 0; depth < nr; depth++) {
		if (p->pid == root)
			return true;
		p = find_process(all, nr, p->parent);
		if (!p || p->is_srun)
			return false;
	}
	return false;
}

static int find_sruns(pid_t root, struct script_steps *ret, struct stasis_error *err)
{
	scoped_free struct process *all = NULL;
	size_t nr;

	if (list_processes(&all, &nr, err) < 0)
		return -1;
	ret->steps = calloc(SCRIPT_MAX_SRUNS, sizeof(*ret->steps));
	if (!ret->steps)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	for (size_t i = 0; i < nr; i++) {
		if (!all[i].is_srun || !is_of_script(all, nr, &all[i], root))
			continue;
		if (ret->nr == SCRIPT_MAX_SRUNS)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "the script runs more than %d srun at a time; checkpoint the "
					   "steps (JOB.STEP)", SCRIPT_MAX_SRUNS);
		ret->steps[ret->nr++].srun = all[i].pid;
	}
	return 0;
}

/* The step has tasks in other components of a heterogeneous job. */
static bool is_het_word(const char *a)
{
	if (strcmp(a, "--het-group=0") == 0) /* the default */
		return false;
	return strcmp(a, ":") == 0 || strncmp(a, "--het", 5) == 0 || strncmp(a, "--pack", 6) == 0;
}

/* Its terminal is not to be had again. */
static int check_arguments(pid_t srun, bool is_het, struct stasis_error *err)
{
	scoped_fd int procfd = proc_open(srun, err);
	scoped_free char *text = NULL;
	size_t len;

	if (procfd < 0 ||
	    io_read_file_at(procfd, "cmdline", CMDLINE_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	for (const char *a = text; a < text + len; a += strlen(a) + 1) {
		if (is_het && is_het_word(a))
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "srun (%d) runs a step in other components of the heterogeneous job "
					   "('%.40s'), which is not supported; checkpoint when it has ended", srun, a);
		if (strcmp(a, "--pty") == 0 || strncmp(a, "--pty=", 6) == 0)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "srun (%d) has a pseudo-terminal (--pty), which is not supported "
					   "in a script; start it without, or checkpoint when it has ended",
					   srun);
	}
	return 0;
}

/* ---- their steps ---- */

static pid_t own_pid(pid_t pid)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	scoped_fd int procfd = proc_open(pid, NULL);

	if (procfd < 0 || proc_read_status(procfd, "status", &st, NULL) < 0 || !st.nr_ns_ids)
		return pid;
	return st.ns_pid[st.nr_ns_ids - 1];
}

static const struct slurm_step *step_of(const struct slurm_steps *l, const char *node, pid_t srun)
{
	pid_t own = own_pid(srun);

	for (size_t i = 0; i < l->nr; i++)
		if (l->steps[i].srun_pid == own && strcmp(l->steps[i].srun_host, node) == 0)
			return &l->steps[i];
	return NULL;
}

/* 1: one of them has no step now. */
static int match(const struct slurm_job *job, const char *node, struct script_steps *s, pid_t *ret_lost,
		 struct stasis_error *err)
{
	scoped(slurm_steps_done) struct slurm_steps l = {.nr = 0};

	for (size_t i = 0; i < s->nr; i++)
		if (check_arguments(s->steps[i].srun, job->is_het, err) < 0)
			return -1;
	if (s->nr && slurm_steps_load(job->name, &l, err) < 0)
		return -1;
	for (size_t i = 0; i < s->nr; i++) {
		struct script_step *one = &s->steps[i];
		const struct slurm_step *step = step_of(&l, node, one->srun);

		*ret_lost = one->srun;
		if (!step)
			return 1;
		if (quiet_input(one->srun, &one->sent, err) < 0 ||
		    slurm_expand(step->nodes, &one->nodes, &one->nr_nodes, err) < 0)
			return -1;
		one->step = step->step;
		one->tasks = step->tasks;
	}
	return 0;
}

static int find_once(const struct slurm_job *job, pid_t root, const char *node, struct script_steps *ret,
		     pid_t *ret_lost, struct stasis_error *err)
{
	scoped(script_done) struct script_steps s = {.nr = 0};
	int rc;

	if (find_sruns(root, &s, err) < 0)
		return -1;
	rc = match(job, node, &s, ret_lost, err);
	if (rc)
		return rc;
	*ret = s;
	s = (struct script_steps){.nr = 0};
	return 0;
}

int script_find_steps(const struct slurm_job *job, pid_t root, const char *node, struct script_steps *ret,
		      struct stasis_error *err)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	int64_t deadline = wire_now_ms() + AWAIT_STEP_MS;
	struct stasis_error why;
	pid_t lost = 0;

	for (;;) {
		int rc = find_once(job, root, node, ret, &lost, &why);

		if (rc == 0)
			return 0;
		if (rc < 0 && why.cls != STASIS_E_BUSY && why.cls != STASIS_E_GONE) {
			*err = why;
			return -1;
		}
		if (wire_now_ms() > deadline && rc < 0) {
			*err = why;
			err->cls = STASIS_E_BUSY;
			return -1;
		}
		if (wire_now_ms() > deadline)
			return stasis_fail(err, STASIS_E_BUSY,
					   "srun (%d) in the script runs no step of the job (it may be "
					   "waiting for one to begin); checkpoint again later, or the "
					   "steps (JOB.STEP)", lost);
		(void)nanosleep(&pause, NULL); /* too short is fine */
	}
}

/* ---- over the wire ---- */

int script_encode(const struct script_steps *s, char *buf, size_t size, struct stasis_error *err)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < s->nr; i++) {
		int n = snprintf(buf + len, size - len, "%s%d:%u:%llu", i ? " " : "", s->steps[i].srun,
				 s->steps[i].step, (unsigned long long)s->steps[i].sent);

		if (n < 0 || (size_t)n >= size - len)
			return stasis_fail(err, STASIS_E_INTERNAL, "the list of sruns is too long");
		len += (size_t)n;
	}
	return 0;
}

int script_decode(const char *text, struct script_steps *ret, struct stasis_error *err)
{
	scoped(script_done) struct script_steps s = {.nr = 0};
	unsigned long long sent;
	int n;

	s.steps = calloc(SCRIPT_MAX_SRUNS, sizeof(*s.steps));
	if (!s.steps)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for steps");
	for (; *text; text += n + (text[n] == ' ')) {
		struct script_step *one = &s.steps[s.nr];

		n = 0;
		if (s.nr == SCRIPT_MAX_SRUNS ||
		    sscanf(text, "%d:%u:%llu%n", &one->srun, &one->step, &sent, &n) != 3 || !n ||
		    one->srun <= 0 || (text[n] && text[n] != ' '))
			return stasis_fail(err, STASIS_E_CORRUPT, "prepare: list of sruns");
		one->sent = sent;
		s.nr++;
	}
	*ret = s;
	s = (struct script_steps){.nr = 0};
	return 0;
}
