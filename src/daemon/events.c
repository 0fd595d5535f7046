/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints before something happens to a job: it is preempted, its time limit is near, one of its nodes is to
 * be drained. A batch job is checkpointed and requeued; it goes on from there when it starts again. Of a job
 * without a script each step is checkpointed and ended: its user may go on with `srun --restart-dir`.
 *
 * Who is preempted Slurm tells the batch script's shepherd by a signal (cmds/shepherd_run.c), which tells us; but
 * we do not rely on that.
 */
#include "daemon/events.h"

#include "daemon/journal.h"
#include "daemon/state.h"
#include "lib/scoped.h"
#include "wire/events.h"

#include <string.h>
#include <time.h>

enum {
	RETRY_S = 5, /* after a failure; then twice as long, and so on */
	MAX_RETRY_S = 320,
	LIMIT_PARTS = 4, /* one of so many of the time limit is always for work: else none would get done */
};

/* ---- what the user wants ---- */

static unsigned wanted_events(const struct config *c, const struct task_info *t)
{
	unsigned events;

	if (!t->on || !events_parse(t->on, &events))
		events = c->checkpoint_on;
	return events & c->checkpoint_on_allowed;
}

/* ---- what is about to happen ---- */

static uint64_t limit_due(const struct config *c, const struct slurm_fate *f)
{
	uint64_t length = f->end > f->start ? f->end - f->start : 0, margin = c->limit_margin_s;

	if (!f->end)
		return UINT64_MAX;
	if (margin > length - length / LIMIT_PARTS)
		margin = length - length / LIMIT_PARTS;
	return f->end - margin;
}

/* The name of the event that is due, or NULL. */
static const char *find_event(const struct config *c, unsigned events, const struct slurm_fate *f)
{
	bool is_drained = false;

	if (events & EVENT_PREEMPT && f->preempted && f->preempted >= f->start)
		return "preempt";
	/* who is preempted has a new end, too: that is no time limit */
	if (events & EVENT_LIMIT && !f->preempted && limit_due(c, f) <= (uint64_t)time(NULL))
		return "limit";
	if (events & EVENT_DRAIN && *f->nodes && slurm_is_drained(f->nodes, &is_drained, NULL) == 0 &&
	    is_drained)
		return "drain";
	return NULL;
}

/* ---- when to look, when to try ---- */

struct look {
	const struct config *c;
	uint64_t due; /* of the time limit */
};

/* The state of the step says when we asked last, and when the time limit will be due. */
static int begin_look(struct state *s, void *arg)
{
	const struct look *l = arg;
	uint64_t now = (uint64_t)time(NULL);

	if (s->disabled || (now < s->watched + l->c->watch_s && !(s->due && now >= s->due)))
		return EAGAIN;
	s->watched = now;
	return 0;
}

static int keep_due(struct state *s, void *arg)
{
	const struct look *l = arg;

	s->due = l->due == UINT64_MAX ? 0 : l->due;
	return 0;
}

static int begin_try(struct state *s, void *arg)
{
	uint64_t now = (uint64_t)time(NULL), wait = RETRY_S;

	(void)arg;
	for (uint64_t i = 1; i < s->tries && wait < MAX_RETRY_S; i++)
		wait *= 2;
	if (s->tries && now < s->tried + wait)
		return EAGAIN;
	s->tried = now;
	s->tries++;
	return 0;
}

/* The next run of the job begins without a past. */
static int forget_tries(struct state *s, void *arg)
{
	(void)arg;
	s->tries = s->tried = s->due = 0;
	return 0;
}

/* ---- doing it ---- */

static const char *choose_operation(const struct request *r, const struct slurm_fate *f)
{
	if (!r->info.has_script)
		return "vacate";
	return f->may_requeue ? "requeue" : "create";
}

/* Until Slurm ends it anyway. */
static unsigned time_left(const struct config *c, const struct slurm_fate *f)
{
	uint64_t now = (uint64_t)time(NULL);

	if (f->end <= now || f->end - now > c->max_wait_s)
		return c->max_wait_s;
	return (unsigned)(f->end - now);
}

static int act(struct request *r, const char *event, const struct slurm_fate *f)
{
	const char *op = choose_operation(r, f);
	struct config mine = *r->c;
	struct request own = {.c = &mine, .job = r->job, .step = r->step, .info = r->info};
	int code;

	if (state_change(r->c, (uint32_t)r->job, (uint32_t)r->step, begin_try, NULL, &r->err) != 0)
		return EALREADY;
	mine.max_wait_s = time_left(r->c, f);
	journal(r->c, "%s job=%u step=%d: %s%s", event, (uint32_t)r->job,
		step_is_job((uint32_t)r->step) ? -1 : (int)r->step, op,
		strcmp(op, "create") == 0 ? " only: it was submitted with --no-requeue" : "");
	code = request_checkpoint(&own, op);
	journal(r->c, "%s job=%u step=%d: %d%s%s", event, (uint32_t)r->job,
		step_is_job((uint32_t)r->step) ? -1 : (int)r->step, code, code < 0 ? " " : "",
		code < 0 ? own.err.text : "");
	if (code == 0 && strcmp(op, "create") != 0)
		(void)state_change(r->c, (uint32_t)r->job, (uint32_t)r->step, forget_tries, NULL, &r->err);
	return code;
}

/* info of r is there. A step of a batch job is its script's business. */
static int decide(struct request *r, unsigned events, const struct slurm_fate *f)
{
	const char *event = find_event(r->c, events, f);

	if (!event || step_is_job((uint32_t)r->step) != r->info.has_script)
		return 0;
	return act(r, event, f);
}

/* ---- who asks ---- */

bool events_watch(const struct config *c, uint32_t job, uint32_t step, const struct task_info *task)
{
	struct request r = {.c = c, .job = job, .step = step};
	unsigned events = wanted_events(c, task);
	struct look l = {.c = c};
	struct slurm_fate f;
	bool is_due = false;

	if (!events || state_change(c, job, step, begin_look, &l, &r.err) != 0 ||
	    slurm_fate_load(job, &f, &r.err) < 0)
		return false;
	l.due = limit_due(c, &f);
	(void)state_change(c, job, step, keep_due, &l, &r.err);
	if (!find_event(c, events, &f))
		return false;
	if (request_load_running(&r) == 0) {
		(void)decide(&r, events, &f);
		is_due = true;
	}
	slurm_job_done(&r.info);
	return is_due;
}

int request_warned(struct request *r)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};
	struct slurm_fate f;

	if (!step_is_job((uint32_t)r->step))
		return CODE_NOT_SUPPORTED;
	r->step = STEP_BATCH_SCRIPT;
	if (tasks_find((uint32_t)r->job, STEP_BATCH_SCRIPT, r->info.uid, &l, &r->err) < 0)
		return -1;
	if (!l.nr)
		return CODE_ALREADY_DONE;
	if (slurm_fate_load((uint32_t)r->job, &f, &r->err) < 0)
		return -1;
	return decide(r, wanted_events(r->c, &l.tasks[0]), &f);
}
