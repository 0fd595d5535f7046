/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's public entry points: check the options, make a session, do it. */
#include "dump/dump.h"
#include "lib/error.h"
#include "restore/restore.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <stasis/stasis.h>

static int check_signal(const char *what, int sig, struct stasis_error *err)
{
	if (sig < 0 || sig >= NSIG)
		return stasis_fail(err, STASIS_E_USAGE, "%s: there is no signal %d", what, sig);
	return 0;
}

static int check_dump_opts(const struct stasis_dump_opts *o, struct stasis_error *err)
{
	if (o->root <= 0)
		return stasis_fail(err, STASIS_E_USAGE, "%d is not a process id", o->root);
	if (o->root == 1)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the first process of a system cannot be checkpointed");
	if (o->name && (!*o->name || strchr(o->name, '/')))
		return stasis_fail(err, STASIS_E_USAGE, "'%s' is not a file name", o->name);
	if (check_signal("signal for the root", o->signal_root, err) < 0)
		return -1;
	return check_signal("signal for all", o->signal_all, err);
}

int stasis_dump(const struct stasis_dump_opts *opts, struct stasis_dump_result *ret,
		struct stasis_error *err)
{
	struct stasis_dump_result unused;
	struct session s;

	if (check_dump_opts(opts, err) < 0 ||
	    session_init(&s, opts->log, opts->log_arg, opts->log_level, err) < 0)
		return -1;
	s.is_forced = opts->flags & STASIS_DUMP_FORCE;
	s.external = opts->external;
	return dump_run(&s, opts, ret ? ret : &unused, err);
}

int stasis_inspect(const struct stasis_dump_opts *opts, struct stasis_tree_info **ret,
		   struct stasis_error *err)
{
	struct session s;

	if (check_dump_opts(opts, err) < 0 ||
	    session_init(&s, opts->log, opts->log_arg, opts->log_level, err) < 0)
		return -1;
	return dump_inspect(&s, opts, ret, err);
}

int stasis_restore(const struct stasis_restore_opts *opts, struct stasis_restored *ret,
		   struct stasis_error *err)
{
	struct session s;

	if (!opts->name || !*opts->name)
		return stasis_fail(err, STASIS_E_USAGE, "no checkpoint file is named");
	if (check_signal("signal for the root", opts->signal_root, err) < 0 ||
	    check_signal("signal for all", opts->signal_all, err) < 0 ||
	    session_init(&s, opts->log, opts->log_arg, opts->log_level, err) < 0)
		return -1;
	return restore_run(&s, opts, ret, err);
}

int stasis_image_inspect(int dirfd, const char *name, struct stasis_tree_info **ret,
			 struct stasis_error *err)
{
	struct session s;

	if (session_init(&s, NULL, NULL, STASIS_LOG_ERROR, err) < 0)
		return -1;
	return restore_inspect(&s, dirfd, name, ret, err);
}

int stasis_image_verify(int dirfd, const char *name, struct stasis_error *err)
{
	struct session s;

	if (session_init(&s, NULL, NULL, STASIS_LOG_ERROR, err) < 0)
		return -1;
	return restore_verify(&s, dirfd, name, err);
}

static void free_strings(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void free_proc(struct stasis_proc_info *p)
{
	for (size_t i = 0; i < p->nr_fds; i++) {
		free(p->fds[i].path);
		free(p->fds[i].obstacle);
	}
	for (size_t i = 0; i < p->nr_obstacles; i++)
		free(p->obstacles[i]);
	free(p->fds);
	free(p->obstacles);
	free(p->stand_in);
	free_strings(p->argv);
	free_strings(p->env);
	free_strings(p->env_of_root);
}

void stasis_tree_info_free(struct stasis_tree_info *info)
{
	if (!info)
		return;
	for (size_t i = 0; i < info->nr_procs; i++)
		free_proc(&info->procs[i]);
	free(info->procs);
	free(info);
}
