/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The coordinator's side of a round (node.h has the messages, fanout.h how they reach the nodes): each
 * phase begins when all nodes are through with the one before. The decision is store_commit().
 */
#include "daemon/coordinate.h"

#include "daemon/fanout.h"
#include "daemon/journal.h"
#include "daemon/node.h"
#include "daemon/store.h"
#include "lib/fault.h"
#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>

enum { DONE_MS = 30000 };

/* The nodes of a step, or the one of a script. */
struct group {
	uint32_t step;
	const struct script_step *of_script; /* of a step that is saved with its script; else NULL */
	const char (*names)[SLURM_NAME_LEN];
	size_t nr;
	struct fanout nodes;
};

struct round {
	const struct config *c;
	const struct checkpoint *what;
	struct store store;
	struct group *groups; /* the script's steps, and last what was asked for */
	size_t nr_groups;
	int64_t deadline;
	bool is_begun, is_decided;
};

/* A failure of a group, with the node where it was. */
static int fail_at(const struct group *g, struct stasis_error *err)
{
	return *g->nodes.at ? stasis_fail_prefix(err, "%s", g->nodes.at) : -1;
}

static int tell_all(struct round *r, const char *phase, struct stasis_error *err)
{
	for (size_t k = 0; k < r->nr_groups; k++)
		if (fanout_tell(&r->groups[k].nodes, phase, err) < 0)
			return fail_at(&r->groups[k], err);
	return 0;
}

/* Give up, unless it is decided; connections that close say so to the nodes. */
static void round_done(struct round *r)
{
	bool is_lost = r->is_begun && !r->is_decided;

	if (is_lost)
		(void)store_abort(&r->store);
	for (size_t k = 0; r->groups && k < r->nr_groups; k++)
		fanout_done(&r->groups[k].nodes);
	if (is_lost)
		store_remove_aborted(&r->store);
	free(r->groups);
}

/* ---- prepare ---- */

static int make_groups(struct round *r, struct stasis_error *err)
{
	const struct checkpoint *w = r->what;
	size_t nr = w->steps ? w->steps->nr : 0;

	r->groups = calloc(nr + 1, sizeof(*r->groups));
	if (!r->groups)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for nodes");
	for (size_t i = 0; i < nr; i++) {
		const struct script_step *s = &w->steps->steps[i];

		r->groups[i] = (struct group){
			.step = s->step,
			.of_script = s,
			.names = (const char(*)[SLURM_NAME_LEN])s->nodes,
			.nr = s->nr_nodes,
		};
	}
	r->groups[nr] = (struct group){.step = w->step, .names = w->nodes, .nr = w->nr_nodes};
	r->nr_groups = nr + 1;
	return 0;
}

/* What only a script has, or a step that is saved with it. */
static int put_script(const struct round *r, const struct group *g, struct wire_msg *m,
		      struct stasis_error *err)
{
	char text[WIRE_MAX_TEXT / 2], sub[24];

	if (g->of_script) {
		script_name_step(g->step, sub, sizeof(sub));
		return wire_put(m, "sub", sub, err) < 0 ? -1 : wire_put_number(m, "of_script", 1, err);
	}
	if (!r->what->steps || !r->what->steps->nr)
		return 0;
	if (script_encode(r->what->steps, text, sizeof(text), err) < 0)
		return -1;
	return wire_put(m, "sruns", text, err);
}

static int put_order(const struct round *r, const struct group *g, struct wire_msg *m,
		     struct stasis_error *err)
{
	const struct checkpoint *w = r->what;

	if (wire_put(m, "op", "prepare", err) < 0 || wire_put_number(m, "job", w->job, err) < 0 ||
	    wire_put_number(m, "step", g->step, err) < 0 ||
	    wire_put_number(m, "uid", w->uid, err) < 0 ||
	    wire_put_number(m, "gid", w->gid, err) < 0 ||
	    wire_put_number(m, "vacate", w->is_vacate, err) < 0 ||
	    wire_put_number(m, "max_wait", w->max_wait_s, err) < 0)
		return -1;
	if (wire_put(m, "folder", r->store.folder, err) < 0 ||
	    wire_put(m, "draft", r->store.draft, err) < 0 || put_script(r, g, m, err) < 0)
		return -1;
	return wire_put(m, "final", r->store.final, err);
}

static int prepare_group(struct round *r, struct group *g, struct stasis_error *err)
{
	struct wire_msg order = {.len = 0};

	if (put_order(r, g, &order, err) < 0)
		return -1;
	if (fanout_begin(&g->nodes, r->c, g->names, g->nr, &order, r->deadline - wire_now_ms(), err) < 0)
		return fail_at(g, err);
	return 0;
}

/* ---- phases ---- */

static int await_group(struct group *g, const char *phase, int64_t deadline, struct stasis_error *err)
{
	return fanout_await(&g->nodes, phase, deadline, err) < 0 ? fail_at(g, err) : 0;
}

static int await_all(struct round *r, const char *phase, int64_t deadline, struct stasis_error *err)
{
	for (size_t k = 0; k < r->nr_groups; k++)
		if (await_group(&r->groups[k], phase, deadline, err) < 0)
			return -1;
	return 0;
}

/* An srun that is begun again restarts as many tasks as it started. */
static int check_whole(const struct round *r, const struct group *g, struct stasis_error *err)
{
	if (g->nodes.sum.tasks == g->of_script->tasks)
		return 0;
	return stasis_fail(err, STASIS_E_BUSY,
			   "of step %u.%u, which the script runs, %llu of %llu tasks are there: the others "
			   "have ended, or are about to begin", r->what->job, g->step,
			   (unsigned long long)g->nodes.sum.tasks, (unsigned long long)g->of_script->tasks);
}

/*
 * Until everything stands still and is saved: a script after its steps, so that it has all that their tasks
 * have written, and while these stand still.
 */
static int save_all(struct round *r, const char *phase, struct stasis_error *err)
{
	struct group *last = &r->groups[r->nr_groups - 1];
	char sub[24];

	for (struct group *g = r->groups; g < last; g++) {
		script_name_step(g->step, sub, sizeof(sub));
		if (store_make_sub(&r->store, sub, err) < 0 || prepare_group(r, g, err) < 0)
			return -1;
	}
	for (struct group *g = r->groups; g < last; g++)
		if (await_group(g, phase, r->deadline, err) < 0 || check_whole(r, g, err) < 0)
			return -1;
	if (prepare_group(r, last, err) < 0)
		return -1;
	return await_group(last, phase, r->deadline, err);
}

/* As the user: a job that he holds he may release. Our own rights are root's for that long. */
static void do_then(struct round *r)
{
	struct stasis_error err;

	if (!r->what->then)
		return;
	identity_root();
	if (slurm_control(r->what->then, r->what->name, r->what->uid, r->what->gid, &err) < 0)
		journal(r->c, "job=%u %s after the checkpoint: %s", r->what->job, r->what->then,
			err.text);
	(void)identity_user(r->what->uid, r->what->gid, NULL); /* what follows may as well fail */
}

static int decide(struct round *r, struct stasis_error *err)
{
	if (fault_point("coordinate.before-commit", err) < 0 ||
	    (r->what->own_dir && store_point(&r->store, r->what->own_dir, r->what->job, err) < 0) ||
	    store_commit(&r->store, err) < 0)
		return -1;
	r->is_decided = true;
	(void)fault_point("coordinate.committed", NULL); /* to be killed here, in tests */
	do_then(r);
	return 0;
}

static void add_up(const struct round *r, struct checkpoint_result *ret)
{
	ret->sum = (struct report){.nodes = 0};
	for (size_t k = 0; k < r->nr_groups; k++)
		report_add(&ret->sum, &r->groups[k].nodes.sum);
}

/* It is made: who does not hear it finds it in the folder. */
static void tell_killers(struct round *r, struct checkpoint_result *ret)
{
	(void)tell_all(r, "commit", NULL);
	if (await_all(r, "done", wire_now_ms() + DONE_MS, NULL) == 0)
		add_up(r, ret);
}

static int run(struct round *r, struct checkpoint_result *ret, struct stasis_error *err)
{
	int64_t begin_ms = wire_now_ms();

	if (store_begin(&r->store, err) < 0)
		return -1;
	r->is_begun = true;
	if (make_groups(r, err) < 0 ||
	    save_all(r, r->what->is_vacate ? "durable" : "written", err) < 0)
		return -1;
	if (!r->what->is_vacate &&
	    (tell_all(r, "go", err) < 0 || await_all(r, "durable", r->deadline, err) < 0))
		return -1;
	add_up(r, ret);
	if (decide(r, err) < 0)
		return -1;
	if (r->what->is_vacate)
		tell_killers(r, ret);
	ret->round_ms = (uint64_t)(wire_now_ms() - begin_ms);
	store_prune(&r->store, r->what->keep);
	return 0;
}

int checkpoint_run(const struct config *c, const struct checkpoint *what,
		   struct checkpoint_result *ret, struct stasis_error *err)
{
	scoped(round_done) struct round r = {.c = c, .what = what};
	struct stasis_error why;
	int rc;

	if (!err)
		err = &why;
	r.deadline = wire_now_ms() + (int64_t)what->max_wait_s * 1000;
	if (store_name(what->image_dir, what->job, what->step, &r.store, err) < 0)
		return -1;
	rc = identity_user(what->uid, what->gid, err) < 0 ? -1 : run(&r, ret, err);
	if (rc == 0)
		(void)snprintf(ret->folder, sizeof(ret->folder), "%.*s/%s",
			       (int)(sizeof(ret->folder) - sizeof(r.store.final) - 2), r.store.folder,
			       r.store.final);
	round_done(&r); /* with the user's rights still */
	r = (struct round){.c = c, .what = what};
	identity_root();
	return rc;
}
