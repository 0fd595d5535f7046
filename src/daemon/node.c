/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One process for each task does the dump; it and we speak over a socket pair. A dump that loses us asks
 * the folder what was decided (store.h), so that our end, at any moment, stops nobody and kills nobody
 * whose image is not committed.
 */
#include "daemon/node.h"

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

enum { CLIENT_GRACE_MS = 5000, QUIET_MS = 5000 };

struct order {
	uint64_t job, step, uid, gid, is_vacate, max_wait_s;
	uint64_t is_of_script; /* a step that is saved with the script that runs it */
	struct script_steps sruns; /* of a script: what is below it */
	struct store store;
	struct task_list tasks;
	int64_t deadline;
};

/* What a dump process says. */
struct word {
	enum { WORD_WRITTEN, WORD_DURABLE, WORD_DONE, WORD_FAILED } what;
	struct stasis_error err;
	uint64_t bytes, stopped_ns;
};

struct dumper {
	pid_t pid;
	int fd; /* -1: gone */
	uint64_t bytes, stopped_ns;
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

/* Waits for leave to go on. */
static int barrier(void *arg, enum stasis_dump_moment moment, struct stasis_error *err)
{
	const struct dump_side *side = arg;
	struct word w = {.what = moment == STASIS_DUMP_WRITTEN ? WORD_WRITTEN : WORD_DURABLE};
	char go;

	if (say(side->fd, &w) == 0 && recv(side->fd, &go, 1, 0) == 1 && go == 'g')
		return 0;
	if (moment == STASIS_DUMP_DURABLE && store_abort(&side->order->store) == STORE_COMMITTED)
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
	if (stasis_dump(&opts, &result, &ret->err) < 0)
		return stasis_fail_prefix(&ret->err, "task %u", t->global);
	ret->bytes = result.bytes;
	ret->stopped_ns = result.stopped_ns;
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
};

static void order_done(struct order *o)
{
	tasks_done(&o->tasks);
	script_done(&o->sruns);
}

/* Whoever is left sees the end of file and lets its task go. */
static void dumpers_done(struct round *r)
{
	for (size_t i = 0; r->dumpers && i < r->order.tasks.nr; i++) {
		scoped_close_fd(&r->dumpers[i].fd);
		if (r->dumpers[i].pid > 0)
			(void)waitpid(r->dumpers[i].pid, NULL, 0);
	}
	free(r->dumpers);
	order_done(&r->order);
}

static int take_order(const struct wire_msg *m, struct order *o, struct stasis_error *err)
{
	const char *folder = wire_get(m, "folder"), *draft = wire_get(m, "draft"),
		   *final = wire_get(m, "final"), *sub = wire_get(m, "sub"),
		   *sruns = wire_get(m, "sruns");

	if (!folder || !draft || !final || !wire_get(m, "uid") || !wire_get(m, "job"))
		return stasis_fail(err, STASIS_E_CORRUPT, "prepare: something is missing");
	if (wire_get_number(m, "job", UINT32_MAX, 0, &o->job, err) < 0 ||
	    wire_get_number(m, "step", UINT32_MAX, STEP_BATCH_SCRIPT, &o->step, err) < 0 ||
	    wire_get_number(m, "uid", UINT32_MAX, 0, &o->uid, err) < 0 ||
	    wire_get_number(m, "gid", UINT32_MAX, 0, &o->gid, err) < 0 ||
	    wire_get_number(m, "vacate", 1, 0, &o->is_vacate, err) < 0 ||
	    wire_get_number(m, "max_wait", 65535, 300, &o->max_wait_s, err) < 0 ||
	    wire_get_number(m, "of_script", 1, 0, &o->is_of_script, err) < 0 ||
	    (sruns && script_decode(sruns, &o->sruns, err) < 0))
		return -1;
	o->deadline = wire_now_ms() + (int64_t)o->max_wait_s * 1000;
	return store_join(folder, draft, final, sub ? sub : "", &o->store, err);
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
		dump_main(&r->order, &r->order.tasks.tasks[i], fds[1]);
	}
	(void)close(fds[1]);
	d->fd = fds[0];
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

static int start_all(struct round *r, struct stasis_error *err)
{
	struct order *o = &r->order;

	if (tasks_find((uint32_t)o->job, (uint32_t)o->step, (uid_t)o->uid, &o->tasks, err) < 0)
		return -1;
	if (!o->tasks.nr)
		return stasis_fail(err, STASIS_E_GONE, "no task of the step runs here");
	if (await_sruns(o, err) < 0)
		return -1;
	r->dumpers = calloc(o->tasks.nr, sizeof(*r->dumpers));
	if (!r->dumpers)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu tasks", o->tasks.nr);
	for (size_t i = 0; i < o->tasks.nr; i++)
		r->dumpers[i].fd = -1;
	for (size_t i = 0; i < o->tasks.nr; i++)
		if (start_dumper(r, i, err) < 0)
			return -1;
	return 0;
}

/* The next word of one dump process, or the end of the coordinator, whichever is first. */
static int hear_one(struct round *r, struct dumper *d, struct word *ret, struct stasis_error *err)
{
	struct pollfd p[] = {{.fd = d->fd, .events = POLLIN},
			     {.fd = r->conn->fd, .events = POLLIN}};
	int64_t left = r->order.deadline - wire_now_ms();
	int rc = poll(p, 2, left > 0 ? (int)left : 0);

	if (rc == 0) {
		(void)kill(d->pid, SIGKILL); /* the task runs on, see stasis(7) */
		return stasis_fail(err, STASIS_E_TIMEOUT, "not done after %llu s",
				   (unsigned long long)r->order.max_wait_s);
	}
	if (rc > 0 && !p[0].revents) /* nothing is due from there now but its end or an abort */
		return stasis_fail(err, STASIS_E_GONE, "given up by the coordinator");
	if (rc < 0 || recv(d->fd, ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret))
		return stasis_fail(err, STASIS_E_INTERNAL, "the process of the dump has ended");
	if (ret->what == WORD_FAILED) {
		*err = ret->err;
		return -1;
	}
	d->bytes = ret->bytes;
	d->stopped_ns = ret->stopped_ns;
	return 0;
}

static int hear_all(struct round *r, struct stasis_error *err)
{
	struct word w;

	for (size_t i = 0; i < r->order.tasks.nr; i++)
		if (hear_one(r, &r->dumpers[i], &w, err) < 0)
			return -1;
	return 0;
}

static void let_all_go(struct round *r)
{
	for (size_t i = 0; i < r->order.tasks.nr; i++)
		(void)send(r->dumpers[i].fd, "g", 1, MSG_NOSIGNAL); /* one that died is heard of next */
}

static int tell(struct round *r, const char *what, const struct stasis_error *why,
		struct stasis_error *err)
{
	struct wire_msg m = {.len = 0};
	uint64_t bytes = 0, stopped_ns = 0;

	for (size_t i = 0; r->dumpers && i < r->order.tasks.nr; i++) {
		bytes += r->dumpers[i].bytes;
		if (r->dumpers[i].stopped_ns > stopped_ns)
			stopped_ns = r->dumpers[i].stopped_ns;
	}
	if (wire_put(&m, "phase", what, err) < 0 || wire_put_number(&m, "bytes", bytes, err) < 0 ||
	    wire_put_number(&m, "tasks", r->order.tasks.nr, err) < 0 ||
	    wire_put_number(&m, "stopped_us", stopped_ns / 1000, err) < 0)
		return -1;
	if (why && (wire_put_number(&m, "class", why->cls, err) < 0 ||
		    wire_put_number(&m, "errno", (uint64_t)why->sys_errno, err) < 0 ||
		    wire_put(&m, "message", why->text, NULL) < 0))
		(void)wire_put(&m, "message", "failed", err);
	return wire_send(r->conn, &m, 0, CLIENT_GRACE_MS, err);
}

static int await_order(struct round *r, const char *what, struct stasis_error *err)
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

/* Durable while they stand still, then the kill; after the decision nothing can fail any more. */
static int vacate(struct round *r, struct stasis_error *err)
{
	struct word w;

	if (hear_all(r, err) < 0 || check_passed_on(&r->order, err) < 0 ||
	    fault_point("node.durable", err) < 0 || tell(r, "durable", NULL, err) < 0)
		return -1;
	if (await_order(r, "commit", err) < 0)
		return -1;
	if (fault_point("node.commit", err) < 0)
		return -1;
	let_all_go(r);
	for (size_t i = 0; i < r->order.tasks.nr; i++)
		(void)hear_one(r, &r->dumpers[i], &w, err);
	return tell(r, "done", NULL, err);
}

static int create(struct round *r, struct stasis_error *err)
{
	if (hear_all(r, err) < 0 || check_passed_on(&r->order, err) < 0 ||
	    fault_point("node.written", err) < 0 || tell(r, "written", NULL, err) < 0 || await_order(r, "go", err) < 0)
		return -1;
	let_all_go(r);
	if (hear_all(r, err) < 0 || tell(r, "durable", NULL, err) < 0)
		return -1;
	return await_order(r, "commit", err);
}

void node_serve(const struct config *c, struct wire_conn *conn, const struct wire_msg *prepare)
{
	scoped(dumpers_done) struct round r = {.c = c, .conn = conn};
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
		journal(c, "job=%u step=%u part failed: %s", (uint32_t)r.order.job,
			(uint32_t)r.order.step, err.text);
		(void)tell(&r, "failed", &err, NULL);
	}
}
