/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * create, vacate and requeue: which steps, on which nodes, into which folder; one operation at a time for
 * each. The asker has the answer when the operation begins, as he always had, unless he wants to wait.
 */
#include "daemon/coordinate.h"
#include "daemon/events.h"
#include "daemon/journal.h"
#include "daemon/policy.h"
#include "daemon/request.h"
#include "daemon/request_priv.h"
#include "daemon/state.h"
#include "daemon/tasks.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SCRIPT_PATIENCE_MS = 6000, SCRIPT_PAUSE_MS = 200 };

struct target {
	uint32_t step;
	const char *nodes;
	int lock;
};

struct operation {
	struct request *r;
	bool is_vacate, is_waiting, is_automatic, is_named; /* its folder, by the request */
	const char *then;
	uint64_t max_wait_s;
	char image_dir[PATH_MAX], own_dir[PATH_MAX];
	unsigned keep;
	size_t nr;
	struct target *targets;
	int room, slot;
	int step_locks[SCRIPT_MAX_SRUNS]; /* of what is saved with a script */
	size_t nr_step_locks;
	int worst; /* code of all targets */
	char message[512];
};

static void operation_done(struct operation *o)
{
	for (size_t i = 0; i < o->nr; i++)
		scoped_close_fd(&o->targets[i].lock);
	scoped_close_fd(&o->slot);
	scoped_close_fd(&o->room);
	free(o->targets);
}

/* ---- what is to be saved ---- */

static int add_target(struct operation *o, uint32_t step, const char *nodes)
{
	struct state s;
	struct target *t = &o->targets[o->nr];

	if (state_read(o->r->c, (uint32_t)o->r->job, step, &s, &o->r->err) < 0)
		return -1;
	if (s.disabled)
		return CODE_DISABLED;
	t->step = step;
	t->nodes = nodes;
	t->lock = state_lock_operation(o->r->c, (uint32_t)o->r->job, step);
	if (t->lock < 0)
		return EALREADY;
	o->nr++;
	return 0;
}

static int find_targets(struct operation *o, const char *op)
{
	struct slurm_job *j = &o->r->info;
	ssize_t at = slurm_find_step(j, (uint32_t)o->r->step);
	int code = 0;

	o->targets = calloc(j->nr_steps + 1, sizeof(*o->targets));
	if (!o->targets)
		return ENOMEM;
	if (request_check_kind(o->r) < 0)
		return -1;
	if (!step_is_job((uint32_t)o->r->step))
		return add_target(o, (uint32_t)o->r->step, j->step_nodes[at]);
	if (j->has_script)
		return add_target(o, STEP_BATCH_SCRIPT, j->nodes);
	if (strcmp(op, "requeue") == 0)
		return CODE_NOT_SUPPORTED; /* there is nothing to run again */
	for (size_t i = 0; i < j->nr_steps && !code; i++)
		code = add_target(o, j->steps[i], j->step_nodes[i]);
	return code;
}

/* ---- where to ---- */

/* What the user said of the number of checkpoints, within the administrator's bound. */
static unsigned clamp_keep(const struct config *c, const char *text)
{
	unsigned most = c->max_keep > c->keep ? c->max_keep : c->keep;
	unsigned long n = text && *text >= '0' && *text <= '9' ? strtoul(text, NULL, 10) : 0;

	if (!n)
		return c->keep;
	return n < most ? (unsigned)n : most;
}

/* What --checkpoint-dir and --checkpoint-keep said, as the task has it in its environment; the folder is relative
 * to its working directory. */
static void take_wishes(struct operation *o, char *ret, size_t size)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};

	if (!o->nr || tasks_find((uint32_t)o->r->job, o->targets[0].step, o->r->info.uid, &l, NULL) < 0)
		return;
	if (l.nr)
		o->keep = clamp_keep(o->r->c, l.tasks[0].keep);
	if (l.nr && l.tasks[0].image_dir && strlen(l.tasks[0].image_dir) < size)
		(void)strcpy(ret, l.tasks[0].image_dir); /* fits, see above */
}

static int make_absolute(const struct operation *o, const char *dir, char *ret, size_t size)
{
	int n;

	if (*dir == '/')
		n = snprintf(ret, size, "%s", dir);
	else
		n = snprintf(ret, size, "%s%s%s", o->r->info.work_dir, *dir ? "/" : "", dir);
	if (n < 0 || (size_t)n >= size)
		return ENAMETOOLONG;
	return *ret == '/' ? 0 : CODE_DISABLED;
}

/* Of the request; else what the job says; else the policy's. A requeued job knows nothing but its own wish and
 * the folder for everybody, and looks there. */
static int choose_dir(struct operation *o)
{
	const char *given = o->r->m ? wire_get(o->r->m, "image_dir") : NULL;
	const struct config *c = o->r->c;
	char own[PATH_MAX] = "";
	int code;

	o->keep = c->keep;
	o->is_named = given;
	take_wishes(o, own, sizeof(own));
	code = make_absolute(o, *own ? own : c->look_in, o->own_dir, sizeof(o->own_dir));
	if (code && !given)
		return code;
	if (!given)
		given = *own ? own : c->directory;
	return make_absolute(o, given, o->image_dir, sizeof(o->image_dir));
}

/* ---- doing it ---- */

static int begin_state(struct state *s, void *arg)
{
	const struct operation *o = arg;

	s->begin = (uint64_t)time(NULL);
	s->code = 0;
	s->message[0] = '\0';
	if (o->is_automatic)
		s->automatic = s->begin;
	return 0;
}

/* What runs below the script of the job, and its own locks: a checkpoint of one of the steps may be just going on. */
static int find_script_steps(struct operation *o, struct script_steps *ret, struct stasis_error *err)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};

	if (tasks_find((uint32_t)o->r->job, STEP_BATCH_SCRIPT, o->r->info.uid, &l, err) < 0)
		return -1;
	if (!l.nr)
		return stasis_fail(err, STASIS_E_GONE, "the script does not run here");
	return script_find_steps(&o->r->info, l.tasks[0].pid, o->r->c->node, ret, err);
}

static int lock_steps(struct operation *o, const struct script_steps *s, struct stasis_error *err)
{
	for (size_t i = 0; i < s->nr; i++) {
		o->step_locks[i] = state_lock_operation(o->r->c, (uint32_t)o->r->job, s->steps[i].step);
		if (o->step_locks[i] < 0)
			return stasis_fail(err, STASIS_E_BUSY, "step %u.%u, which the script runs, is just "
					   "being checkpointed", (uint32_t)o->r->job, s->steps[i].step);
		o->nr_step_locks = i + 1;
	}
	return 0;
}

static void unlock_steps(struct operation *o)
{
	for (size_t i = 0; i < o->nr_step_locks; i++)
		scoped_close_fd(&o->step_locks[i]);
	o->nr_step_locks = 0;
}

static bool has_others(struct operation *o, const struct script_steps *before)
{
	scoped(script_done) struct script_steps now = {.nr = 0};
	struct stasis_error why;

	if (find_script_steps(o, &now, &why) < 0)
		return why.cls == STASIS_E_BUSY;
	for (size_t i = 0; i < now.nr && i < before->nr; i++)
		if (now.steps[i].srun != before->steps[i].srun)
			return true;
	return now.nr != before->nr;
}

static int save_with_steps(struct operation *o, struct checkpoint *what, struct checkpoint_result *ret,
			   struct stasis_error *err)
{
	scoped(script_done) struct script_steps steps = {.nr = 0};
	int rc;

	if (find_script_steps(o, &steps, err) < 0)
		return -1;
	what->steps = &steps;
	rc = lock_steps(o, &steps, err);
	if (rc == 0)
		rc = checkpoint_run(o->r->c, what, ret, err);
	unlock_steps(o);
	/* an srun that began meanwhile was met as what it is, a program with connections */
	if (rc < 0 && err->cls == STASIS_E_UNSUPPORTED && has_others(o, &steps))
		err->cls = STASIS_E_BUSY;
	return rc;
}

/* A script begins and ends steps, and they their tasks, while it is looked at: then once more. */
static int save_script(struct operation *o, struct checkpoint *what, struct checkpoint_result *ret,
		       struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + SCRIPT_PATIENCE_MS;
	int pause_ms = SCRIPT_PAUSE_MS;

	for (;;) {
		struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000L};

		if (save_with_steps(o, what, ret, err) == 0)
			return 0;
		if (err->cls != STASIS_E_BUSY || wire_now_ms() > deadline)
			return -1;
		journal(o->r->c, "job=%u once more: %s", what->job, err->text);
		(void)nanosleep(&pause, NULL); /* too short is fine */
		pause_ms *= 2;
	}
}

static int save_target(struct operation *o, const struct target *t, struct checkpoint_result *ret,
		       struct stasis_error *err)
{
	scoped_free char(*nodes)[SLURM_NAME_LEN] = NULL;
	struct checkpoint what = {
		.job = (uint32_t)o->r->job,
		.step = t->step,
		.name = o->r->info.name,
		.uid = o->r->info.uid,
		.gid = o->r->info.gid,
		.image_dir = o->image_dir,
		.own_dir = step_is_job(t->step) && *o->own_dir ? o->own_dir : NULL,
		.is_vacate = o->is_vacate,
		.then = o->then,
		.max_wait_s = (unsigned)o->max_wait_s,
		.keep = o->keep,
	};
	size_t nr;

	if (slurm_expand(t->nodes, &nodes, &nr, err) < 0)
		return -1;
	if (!nr)
		return stasis_fail(err, STASIS_E_GONE, "the step is on no node");
	what.nodes = (const char(*)[SLURM_NAME_LEN])nodes;
	what.nr_nodes = step_is_job(t->step) ? 1 : nr; /* a script runs on the first */
	return step_is_job(t->step) ? save_script(o, &what, ret, err)
				    : checkpoint_run(o->r->c, &what, ret, err);
}

struct made {
	const struct operation *o;
	const struct checkpoint_result *result;
};

static int keep_result(struct state *s, void *arg)
{
	const struct made *m = arg;

	s->saved = (uint64_t)time(NULL);
	s->bytes = m->result->sum.bytes;
	s->tasks = m->result->sum.tasks;
	memcpy(s->folder, m->result->folder, sizeof(s->folder));
	memcpy(s->own_dir, m->o->own_dir, sizeof(s->own_dir));
	s->named = m->o->is_named;
	s->uid = m->o->r->info.uid;
	s->gid = m->o->r->info.gid;
	s->traits = m->o->r->info.traits;
	s->asked = s->saved;
	s->completed = 0; /* one that was requeued is not */
	return 0;
}

static void take_outcome(struct operation *o, const struct target *t, int code, const char *message)
{
	(void)request_note(o->r, (uint32_t)o->r->job, t->step, (uint32_t)code, message);
	if (code > o->worst) {
		o->worst = code;
		(void)snprintf(o->message, sizeof(o->message), "%s", message);
	}
}

static void journal_success(const struct operation *o, const struct target *t, const char *op,
			    const struct checkpoint_result *result)
{
	const struct report *s = &result->sum;

	journal(o->r->c,
		"%s job=%u step=%d done: %s, %llu bytes, %llu tasks, stopped %llu us (freeze %llu, save %llu, "
		"resume %llu), commit %llu us, round %llu ms: %llu nodes, depth %llu, %llu messages",
		op, (uint32_t)o->r->job, step_is_job(t->step) ? -1 : (int)t->step, result->folder,
		(unsigned long long)s->bytes, (unsigned long long)s->tasks,
		(unsigned long long)s->stopped_us, (unsigned long long)s->freeze_us,
		(unsigned long long)s->save_us, (unsigned long long)s->resume_us,
		(unsigned long long)s->commit_us, (unsigned long long)result->round_ms,
		(unsigned long long)s->nodes, (unsigned long long)s->depth,
		(unsigned long long)s->messages);
}

static void save_all(struct operation *o, const char *op)
{
	for (size_t i = 0; i < o->nr; i++) {
		const struct target *t = &o->targets[i];
		struct checkpoint_result result;
		struct stasis_error err = {.cls = STASIS_E_OK};
		int code = 0;

		if (save_target(o, t, &result, &err) < 0)
			code = request_code_of(&err);
		else
			(void)state_change(o->r->c, (uint32_t)o->r->job, t->step, keep_result,
					   &(struct made){o, &result}, &o->r->err);
		take_outcome(o, t, code, err.text);
		if (code)
			journal(o->r->c, "%s job=%u step=%d failed: %d %s", op, (uint32_t)o->r->job,
				step_is_job(t->step) ? -1 : (int)t->step, code, err.text);
		else
			journal_success(o, t, op, &result);
	}
}

static void give_up_all(struct operation *o)
{
	for (size_t i = 0; i < o->nr; i++)
		take_outcome(o, &o->targets[i], ETIMEDOUT, "other operations of this node did not end in time");
}

static int prepare(struct operation *o, const char *op)
{
	struct request *r = o->r;
	uint64_t wait = 0;
	int code;

	o->max_wait_s = 0;
	if (r->m && (wire_get_number(r->m, "max_wait", UINT16_MAX, 0, &o->max_wait_s, &r->err) < 0 ||
		     wire_get_number(r->m, "wait", 1, 0, &wait, &r->err) < 0))
		return -1;
	o->is_waiting = wait;
	if (!o->max_wait_s)
		o->max_wait_s = r->c->max_wait_s;
	o->is_vacate = strcmp(op, "vacate") == 0 || strcmp(op, "requeue") == 0;
	code = find_targets(o, op);
	if (code)
		return code;
	if (o->nr && o->is_vacate && step_is_job(o->targets[0].step))
		o->then = strcmp(op, "requeue") == 0 ? "requeue" : "requeuehold";
	code = choose_dir(o);
	if (code)
		return code;
	o->room = state_enter(r->c);
	if (o->room < 0)
		return EAGAIN;
	for (size_t i = 0; i < o->nr; i++)
		if (state_change(r->c, (uint32_t)r->job, o->targets[i].step, begin_state, o, &r->err) < 0)
			return -1;
	return 0;
}

int request_checkpoint(struct request *r, const char *op)
{
	scoped(operation_done) struct operation o = {.r = r, .room = -1, .slot = -1};
	int code = prepare(&o, op);

	if (code)
		return code;
	if (!o.is_waiting)
		(void)request_answer(r, 0, NULL, 0, NULL);
	o.slot = state_await_slot(r->c, (unsigned)o.max_wait_s);
	if (o.slot < 0)
		give_up_all(&o);
	else
		save_all(&o, op);
	if (o.is_waiting)
		(void)request_answer(r, o.worst, NULL, 0, *o.message ? o.message : NULL);
	return o.worst;
}

/* ---- by itself ---- */

/* Not again until the next interval has passed, whatever comes of it. */
static int mark_automatic(struct state *s, void *arg)
{
	const uint64_t *due_s = arg;
	uint64_t now = (uint64_t)time(NULL);

	if (s->disabled || now < s->automatic + *due_s)
		return EAGAIN;
	s->automatic = now;
	return 0;
}

static uint64_t age_of(pid_t pid)
{
	scoped_fd int procfd = proc_open(pid, NULL);
	struct timespec now;
	struct proc_stat st;

	if (procfd < 0 || proc_read_stat(procfd, "stat", &st, NULL) < 0)
		return 0;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec - st.starttime_ticks / (uint64_t)sysconf(_SC_CLK_TCK);
}

static bool is_first_node(const struct config *c, const char *nodes)
{
	scoped_free char(*names)[SLURM_NAME_LEN] = NULL;
	size_t nr = 0;

	return slurm_expand(nodes, &names, &nr, NULL) == 0 && nr && strcmp(names[0], c->node) == 0;
}

/* Then the step is saved with the script that runs it, or not at all by itself. */
static bool is_scripts_affair(const struct config *c, uint32_t job, uint32_t step)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};

	return !step_is_job(step) && tasks_find_any(job, STEP_BATCH_SCRIPT, &l, NULL) == 0 && l.nr &&
	       (l.tasks[0].interval || policy_interval(c, NULL));
}

int request_load_running(struct request *r)
{
	uint32_t job = (uint32_t)r->job, step = (uint32_t)r->step;
	bool is_known = false;
	ssize_t at;

	if (slurm_job_load(job, &r->info, &is_known, &r->err) < 0 || !is_known ||
	    strcmp(r->info.state, "RUNNING") != 0)
		return -1;
	at = slurm_find_step(&r->info, step);
	return is_first_node(r->c, step_is_job(step) ? r->info.nodes : at >= 0 ? r->info.step_nodes[at] : "")
		       ? 0 : -1;
}

static bool is_due(const struct config *c, uint32_t job, uint32_t step, const struct task_info *task)
{
	uint64_t interval = policy_interval(c, task->interval);

	return interval && age_of(task->pid) >= policy_first(c, job, interval) &&
	       state_change(c, job, step, mark_automatic, &interval, NULL) == 0;
}

void request_automatic(const struct config *all, uint32_t job, uint32_t step)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};
	struct config c;
	struct request r = {.c = &c, .job = job, .step = step};

	if (tasks_find_any(job, step, &l, NULL) < 0 || !l.nr)
		return;
	policy_find(all, job, step, &c);
	if (events_watch(&c, job, step, &l.tasks[0]) || is_scripts_affair(&c, job, step) ||
	    !is_due(&c, job, step, &l.tasks[0]))
		return;
	if (request_load_running(&r) == 0)
		journal(&c, "automatic job=%u step=%d: %d", job, step_is_job(step) ? -1 : (int)step,
			request_checkpoint(&r, "create"));
	slurm_job_done(&r.info);
}
