/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fills the Process record: what the threads of a process have in common, memory and files aside. */
#include "dump/dump_priv.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "ns/ns.h"

#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

enum {
	LIMITS_MAX_BYTES = 8192,
	TIMERS_MAX_BYTES = 4 << 20,
	LIMITS_NAME_COLUMNS = 26, /* width of the first column of /proc/PID/limits */
	NS_PER_S = 1000000000,
};

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

static void *make(struct arena *a, size_t nr, size_t size)
{
	return arena_alloc(a, nr ? nr * size : 1);
}

/* Where the process stands; a removed folder has no links left. */
static int fill_place(struct task *t, struct arena *a, Stasis__Process *ret,
		      struct stasis_error *err)
{
	scoped_free char *cwd = proc_readlink(t->procfd, "cwd", err);
	scoped_free char *root = NULL;
	struct stat st;

	if (!cwd || fstatat(t->procfd, "cwd", &st, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "current working directory");
	root = proc_readlink(t->procfd, "root", err);
	if (!root)
		return -1;
	ret->cwd_deleted = st.st_nlink == 0;
	ret->cwd = arena_strdup(a, cwd);
	ret->root = arena_strdup(a, root);
	return ret->cwd && ret->root ? 0 : no_memory(err);
}

static int fill_sigactions(const struct parasite_task *in, struct arena *a, Stasis__Process *ret,
			   struct stasis_error *err)
{
	Stasis__SigAction *all = make(a, PARASITE_NSIG, sizeof(*all));
	Stasis__SigAction **list = make(a, PARASITE_NSIG, sizeof(*list));
	size_t nr = 0;

	if (!all || !list)
		return no_memory(err);
	for (uint32_t i = 0; i < PARASITE_NSIG; i++) {
		const struct parasite_sigaction *sa = &in->sigactions[i];
		Stasis__SigAction *r = &all[nr];

		if (!sa->handler && !sa->flags && !sa->mask)
			continue;
		stasis__sig_action__init(r);
		r->signo = i + 1;
		r->handler = sa->handler;
		r->flags = sa->flags;
		r->restorer = sa->restorer;
		r->mask = sa->mask;
		list[nr++] = r;
	}
	ret->sigactions = list;
	ret->n_sigactions = nr;
	return 0;
}

static int fill_itimers(const struct parasite_task *in, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err)
{
	Stasis__Itimer *all = make(a, 3, sizeof(*all));
	Stasis__Itimer **list = make(a, 3, sizeof(*list));

	if (!all || !list)
		return no_memory(err);
	for (uint32_t i = 0; i < 3; i++) {
		if (!in->itimers[i].value_us && !in->itimers[i].interval_us)
			continue;
		stasis__itimer__init(&all[i]);
		all[i].which = i;
		all[i].value_us = in->itimers[i].value_us;
		all[i].interval_us = in->itimers[i].interval_us;
		list[ret->n_itimers++] = &all[i];
	}
	ret->itimers = list;
	return 0;
}

static uint64_t parse_limit(const char **p)
{
	char *end;
	uint64_t value;

	*p += strspn(*p, " ");
	if (!strncmp(*p, "unlimited", 9)) {
		*p += 9;
		return RLIM_INFINITY;
	}
	value = strtoull(*p, &end, 10);
	*p = end;
	return value;
}

/* prlimit(2) of another user's process needs CAP_SYS_RESOURCE, which root of a container may lack;
 * the file has the limits in the order of their numbers. */
static int fill_rlimits(struct task *t, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err)
{
	Stasis__Rlimit *all = make(a, RLIM_NLIMITS, sizeof(*all));
	Stasis__Rlimit **list = make(a, RLIM_NLIMITS, sizeof(*list));
	scoped_free char *text = NULL;
	const char *line;
	size_t len;

	if (!all || !list)
		return no_memory(err);
	if (io_read_file_at(t->procfd, "limits", LIMITS_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	line = strchr(text, '\n'); /* behind the headline */
	for (uint32_t i = 0; line && i < RLIM_NLIMITS; i++, line = strchr(line, '\n')) {
		const char *p = ++line;

		if (strnlen(p, LIMITS_NAME_COLUMNS) < LIMITS_NAME_COLUMNS)
			break;
		p += LIMITS_NAME_COLUMNS;
		stasis__rlimit__init(&all[i]);
		all[i].resource = i;
		all[i].cur = parse_limit(&p);
		all[i].max = parse_limit(&p);
		list[ret->n_rlimits++] = &all[i];
	}
	ret->rlimits = list;
	return 0;
}

/* /proc/PID/timers, Linux 3.10: four lines for each timer. */
static int parse_timers(const char *text, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err)
{
	size_t room = 0;
	Stasis__PosixTimer *timer = NULL;

	for (const char *p = text; (p = strstr(p, "ID: ")); p++)
		room++;
	ret->timers = make(a, room, sizeof(*ret->timers));
	if (!ret->timers)
		return no_memory(err);
	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p != NULL) {
		unsigned long long sigval;
		char method[16], who[8];
		int n;

		if (sscanf(p, "ID: %d", &n) == 1 && ret->n_timers < room) {
			timer = arena_alloc(a, sizeof(*timer));
			if (!timer)
				return no_memory(err);
			stasis__posix_timer__init(timer);
			timer->id = n;
			ret->timers[ret->n_timers++] = timer;
		}
		if (!timer)
			continue;
		if (sscanf(p, "signal: %d/%llx", &timer->signo, &sigval) == 2)
			timer->sigval = sigval;
		if (sscanf(p, "ClockID: %d", &n) == 1)
			timer->clock = n;
		if (sscanf(p, "notify: %15[^/]/%7[^.].%d", method, who, &n) == 3) {
			timer->notify = !strcmp(method, "none")	  ? SIGEV_NONE
					: !strcmp(method, "thread") ? SIGEV_THREAD
								    : SIGEV_SIGNAL;
			timer->notify_tid = n;
			if (!strcmp(who, "tid"))
				timer->notify |= SIGEV_THREAD_ID;
		}
	}
	return 0;
}

static int fill_timers(struct task *t, struct arena *a, Stasis__Process *ret,
		       struct stasis_error *err)
{
	scoped_free char *text = NULL;
	scoped_free struct parasite_timer *values = NULL;
	scoped_free int32_t *ids = NULL;
	size_t len;

	if (io_read_file_at(t->procfd, "timers", TIMERS_MAX_BYTES, &text, &len, err) < 0 ||
	    parse_timers(text, a, ret, err) < 0)
		return -1;
	if (!ret->n_timers)
		return 0;
	values = calloc(ret->n_timers, sizeof(*values));
	ids = calloc(ret->n_timers, sizeof(*ids));
	if (!values || !ids)
		return no_memory(err);
	for (size_t i = 0; i < ret->n_timers; i++)
		ids[i] = ret->timers[i]->id;
	if (inject_timers(t, ids, ret->n_timers, values, err) < 0)
		return -1;
	for (size_t i = 0; i < ret->n_timers; i++) {
		ret->timers[i]->value_ns = values[i].value_ns;
		ret->timers[i]->interval_ns = values[i].interval_ns;
		ret->timers[i]->overrun = values[i].overrun;
		ret->timers[i]->notify_tid = tree_own_tid(t, ret->timers[i]->notify_tid);
	}
	return 0;
}

static int fill_cgroups(struct task *t, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err)
{
	return ns_cgroups_read(t->procfd, "cgroup", a, &ret->cgroups, &ret->n_cgroups, err);
}

static int fill_oom_score(struct task *t, Stasis__Process *ret, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(t->procfd, "oom_score_adj", 64, &text, &len, err) < 0)
		return -1;
	ret->oom_score_adj = (int32_t)strtol(text, NULL, 10);
	return 0;
}

/* What the parent gets at the end: of a zombie too, since it decides whether wait(2) without __WCLONE
 * finds it. */
static int fill_exit_signal(struct task *t, Stasis__Process *ret, struct stasis_error *err)
{
	struct proc_stat st = t->stat;

	if (t->leaderfd >= 0 && proc_read_stat(t->leaderfd, "stat", &st, err) < 0)
		return -1;
	ret->exit_signal = st.exit_signal > 0 ? (uint32_t)st.exit_signal : 0;
	return 0;
}

static int fill_coredump_filter(struct task *t, Stasis__Process *ret, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	struct stasis_error local;
	size_t len;

	if (io_read_file_at(t->procfd, "coredump_filter", 64, &text, &len, &local) == 0) {
		ret->has_coredump_filter = true;
		ret->coredump_filter = (uint32_t)strtoul(text, NULL, 16);
		return 0;
	}
	if (local.sys_errno == ENOENT) /* a kernel without core files */
		return 0;
	if (err)
		*err = local;
	return -1;
}

static void fill_stat(const struct task *t, Stasis__Process *ret)
{
	const uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	const struct proc_stat *st = &t->stat;

	ret->tty_nr = st->tty_nr;
	ret->tty_pgrp = st->tpgid > 0 ? (uint32_t)tree_vpid_of(t->tree, st->tpgid) : 0;
	ret->utime_ns = st->utime_ticks * tick_ns;
	ret->stime_ns = st->stime_ticks * tick_ns;
	ret->cutime_ns = st->cutime_ticks * tick_ns;
	ret->cstime_ns = st->cstime_ticks * tick_ns;
}

static void fill_from_inside(const struct parasite_task *in, Stasis__Process *ret)
{
	ret->umask = in->umask;
	ret->dumpable = in->dumpable;
	ret->child_subreaper = in->child_subreaper != 0;
	ret->thp_disable = in->thp_disable != 0;
	ret->mdwe = in->mdwe;
	ret->memory_merge = in->memory_merge != 0;
}

static void fill_identity(struct task *t, Stasis__Process *ret)
{
	stasis__process__init(ret);
	ret->pid = (uint32_t)t->vpid;
	ret->ppid = (uint32_t)t->vppid;
	ret->pgid = (uint32_t)t->vpgid;
	ret->sid = (uint32_t)t->vsid;
	ret->comm = t->comm;
}

int dump_stand_in_record(struct task *t, struct arena *a, Stasis__Process *ret,
			 struct stasis_error *err)
{
	fill_identity(t, ret);
	fill_stat(t, ret);
	ret->umask = t->threads[0].status.umask;
	if (fill_exit_signal(t, ret, err) < 0 || fill_place(t, a, ret, err) < 0 ||
	    fill_rlimits(t, a, ret, err) < 0 || fill_oom_score(t, ret, err) < 0 ||
	    fill_coredump_filter(t, ret, err) < 0 || fill_cgroups(t, a, ret, err) < 0)
		return -1;
	return dump_fill_stand_in(t, a, &ret->stand_in, err);
}

int dump_process_record(struct session *s, struct task *t, const struct parasite_task *from_inside,
			const struct pending *pending, struct arena *a, Stasis__Process *ret,
			struct stasis_error *err)
{
	(void)s;
	fill_identity(t, ret);
	ret->state = t->state == TASK_ZOMBIE	? STASIS__PROCESS_STATE__PROCESS_ZOMBIE
		     : t->state == TASK_STOPPED ? STASIS__PROCESS_STATE__PROCESS_STOPPED
						: STASIS__PROCESS_STATE__PROCESS_RUNNING;
	ret->exit_status = (uint32_t)(t->state == TASK_ZOMBIE ? t->exit_status : t->stop_signal);
	if (fill_exit_signal(t, ret, err) < 0)
		return -1;
	if (t->state == TASK_ZOMBIE)
		return 0;
	fill_from_inside(from_inside, ret);
	fill_stat(t, ret);
	if (fill_place(t, a, ret, err) < 0 ||
	    fill_sigactions(from_inside, a, ret, err) < 0 ||
	    fill_itimers(from_inside, a, ret, err) < 0 || fill_rlimits(t, a, ret, err) < 0 ||
	    fill_timers(t, a, ret, err) < 0 || fill_oom_score(t, ret, err) < 0 ||
	    fill_coredump_filter(t, ret, err) < 0 || fill_cgroups(t, a, ret, err) < 0)
		return -1; /* the caller names the process */
	ret->pending = pending->list;
	ret->n_pending = pending->nr;
	return 0;
}
