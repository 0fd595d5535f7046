/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fills the StandIn record: what the program of a process that is not saved is begun anew with. All of it can be
 * seen from outside, so nothing is done to the process but to stop it: it may be one whose connections
 * and threads no image could hold (srun, ssh).
 */
#include "dump/dump_priv.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>

enum { STRINGS_MAX_BYTES = 16 << 20 };

#define DELETED " (deleted)"

/* Those of /proc/PID/cmdline or environ. */
struct strings {
	char **list;
	size_t nr;
};

static bool holds(const struct strings *s, const char *text)
{
	for (size_t i = 0; i < s->nr; i++)
		if (strcmp(s->list[i], text) == 0)
			return true;
	return false;
}

static int read_strings(const struct task *t, const char *name, struct arena *a, struct strings *ret,
			struct stasis_error *err)
{
	scoped_free char *text = NULL;
	size_t len, nr = 0;
	char *kept;

	if (io_read_file_at(t->procfd, name, STRINGS_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	kept = arena_memdup(a, text, len + 1);
	for (const char *at = text; at < text + len; at += strlen(at) + 1)
		nr++;
	ret->list = arena_alloc(a, (nr + 1) * sizeof(*ret->list));
	if (!kept || !ret->list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	for (char *at = kept; at < kept + len; at += strlen(at) + 1)
		ret->list[ret->nr++] = at;
	return 0;
}

static int split_environment(const struct strings *all, const struct strings *of_root, struct arena *a,
			     Stasis__StandIn *ret, struct stasis_error *err)
{
	ret->env = arena_alloc(a, (all->nr + 1) * sizeof(*ret->env));
	ret->env_of_root = arena_alloc(a, (all->nr + 1) * sizeof(*ret->env_of_root));
	if (!ret->env || !ret->env_of_root)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	for (size_t i = 0; i < all->nr; i++)
		if (holds(of_root, all->list[i]))
			ret->env_of_root[ret->n_env_of_root++] = all->list[i];
		else
			ret->env[ret->n_env++] = all->list[i];
	return 0;
}

static int fill_exe(const struct task *t, struct arena *a, Stasis__StandIn *ret,
		    struct stasis_error *err)
{
	scoped_free char *exe = proc_readlink(t->procfd, "exe", err);
	size_t len = exe ? strlen(exe) : 0, tail = strlen(DELETED);

	if (!exe)
		return -1;
	/* a package was upgraded: its new program has that name */
	if (len > tail && strcmp(exe + len - tail, DELETED) == 0)
		exe[len - tail] = '\0';
	ret->exe = arena_strdup(a, exe);
	return ret->exe ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
}

/* Signals that some threads block and one waits for are the program's own doing. */
static uint64_t blocked_by_all(const struct task *t)
{
	uint64_t mask = ~(uint64_t)0;

	for (size_t i = 0; i < t->nr_threads; i++)
		mask &= t->threads[i].sigmask;
	return mask;
}

int dump_fill_stand_in(struct task *t, struct arena *a, Stasis__StandIn **ret,
		       struct stasis_error *err)
{
	struct strings argv = {.nr = 0}, env = {.nr = 0}, of_root = {.nr = 0};
	Stasis__StandIn *s = arena_alloc(a, sizeof(*s));

	if (!s)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	stasis__stand_in__init(s);
	s->label = arena_strdup(a, t->stand_in);
	if (!s->label)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	if (fill_exe(t, a, s, err) < 0 || read_strings(t, "cmdline", a, &argv, err) < 0 ||
	    read_strings(t, "environ", a, &env, err) < 0 ||
	    read_strings(t->tree->tasks[0], "environ", a, &of_root, err) < 0 ||
	    split_environment(&env, &of_root, a, s, err) < 0 ||
	    dump_fill_creds(&t->threads[0], 0, a, &s->creds, err) < 0)
		return -1;
	s->argv = argv.list;
	s->n_argv = argv.nr;
	s->sig_ignored = t->threads[0].status.sig_ign;
	s->sig_blocked = blocked_by_all(t);
	*ret = s;
	return 0;
}
