/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of a checkpoint. Whatever fails, leaving the function undoes it: drafts are deleted, the
 * parasites taken out, the tree resumed.
 */
#include "dump/dump.h"
#include "dump/dump_priv.h"
#include "dump/plan.h"
#include "image/names.h"
#include "lib/fault.h"
#include "lib/parallel.h"
#include "lib/scoped.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
	DUMP_ID_BYTES = 16,
	MAX_CPU_WORDS = 64,
	PATIENCE = 10,		/* looks at a program that has something that passes */
	NAP_STEP_NS = 20000000, /* each nap between them is longer by that: a second in all */
};

/* What every file of one dump repeats. */
struct dump_common {
	uint8_t id[DUMP_ID_BYTES];
	struct utsname host;
	uint32_t cpu_words[MAX_CPU_WORDS];
	size_t nr_cpu_words;
	char (*names)[256];
	Stasis__Member *member_space;
	Stasis__Member **members;
	struct timespec realtime, monotonic;
	struct dump_clocks clocks;
	struct arena arena;
	struct task_pending *pending; /* of each task */
};

/* The drafts of a dump, in pre-order. */
struct drafts {
	size_t nr;
	struct image_writer **w;
};

static void drafts_done(struct drafts *d)
{
	for (size_t i = 0; i < d->nr; i++)
		image_discard(d->w[i]);
	free(d->w);
}

static void common_done(struct dump_common *c)
{
	free(c->names);
	free(c->member_space);
	free(c->members);
	free(c->pending);
	arena_done(&c->arena);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int name_files(struct tree *tree, const char *given, struct dump_common *c,
		      struct stasis_error *err)
{
	scoped_free struct image_name_proc *procs = calloc(tree->nr_tasks, sizeof(*procs));
	struct task *t;
	size_t i;

	c->names = calloc(tree->nr_tasks, sizeof(*c->names));
	if (!procs || !c->names)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for file names");
	tree_for_each(tree, i, t) {
		procs[i].pid = t->pid;
		procs[i].parent = t->parent ? t->parent->index : 0;
		procs[i].comm = t->comm;
	}
	return image_names(given, procs, tree->nr_tasks, c->names, err);
}

static int fill_common(struct tree *tree, const struct stasis_dump_opts *opts,
		       struct dump_common *c, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	if (getrandom(c->id, sizeof(c->id), 0) != (ssize_t)sizeof(c->id))
		return stasis_fail_errno(err, STASIS_E_IO, "random bytes for the dump's id");
	(void)uname(&c->host);
	c->nr_cpu_words = arch_cpu_features(c->cpu_words, MAX_CPU_WORDS);
	(void)clock_gettime(CLOCK_REALTIME, &c->realtime);
	(void)clock_gettime(CLOCK_MONOTONIC, &c->monotonic);
	if (dump_read_clocks(tree->tasks[0], &c->clocks, err) < 0)
		return -1;
	c->member_space = calloc(tree->nr_tasks, sizeof(*c->member_space));
	c->members = calloc(tree->nr_tasks, sizeof(*c->members));
	if (!c->member_space || !c->members)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the list of processes");
	if (name_files(tree, opts->name, c, err) < 0)
		return -1;
	tree_for_each(tree, i, t) {
		Stasis__Member *m = c->members[i] = &c->member_space[i];

		stasis__member__init(m);
		m->pid = (uint32_t)t->vpid;
		m->ppid = (uint32_t)t->vppid;
		m->name = c->names[i];
		m->comm = t->comm;
	}
	return 0;
}

static uint64_t to_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
}

static int put_info(struct session *s, struct task *t, struct dump_common *c,
		    struct image_writer *w, struct stasis_error *err)
{
	static char version[] = PACKAGE_VERSION;
	Stasis__ImageInfo info;
	struct stat st;

	stasis__image_info__init(&info);
	info.version = IMAGE_FORMAT_VERSION;
	info.dump_id.data = c->id;
	info.dump_id.len = sizeof(c->id);
	info.stasis_version = version;
	info.hostname = c->host.nodename;
	info.kernel_release = c->host.release;
	info.time_ns = to_ns(&c->realtime);
	info.monotonic_ns = to_ns(&c->monotonic);
	info.program_monotonic_ns = c->clocks.monotonic_ns;
	info.program_boottime_ns = c->clocks.boottime_ns;
	info.has_time_namespace = c->clocks.has_namespace;
	info.pid = (uint32_t)t->vpid;
	info.root_pid = (uint32_t)t->tree->tasks[0]->vpid;
	info.forced = s->is_forced;
	info.members = c->members;
	info.n_members = t->tree->nr_tasks;
	info.xcr0 = s->caps.xcr0;
	info.xsave_size = s->caps.xsave_size;
	info.cpuid = c->cpu_words;
	info.n_cpuid = c->nr_cpu_words;
	info.page_size = (uint32_t)s->caps.page_size;
	if (fstat(t->procfd, &st) == 0)
		info.uid = st.st_uid;
	return image_put_record(w, IMAGE_TAG_INFO, &info.base, err);
}

static int fill_cgroups(const struct thread *th, const Stasis__Process *process, struct arena *a,
			Stasis__Thread *ret, struct stasis_error *err)
{
	const struct ns_cgroups_of leader = {.list = process->cgroups, .nr = process->n_cgroups};
	char name[64];

	(void)snprintf(name, sizeof(name), "task/%d/cgroup", th->tid);
	return ns_cgroups_read_others(th->task->procfd, name, &leader, a, &ret->cgroups,
				      &ret->n_cgroups, err);
}

/* Threads of a process and the cgroups of its first. */
struct places {
	const struct task *t;
	char *cgroups;	    /* as the file has them */
	bool *is_elsewhere; /* each thread: its own differ */
};

static void places_done(struct places *pl)
{
	free(pl->cgroups);
	free(pl->is_elsewhere);
}

/* What cannot be read counts as another: the record's reader says why. */
static int compare_cgroups(void *arg, size_t i, struct stasis_error *err)
{
	const struct places *pl = arg;
	char name[64];

	(void)err;
	(void)snprintf(name, sizeof(name), "task/%d/cgroup", pl->t->threads[i].tid);
	pl->is_elsewhere[i] = !ns_cgroups_are(pl->t->procfd, name, pl->cgroups);
	return 0;
}

static int find_places(const struct task *t, struct places *ret, struct stasis_error *err)
{
	ret->t = t;
	ret->is_elsewhere = calloc(t->nr_threads, sizeof(*ret->is_elsewhere));
	if (!ret->is_elsewhere)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", t->nr_threads);
	if (t->nr_threads < 2)
		return 0;
	if (ns_cgroups_read_text(t->procfd, "cgroup", &ret->cgroups, err) < 0)
		return -1;
	return parallel_each(t->nr_threads, compare_cgroups, ret, err);
}

static int put_threads(struct dump_plan *p, struct task *t, const Stasis__Process *process,
		       const struct parasite_thread *inside, const struct task_pending *pending,
		       struct arena *a, struct image_writer *w, struct stasis_error *err)
{
	scoped(places_done) struct places places = {.t = NULL};
	struct session *s = p->s;

	if (find_places(t, &places, err) < 0)
		return -1;
	for (size_t i = 0; i < t->nr_threads; i++) {
		Stasis__Thread record;

		if (dump_core_notes(s, &t->threads[i], w, err) < 0)
			return -1;
		if (dump_thread_record(s, &t->threads[i], &inside[i], &pending->threads[i],
				       &p->seccomp[t->index].threads[i], a, &record, err) < 0)
			return -1;
		if (i && places.is_elsewhere[i] &&
		    fill_cgroups(&t->threads[i], process, a, &record, err) < 0)
			return -1;
		if (image_put_record(w, IMAGE_TAG_THREAD, &record.base, err) < 0)
			return -1;
	}
	return 0;
}

static int put_mm(struct dump_plan *p, struct task *t, const struct parasite_task *inside,
		  struct image_writer *w, struct stasis_error *err)
{
	Stasis__Mm mm;

	if (mem_save_record(p->mem, t, &mm, err) < 0)
		return -1;
	mm.brk = inside->brk;
	mm.thp_disable = inside->thp_disable;
	mm.pkeys = inside->pkeys;
	return image_put_record(w, IMAGE_TAG_MM, &mm.base, err);
}

static int put_process(struct dump_plan *p, struct task *t, Stasis__Process *process,
		       struct image_writer *w, struct stasis_error *err)
{
	process->seccomp_filters = p->seccomp[t->index].filters;
	process->n_seccomp_filters = p->seccomp[t->index].nr_filters;
	process->namespaces = ns_save_member(p->ns, t);
	if (ipc_save_undo(p->ipc, t, process, err) < 0)
		return -1;
	process->has_own_tty = process->tty_nr && fd_save_has_tty(p->fds, t->sid);
	return image_put_record(w, IMAGE_TAG_PROCESS, &process->base, err);
}

/* Everything of a live process; its bytes go to the draft here. */
static int write_live(struct dump_plan *p, struct task *t, const struct task_pending *pending,
		      struct image_writer *w, struct stasis_error *err)
{
	scoped(arena_done) struct arena a = {.head = NULL};
	const struct parasite_thread *threads;
	const struct parasite_task *inside;
	Stasis__Process process;

	if (inject_collect(t, &inside, &threads, err) < 0 || mem_save_begin_write(p->mem, t, w, err) < 0)
		return -1;
	/* while it is busy with its pages */
	if (dump_process_record(p->s, t, inside, &pending->shared, &a, &process, err) < 0 ||
	    (t->leaderfd >= 0 && dump_leader_record(t, &threads[0], &a, &process, err) < 0) ||
	    put_process(p, t, &process, w, err) < 0)
		return -1;
	if (put_threads(p, t, &process, threads, pending, &a, w, err) < 0 ||
	    put_mm(p, t, inside, w, err) < 0)
		return -1;
	if (ns_save_write(p->ns, t, dump_plan_fresh_object, p, w, err) < 0 ||
	    ipc_save_write(p->ipc, t, dump_plan_fresh_object, p, w, err) < 0 ||
	    fd_save_write(p->fds, t, w, err) < 0)
		return -1;
	return mem_save_end_write(p->mem, t, w, err);
}

static int write_zombie(struct dump_plan *p, struct task *t, struct image_writer *w,
			struct stasis_error *err)
{
	scoped(arena_done) struct arena a = {.head = NULL};
	Stasis__Process process;

	if (dump_process_record(p->s, t, NULL, NULL, &a, &process, err) < 0)
		return -1;
	process.namespaces = ns_save_member(p->ns, t);
	return image_put_record(w, IMAGE_TAG_PROCESS, &process.base, err);
}

static int write_stand_in(struct dump_plan *p, struct task *t, struct image_writer *w,
			  struct stasis_error *err)
{
	scoped(arena_done) struct arena a = {.head = NULL};
	Stasis__Process process;

	if (dump_stand_in_record(t, &a, &process, err) < 0)
		return -1;
	process.namespaces = ns_save_member(p->ns, t);
	if (image_put_record(w, IMAGE_TAG_PROCESS, &process.base, err) < 0 ||
	    ns_save_write(p->ns, t, dump_plan_fresh_object, p, w, err) < 0 ||
	    fd_save_write(p->fds, t, w, err) < 0)
		return -1;
	return mem_save_end_write(p->mem, t, w, err); /* content of files without a name */
}

static int write_task(struct dump_plan *p, struct task *t, struct dump_common *c,
		      struct image_writer *w, struct stasis_error *err)
{
	int result;

	if (put_info(p->s, t, c, w, err) < 0)
		return -1;
	result = t->state == TASK_ZOMBIE ? write_zombie(p, t, w, err)
		 : t->stand_in		 ? write_stand_in(p, t, w, err)
					 : write_live(p, t, &c->pending[t->index], w, err);
	if (result < 0)
		return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
	if (fault_point("dump.task-written", err) < 0)
		return -1;
	return image_seal(w, err);
}

static int create_drafts(struct dump_plan *p, const struct stasis_dump_opts *opts,
			 struct dump_common *c, struct drafts *d, struct stasis_error *err)
{
	bool overwrite = opts->flags & STASIS_DUMP_FORCE;

	d->w = calloc(p->tree->nr_tasks, sizeof(struct image_writer *));
	if (!d->w)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the drafts");
	for (size_t i = 0; i < p->tree->nr_tasks; i++, d->nr++)
		if (image_create(opts->dirfd, c->names[i], overwrite, &d->w[i], err) < 0)
			return -1;
	return 0;
}

/* Children first, the root last: an image is there when its root's file is. */
static int commit(struct drafts *d, int dirfd, struct stasis_error *err)
{
	scoped_free struct image_writer **order = calloc(d->nr, sizeof(struct image_writer *));

	if (!order)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the drafts");
	for (size_t i = 0; i < d->nr; i++)
		order[i] = d->w[d->nr - 1 - i];
	return image_commit_all(order, d->nr, dirfd, err);
}

/* Everything that needs the tree to stand still. */
static int write_drafts(struct dump_plan *p, const struct stasis_dump_opts *opts,
			struct dump_common *c, struct drafts *d, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	c->pending = calloc(p->tree->nr_tasks, sizeof(*c->pending));
	if (!c->pending)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for queued signals");
	tree_for_each(p->tree, i, t)
		if (dump_pending_read(t, &c->arena, &c->pending[i], err) < 0)
			return -1;
	if (fault_point("dump.before-inject", err) < 0)
		return -1;
	if (inject_open_all(p->s, p->tree, err) < 0 || fault_point("dump.injected", err) < 0)
		return -1;
	/* copies come first: their names are in the records */
	if (fd_save_copy_files(p->fds, opts->dirfd, opts->flags & STASIS_DUMP_COPY_FILES, err) < 0)
		return -1;
	tree_for_each(p->tree, i, t)
		if (task_is_saved(t) && mem_save_ask(p->mem, t, err) < 0)
			return stasis_fail_prefix(err, "%s(%d)", t->comm, t->pid);
	tree_for_each(p->tree, i, t)
		if (write_task(p, t, c, d->w[i], err) < 0)
			return -1;
	return 0;
}

static bool ends_tree(const struct dump_plan *p, const struct stasis_dump_opts *opts)
{
	return opts->signal_all == SIGKILL ||
	       (opts->signal_root == SIGKILL && p->tree->nr_tasks == 1);
}

static void resume(struct dump_plan *p, const struct stasis_dump_opts *opts,
		   struct stasis_dump_result *ret)
{
	struct tree_after after = {.signal_root = opts->signal_root,
				   .signal_all = opts->signal_all};
	uint64_t stopped_at = p->tree->stopped_at_ns, begin = now_ns();

	tree_resume(ptr_take(&p->tree), &after);
	fd_save_end(p->fds);
	ret->resume_ns = now_ns() - begin;
	ret->stopped_ns = now_ns() - stopped_at;
}

static int barrier(const struct stasis_dump_opts *opts, enum stasis_dump_moment moment,
		   struct stasis_error *err)
{
	return opts->barrier ? opts->barrier(opts->barrier_arg, moment, err) : 0;
}

/* A program that goes on need not wait for the disk. One that is to be killed must not be before its
 * image is safe. */
static int commit_and_resume(struct dump_plan *p, const struct stasis_dump_opts *opts,
			     struct drafts *d, struct stasis_dump_result *ret,
			     struct stasis_error *err)
{
	bool is_signalled = opts->signal_root || opts->signal_all;
	uint64_t begin;

	ret->freeze_ns = p->tree->frozen_at_ns - p->tree->stopped_at_ns;
	ret->save_ns = now_ns() - p->tree->frozen_at_ns;
	if (fault_point("dump.all-written", err) < 0)
		return -1;
	if (!is_signalled) {
		if (barrier(opts, STASIS_DUMP_WRITTEN, err) < 0)
			return -1;
		resume(p, opts, ret);
	}
	if (fault_point("dump.before-commit", err) < 0)
		return -1;
	begin = now_ns();
	if (commit(d, opts->dirfd, err) < 0)
		return -1;
	ret->commit_ns = now_ns() - begin;
	if (is_signalled && barrier(opts, STASIS_DUMP_DURABLE, err) < 0)
		return -1;
	if (is_signalled)
		resume(p, opts, ret);
	return 0;
}

static int write_all(struct dump_plan *p, const struct stasis_dump_opts *opts,
		     struct stasis_dump_result *ret, struct stasis_error *err)
{
	scoped(drafts_done) struct drafts drafts = {.nr = 0};
	scoped(common_done) struct dump_common common = {.names = NULL};

	if (ends_tree(p, opts))
		fd_save_set_ending(p->fds);
	if (fill_common(p->tree, opts, &common, err) < 0 ||
	    create_drafts(p, opts, &common, &drafts, err) < 0)
		return -1;
	if (write_drafts(p, opts, &common, &drafts, err) < 0 ||
	    commit_and_resume(p, opts, &drafts, ret, err) < 0) {
		fd_save_discard_copies(p->fds);
		return -1;
	}
	for (size_t i = 0; i < drafts.nr; i++)
		ret->bytes += image_file_size(drafts.w[i]);
	memcpy(ret->root_name, common.names[0], sizeof(ret->root_name));
	ret->nr_files = drafts.nr;
	return 0;
}

/* The program may be about to take what cannot be saved (events, messages): give it the time. */
static int make_plan(struct session *s, const struct stasis_dump_opts *opts, struct dump_plan *plan,
		     struct stasis_error *err)
{
	const unsigned kept_flags = STASIS_DUMP_CHECK_ONLY | STASIS_DUMP_FORCE;
	const enum stasis_log_level level = s->log.max_level;
	struct timespec nap = {.tv_nsec = 0};
	struct stasis_error why;
	int result;

	for (int tries = opts->flags & kept_flags ? PATIENCE : 0; tries < PATIENCE; tries++) {
		s->is_patient = true;
		if (tries) /* what there is to warn of was said at the first look */
			s->log.max_level = STASIS_LOG_ERROR;
		result = dump_plan_make(s, opts, plan, &why);
		s->log.max_level = level;
		if (result == 0)
			return 0;
		if (why.cls != STASIS_E_BUSY) {
			if (err)
				*err = why;
			return -1;
		}
		dump_plan_done(plan);
		if (fault_point("dump.patient", err) < 0)
			return -1;
		nap.tv_nsec += NAP_STEP_NS;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	s->is_patient = false;
	return dump_plan_make(s, opts, plan, err);
}

int dump_run(struct session *s, const struct stasis_dump_opts *opts, struct stasis_dump_result *ret,
	     struct stasis_error *err)
{
	scoped(dump_plan_done) struct dump_plan plan = {.s = s};
	struct stasis_dump_result result = {.nr_files = 0};

	if (make_plan(s, opts, &plan, err) < 0 || fault_point("dump.planned", err) < 0)
		return -1;
	if (!(opts->flags & STASIS_DUMP_CHECK_ONLY) && write_all(&plan, opts, &result, err) < 0)
		return -1;
	*ret = result;
	return 0;
}
