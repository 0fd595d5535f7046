/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One process for each task does the dump; it and we speak over a socket pair. A dump that loses us asks
 * the folder what was decided (store.h), so that our end, at any moment, stops nobody and kills nobody
 * whose image is not committed.
 */
#include "daemon/node.h"

#include "daemon/fanout.h"
#include "daemon/journal.h"
#include "daemon/quiet.h"
#include "daemon/script.h"
#include "daemon/store.h"
#include "daemon/tasks.h"
#include "lib/fault.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stasis/stasis.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum {
	CLIENT_GRACE_MS = 5000,
	QUIET_MS = 5000,
	LOOK_MS = 5000,	  /* between looks for the decision while a dump waits for word of us */
	DONE_MS = 30000,  /* for the kills, after the decision */
	PATIENCE = 50,	  /* looks for it by who has lost the worker, before it decides */
	PATIENCE_NS = 20000000,
};

struct order {
	uint64_t job, step, uid, gid, is_vacate, max_wait_s;
	uint64_t is_of_script; /* a step that is saved with the script that runs it */
	struct script_steps sruns; /* of a script: what is below it */
	struct store store;
	struct task_list tasks;
	int64_t deadline;
	size_t nr_below;
	char (*below)[SLURM_NAME_LEN]; /* nodes that are to be asked from here */
	struct wire_msg fields;	       /* of the prepare, for them */
};

/* What a dump process says. */
struct word {
	enum { WORD_WRITTEN, WORD_DURABLE, WORD_DONE, WORD_FAILED } what;
	struct stasis_error err;
	struct report report;
};

struct dumper {
	pid_t pid;
	int fd; /* -1: gone */
	bool is_due; /* has not spoken yet in this phase */
	struct report report;
};

/* ---- in the dump process ---- */

struct dump_side {
	int fd;
	const struct order *order;
};

static int say(int fd, const struct word *w)
{
	return send(fd, w, sizeof(*w), MSG_NOSIGNAL) == (ssize_t)sizeof(*w) ? 0 : -1;
}

/*
 * Leave to go on, from the worker. When that is silent (stopped, or it waits for a node that is), the
 * folder still tells that the round is over: nobody stands still for much longer than that.
 */
static bool may_go(const struct dump_side *side)
{
	struct pollfd p = {.fd = side->fd, .events = POLLIN};
	char go;

	for (;;) {
		int rc = poll(&p, 1, LOOK_MS);

		if (rc > 0)
			return recv(side->fd, &go, 1, 0) == 1 && go == 'g';
		if (rc < 0 && errno != EINTR)
			return false;
		if (rc == 0 && (store_is_decided(&side->order->store) ||
				wire_now_ms() > side->order->deadline + LOOK_MS))
			return false;
	}
}

/* Who tells the coordinator what went wrong is on the way: let its message be the one that counts, before the
 * others find that there is no draft any more. */
static enum store_outcome find_outcome(const struct store *s)
{
	const struct timespec nap = {.tv_nsec = PATIENCE_NS};

	for (int i = 0; i < PATIENCE && !store_is_decided(s); i++)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	return store_abort(s);
}

static int barrier(void *arg, enum stasis_dump_moment moment, struct stasis_error *err)
{
	const struct dump_side *side = arg;
	struct word w = {.what = moment == STASIS_DUMP_WRITTEN ? WORD_WRITTEN : WORD_DURABLE};

	if (say(side->fd, &w) == 0 && may_go(side))
		return 0;
	if (moment == STASIS_DUMP_DURABLE && find_outcome(&side->order->store) == STORE_COMMITTED)
		return 0;
	return stasis_fail(err, STASIS_E_GONE, "the checkpoint was given up");
}

static void name_image(const struct order *o, const struct task_info *t, char *ret, size_t size)
{
	if (step_is_job((uint32_t)o->step))
		(void)snprintf(ret, size, "script.ckpt");
	else
		(void)snprintf(ret, size, "task.%u.ckpt", t->global);
}

struct stand_ins {
	struct stasis_stand_in list[SCRIPT_MAX_SRUNS];
	char labels[SCRIPT_MAX_SRUNS][24];
};

/* The sruns of a script: the restart finds the images of a step by the label. */
static void name_stand_ins(const struct order *o, struct stand_ins *ret)
{
	for (size_t i = 0; i < o->sruns.nr; i++) {
		script_name_step(o->sruns.steps[i].step, ret->labels[i], sizeof(ret->labels[i]));
		ret->list[i] = (struct stasis_stand_in){.pid = o->sruns.steps[i].srun,
							.label = ret->labels[i]};
	}
}

static int dump(const struct order *o, const struct task_info *t, int fd, struct word *ret)
{
	struct stand_ins sruns;
	struct dump_side side = {fd, o};
	struct stasis_dump_result result;
	struct stasis_dump_opts opts = {
		.root = t->pid,
		.flags = STASIS_DUMP_RECURSIVE,
		.external = STASIS_EXTERNAL_STDIO,
		.signal_all = o->is_vacate ? SIGKILL : 0,
		.barrier = barrier,
		.barrier_arg = &side,
		.stand_ins = sruns.list,
		.nr_stand_ins = o->sruns.nr,
	};
	scoped_fd int dir = -1;
	char name[40];

	if (identity_user((uid_t)o->uid, (gid_t)o->gid, &ret->err) < 0)
		return -1;
	dir = store_open_draft(&o->store, &ret->err);
	if (dir < 0)
		return -1;
	name_image(o, t, name, sizeof(name));
	name_stand_ins(o, &sruns);
	opts.dirfd = dir;
	opts.name = name;
	if (stasis_dump(&opts, &result, &ret->err) < 0) {
		/* what came into it while the coordinator removed it keeps the folder: the last one out does that */
		store_remove_aborted(&o->store);
		return stasis_fail_prefix(&ret->err, "task %u", t->global);
	}
	ret->report = (struct report){
		.bytes = result.bytes,
		.stopped_us = result.stopped_ns / 1000,
		.freeze_us = result.freeze_ns / 1000,
		.save_us = result.save_ns / 1000,
		.commit_us = result.commit_ns / 1000,
		.resume_us = result.resume_ns / 1000,
	};
	return 0;
}

static void __attribute__((__noreturn__)) dump_main(const struct order *o,
						    const struct task_info *t, int fd)
{
	struct word w = {.what = WORD_DONE};

	if (dump(o, t, fd, &w) < 0)
		w.what = WORD_FAILED;
	(void)say(fd, &w);
	_exit(0);
}

/* ---- in ours ---- */

struct round {
	const struct config *c;
	struct wire_conn *conn;
	struct order order;
	struct dumper *dumpers;
	struct fanout below;
	struct pollfd *polls; /* the coordinator, the dumps, the branches below */
	bool is_decided;
};

static void order_done(struct order *o)
{
	tasks_done(&o->tasks);
	script_done(&o->sruns);
	free(o->below);
}

/* Whoever is left sees the end of file and lets its task go; so do the nodes below. */
static void round_done(struct round *r)
{
	fanout_done(&r->below);
	for (size_t i = 0; r->dumpers && i < r->order.tasks.nr; i++)
		scoped_close_fd(&r->dumpers[i].fd);
	for (size_t i = 0; r->dumpers && i < r->order.tasks.nr; i++)
		if (r->dumpers[i].pid > 0)
			(void)waitpid(r->dumpers[i].pid, NULL, 0);
	free(r->dumpers);
	free(r->polls);
	order_done(&r->order);
}

/* What the nodes below are told is what we were told, but for what is said to each. */
static int keep_fields(const struct wire_msg *m, struct wire_msg *ret, struct stasis_error *err)
{
	static const char *const own[] = {"node", "below", "left_ms"};

	for (size_t i = 0; i < m->nr_fields; i++) {
		bool is_own = false;

		for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++)
			is_own |= strcmp(m->keys[i], own[k]) == 0;
		if (!is_own && wire_put(ret, m->keys[i], m->values[i], err) < 0)
			return -1;
	}
	return 0;
}

static int take_below(const struct wire_msg *m, struct order *o, struct stasis_error *err)
{
	const char *below = wire_get(m, "below");

	if (!below)
		return 0;
	if (fanout_parse(below, &o->below, &o->nr_below, err) < 0)
		return -1;
	return keep_fields(m, &o->fields, err);
}

static int take_order(const struct wire_msg *m, struct order *o, struct stasis_error *err)
{
	const char *folder = wire_get(m, "folder"), *draft = wire_get(m, "draft"),
		   *final = wire_get(m, "final"), *sub = wire_get(m, "sub"),
		   *sruns = wire_get(m, "sruns");
	uint64_t left_ms;

	if (!folder || !draft || !final || !wire_get(m, "uid") || !wire_get(m, "job"))
		return stasis_fail(err, STASIS_E_CORRUPT, "prepare: something is missing");
	if (wire_get_number(m, "job", UINT32_MAX, 0, &o->job, err) < 0 ||
	    wire_get_number(m, "step", UINT32_MAX, STEP_BATCH_SCRIPT, &o->step, err) < 0 ||
	    wire_get_number(m, "uid", UINT32_MAX, 0, &o->uid, err) < 0 ||
	    wire_get_number(m, "gid", UINT32_MAX, 0, &o->gid, err) < 0 ||
	    wire_get_number(m, "vacate", 1, 0, &o->is_vacate, err) < 0 ||
	    wire_get_number(m, "max_wait", 65535, 300, &o->max_wait_s, err) < 0 ||
	    wire_get_number(m, "left_ms", 65535000, o->max_wait_s * 1000, &left_ms, err) < 0 ||
	    wire_get_number(m, "of_script", 1, 0, &o->is_of_script, err) < 0 ||
	    (sruns && script_decode(sruns, &o->sruns, err) < 0))
		return -1;
	o->deadline = wire_now_ms() + (int64_t)left_ms;
	return store_join(folder, draft, final, sub ? sub : "", &o->store, err) < 0 ? -1 : take_below(m, o, err);
}

static int start_dumper(struct round *r, size_t i, struct stasis_error *err)
{
	struct dumper *d = &r->dumpers[i];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socketpair");
	d->pid = fork();
	if (d->pid == 0) {
		for (size_t k = 0; k < i; k++)
			scoped_close_fd(&r->dumpers[k].fd);
		(void)close(fds[0]);
		wire_close(r->conn);
		fanout_done(&r->below); /* our end is to be theirs */
		dump_main(&r->order, &r->order.tasks.tasks[i], fds[1]);
	}
	(void)close(fds[1]);
	d->fd = fds[0];
	d->is_due = true;
	if (d->pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	return 0;
}

/* What their tasks wrote, which stand still, is to be where the script's image has it. */
static int await_sruns(const struct order *o, struct stasis_error *err)
{
	for (size_t i = 0; i < o->sruns.nr; i++)
		if (quiet_await_srun(o->sruns.steps[i].srun, wire_now_ms() + QUIET_MS, err) < 0)
			return -1;
	return 0;
}

/* All of ours stand still and are saved. Input that an srun passed on meanwhile would be in no image. */
static int check_passed_on(const struct order *o, struct stasis_error *err)
{
	uint64_t sent;

	if (o->is_of_script)
		return quiet_await_stepd(o->tasks.stepd, wire_now_ms() + QUIET_MS, err);
	for (size_t i = 0; i < o->sruns.nr; i++) {
		if (quiet_input(o->sruns.steps[i].srun, &sent, err) < 0)
			return -1;
		if (sent != o->sruns.steps[i].sent)
			return stasis_fail(err, STASIS_E_BUSY, "srun (%d) is passing input on",
					   o->sruns.steps[i].srun);
	}
	return 0;
}

static int find_tasks(struct order *o, struct stasis_error *err)
{
	if (tasks_find((uint32_t)o->job, (uint32_t)o->step, (uid_t)o->uid, &o->tasks, err) < 0)
		return -1;
	if (!o->tasks.nr)
		return stasis_fail(err, STASIS_E_GONE, "no task of the step runs here");
	return await_sruns(o, err);
}

/* Those below first: they have the longer way. */
static int start_all(struct round *r, struct stasis_error *err)
{
	struct order *o = &r->order;

	if (find_tasks(o, err) < 0)
		return -1;
	if (o->nr_below && fanout_begin(&r->below, r->c, (const char(*)[SLURM_NAME_LEN])o->below, o->nr_below,
					&o->fields, o->deadline - wire_now_ms(), err) < 0)
		return -1;
	r->polls = calloc(1 + o->tasks.nr + r->below.nr, sizeof(*r->polls));
	r->dumpers = calloc(o->tasks.nr, sizeof(*r->dumpers));
	if (!r->dumpers || !r->polls)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu tasks", o->tasks.nr);
	for (size_t i = 0; i < o->tasks.nr; i++)
		r->dumpers[i].fd = -1;
	for (size_t i = 0; i < o->tasks.nr; i++)
		if (start_dumper(r, i, err) < 0)
			return -1;
	return 0;
}

/* ---- phases ---- */

/* The word of one dump process. */
static int hear_one(struct dumper *d, struct stasis_error *err)
{
	struct word w;

	d->is_due = false;
	if (recv(d->fd, &w, sizeof(w), 0) != (ssize_t)sizeof(w))
		return stasis_fail(err, STASIS_E_INTERNAL, "the process of the dump has ended");
	if (w.what == WORD_FAILED) {
		*err = w.err;
		return -1;
	}
	d->report = w.report;
	return 0;
}

/* Returns how many are due; who has lost the coordinator after the decision goes on. */
static size_t fill_polls(struct round *r)
{
	struct pollfd *p = r->polls;
	size_t nr = 0;

	p[0] = (struct pollfd){.fd = r->is_decided ? -1 : r->conn->fd, .events = POLLIN};
	for (size_t i = 0; i < r->order.tasks.nr; i++) {
		p[i + 1] = (struct pollfd){.fd = r->dumpers[i].is_due ? r->dumpers[i].fd : -1,
					   .events = POLLIN};
		nr += r->dumpers[i].is_due;
	}
	return nr + fanout_poll(&r->below, p + 1 + r->order.tasks.nr);
}

/* A task whose dump is killed runs on, see stasis(7). */
static int fail_late(struct round *r, struct stasis_error *err)
{
	bool is_here = false;

	for (size_t i = 0; i < r->order.tasks.nr; i++)
		if (r->dumpers[i].is_due) {
			is_here = true;
			if (!r->is_decided)
				(void)kill(r->dumpers[i].pid, SIGKILL);
		}
	if (!is_here)
		return fanout_late(&r->below, err);
	return stasis_fail(err, STASIS_E_TIMEOUT, "not done after %llu s",
			   (unsigned long long)r->order.max_wait_s);
}

static int hear_polls(struct round *r, const char *phase, struct stasis_error *err)
{
	const struct pollfd *p = r->polls;

	for (size_t i = 0; i < r->order.tasks.nr; i++)
		if (r->dumpers[i].is_due && p[i + 1].revents && hear_one(&r->dumpers[i], err) < 0)
			return -1;
	if (fanout_hear(&r->below, p + 1 + r->order.tasks.nr, phase, err) < 0)
		return -1;
	if (p[0].revents) /* nothing is due from there now but its end or an abort */
		return stasis_fail(err, STASIS_E_GONE, "given up by the coordinator");
	return 0;
}

/* Words of the tasks here and answers of the nodes below, until none is due. */
static int hear_all(struct round *r, const char *phase, struct stasis_error *err)
{
	while (fill_polls(r)) {
		int64_t left = r->order.deadline - wire_now_ms();
		int rc = poll(r->polls, 1 + r->order.tasks.nr + r->below.nr, left > 0 ? (int)left : 0);

		if (rc == 0)
			return fail_late(r, err);
		if (rc < 0 && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "poll");
		if (rc > 0 && hear_polls(r, phase, err) < 0)
			return -1;
	}
	return 0;
}

static void let_all_go(struct round *r)
{
	for (size_t i = 0; i < r->order.tasks.nr; i++) {
		(void)send(r->dumpers[i].fd, "g", 1, MSG_NOSIGNAL); /* one that died is heard of next */
		r->dumpers[i].is_due = true;
	}
}

static int put_failure(const struct round *r, struct wire_msg *m, const struct stasis_error *why,
		       struct stasis_error *err)
{
	if (wire_put(m, "at", *r->below.at ? r->below.at : r->c->node, err) < 0 ||
	    wire_put_number(m, "class", why->cls, err) < 0 ||
	    wire_put_number(m, "errno", (uint64_t)why->sys_errno, err) < 0)
		return -1;
	return wire_put(m, "message", why->text, NULL) < 0 ? wire_put(m, "message", "failed", err) : 0;
}

static int tell(struct round *r, const char *what, const struct stasis_error *why,
		struct stasis_error *err)
{
	struct report sum = r->below.sum;
	struct wire_msg m = {.len = 0};

	sum.nodes++;
	sum.tasks += r->order.tasks.nr;
	for (size_t i = 0; r->dumpers && i < r->order.tasks.nr; i++)
		report_add(&sum, &r->dumpers[i].report);
	if (wire_put(&m, "phase", what, err) < 0 || report_put(&sum, &m, err) < 0 ||
	    (why && put_failure(r, &m, why, err) < 0))
		return -1;
	return wire_send(r->conn, &m, 0, CLIENT_GRACE_MS, err);
}

static int take_next_order(struct round *r, const char *what, struct stasis_error *err)
{
	int64_t left = r->order.deadline - wire_now_ms();
	scoped_free struct wire_msg *m = malloc(sizeof(*m));
	const char *phase;

	if (!m)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a message");
	if (wire_recv(r->conn, m, left > 0 ? (int)left : 0, err) < 0)
		return -1;
	if (r->conn->peer != 0)
		return stasis_fail(err, STASIS_E_DENIED, "order of uid %u", r->conn->peer);
	phase = wire_get(m, "phase");
	if (!phase || strcmp(phase, what) != 0)
		return stasis_fail(err, STASIS_E_GONE, "given up by the coordinator");
	return 0;
}

/* A dump that speaks before the order has found the decision in the folder: as good as the order, when it
 * was to commit. */
static int hear_early(struct round *r, struct stasis_error *err)
{
	for (size_t i = 0; i < r->order.tasks.nr; i++)
		if (r->polls[i + 1].revents)
			return hear_one(&r->dumpers[i], err);
	return stasis_fail(err, STASIS_E_TIMEOUT, "the coordinator does not answer");
}

static int await_order(struct round *r, const char *what, struct stasis_error *err)
{
	for (;;) {
		int64_t left = r->order.deadline - wire_now_ms();
		int rc;

		for (size_t i = 0; i < r->order.tasks.nr; i++)
			r->dumpers[i].is_due = true;
		(void)fill_polls(r);
		rc = poll(r->polls, 1 + r->order.tasks.nr, left > 0 ? (int)left : 0);
		if (rc < 0 && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "poll");
		if (rc > 0 && r->polls[0].revents)
			return take_next_order(r, what, err);
		if (rc >= 0)
			return hear_early(r, err);
	}
}

/* The next order, to the nodes below first; then the tasks here go on. */
static int pass_order(struct round *r, const char *what, struct stasis_error *err)
{
	if (await_order(r, what, err) < 0 || fanout_tell(&r->below, what, err) < 0)
		return -1;
	let_all_go(r);
	return 0;
}

/* Durable while they stand still, then the kill; after the decision nothing can fail any more. */
static int vacate(struct round *r, struct stasis_error *err)
{
	if (hear_all(r, "durable", err) < 0 || check_passed_on(&r->order, err) < 0 ||
	    fault_point("node.durable", err) < 0 ||
	    tell(r, "durable", NULL, err) < 0)
		return -1;
	if (await_order(r, "commit", err) < 0)
		return -1;
	if (fault_point("node.commit", err) < 0)
		return -1;
	r->is_decided = true;
	r->order.deadline = wire_now_ms() + DONE_MS;
	(void)fanout_tell(&r->below, "commit", NULL);
	let_all_go(r);
	while (hear_all(r, "done", err) < 0 && err->cls != STASIS_E_TIMEOUT)
		; /* each says so once */
	return tell(r, "done", NULL, err);
}

static int create(struct round *r, struct stasis_error *err)
{
	if (hear_all(r, "written", err) < 0 || check_passed_on(&r->order, err) < 0 ||
	    fault_point("node.written", err) < 0 ||
	    tell(r, "written", NULL, err) < 0 || pass_order(r, "go", err) < 0)
		return -1;
	return hear_all(r, "durable", err) < 0 ? -1 : tell(r, "durable", NULL, err);
}

void node_serve(const struct config *c, struct wire_conn *conn, const struct wire_msg *prepare)
{
	scoped(round_done) struct round r = {.c = c, .conn = conn};
	struct stasis_error err;
	int rc = take_order(prepare, &r.order, &err);

	if (rc == 0)
		rc = start_all(&r, &err);
	if (rc == 0)
		rc = r.order.is_vacate ? vacate(&r, &err) : create(&r, &err);
	/* while it is looked at, a script begins and ends steps: the next look may find it otherwise */
	if (rc < 0 && err.cls == STASIS_E_GONE && (r.order.is_of_script || r.order.sruns.nr))
		err.cls = STASIS_E_BUSY;
	if (rc < 0) {
		journal(c, "job=%u step=%u part failed: %s%s%s", (uint32_t)r.order.job,
			(uint32_t)r.order.step, r.below.at, *r.below.at ? ": " : "", err.text);
		(void)tell(&r, "failed", &err, NULL);
	}
}
