/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints of jobs that need them no more. Only of those that Slurm says are complete: one that failed or was
 * cancelled may be wanted again, and one of which Slurm knows nothing any more as well.
 */
#include "daemon/clean.h"

#include "daemon/journal.h"
#include "daemon/slurm_query.h"
#include "daemon/state.h"
#include "daemon/store.h"
#include "daemon/tasks.h"
#include "lib/scoped.h"

#include <string.h>
#include <time.h>

static int mark_looked(struct state *s, void *arg)
{
	const struct config *c = arg;
	uint64_t now = (uint64_t)time(NULL);

	if (now < s->looked + c->watch_s)
		return EAGAIN;
	s->looked = now;
	return 0;
}

/* Since when it is complete; 0: it is not. */
static int mark_complete(struct state *s, void *arg)
{
	s->completed = *(const uint64_t *)arg;
	return 0;
}

static int forget(struct state *s, void *arg)
{
	(void)arg;
	s->saved = s->completed = 0;
	s->folder[0] = '\0';
	return 0;
}

static bool runs_here(uint32_t job, uint32_t step)
{
	scoped(tasks_done) struct task_list l = {.nr = 0};

	return tasks_find_any(job, step, &l, NULL) < 0 || l.stepd;
}

enum fate { FORGOTTEN, COMPLETE, OTHER };

static int ask_fate(uint32_t job, enum fate *ret)
{
	scoped(slurm_job_done) struct slurm_job j = {.nr_steps = 0};
	bool is_known = false;

	if (slurm_job_load(job, &j, &is_known, NULL) < 0)
		return -1;
	*ret = !is_known ? FORGOTTEN : strcmp(j.state, "COMPLETED") == 0 ? COMPLETE : OTHER;
	return 0;
}

static void remove_images(const struct config *c, uint32_t job, const struct state *s)
{
	struct stasis_error err;
	int rc = identity_user((uid_t)s->uid, (gid_t)s->gid, &err);

	if (rc == 0)
		rc = store_remove_all(s->folder, s->own_dir, job, &err);
	identity_root();
	if (rc < 0)
		journal(c, "job=%u complete, but its checkpoints stay: %s", job, err.text);
	else
		journal(c, "job=%u complete, its checkpoints are deleted: %s", job, s->folder);
}

static void clean_one(void *arg, uint32_t job, uint32_t step)
{
	const struct config *all = arg;
	uint64_t now = (uint64_t)time(NULL), since;
	enum fate fate;
	struct config c;
	struct state s;

	if (state_read(all, job, step, &s, NULL) < 0 || !s.saved || s.named)
		return;
	config_for_job(all, &s.traits, &c);
	if (c.clean_after_s == CONFIG_NEVER || (s.completed && s.completed + c.clean_after_s > now) ||
	    state_change(&c, job, step, mark_looked, &c, NULL) != 0 || runs_here(job, step) ||
	    ask_fate(job, &fate) < 0)
		return;
	if (!s.completed || fate == OTHER) { /* one that was complete may be run once more */
		since = fate == COMPLETE ? now : 0;
		if (since != s.completed)
			(void)state_change(&c, job, step, mark_complete, &since, NULL);
	} else if (state_change(&c, job, step, forget, NULL, NULL) == 0) {
		remove_images(&c, job, &s);
	}
}

void clean_all(const struct config *c)
{
	state_each(c, clean_one, (void *)(uintptr_t)c);
}
