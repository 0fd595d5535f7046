/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chkpnt: the CONVEX front end of stasis_dump(). This file orders the steps: look at the tree when
 * the user wants to see or choose, collect the choices, then test or save.
 */
#include "cmds/chkpnt_priv.h"
#include "cmds/logfile.h"
#include "cmds/show.h"
#include "lib/scoped.h"

#include <stdio.h>
#include <string.h>

/* The user left the dialogue: nothing was saved, and a script must be able to tell. */
#define EXIT_QUIT 1

static void tree_info_freep(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

static unsigned dump_flags(const struct chkpnt_opts *o)
{
	return (o->is_recursive ? STASIS_DUMP_RECURSIVE : 0u) |
	       (o->is_forced ? STASIS_DUMP_FORCE : 0u) |
	       (o->is_check_only ? STASIS_DUMP_CHECK_ONLY : 0u);
}

static void fill_dump_opts(struct chkpnt_opts *o, const struct chkpnt_place *place,
			   struct stasis_dump_opts *ret)
{
	*ret = (struct stasis_dump_opts){
		.root = o->pid,
		.flags = dump_flags(o),
		.external = o->external,
		.stand_ins = o->stand_ins,
		.nr_stand_ins = o->nr_stand_ins,
		.dirfd = place->dirfd,
		.name = place->name,
		.signal_root = o->is_check_only ? 0 : o->signal_root,
		.signal_all = o->is_check_only ? 0 : o->signal_all,
		.log = cmd_log_line,
		.log_arg = &o->log,
		.log_level = cmd_log_level(&o->log),
	};
}

/* -n: show every obstacle that the choices leave; returns their number. */
static size_t show_remaining_obstacles(const struct selection *sel)
{
	scoped_free char *prefix = NULL;
	size_t nr = 0;

	if (asprintf(&prefix, "%s: ", cmd_name()) < 0)
		prefix = strdup("");
	for (size_t i = 0; i < sel->info->nr_procs; i++) {
		const struct stasis_proc_info *p = &sel->info->procs[i];
		const struct selection_proc *chosen = &sel->procs[i];

		if (chosen->is_skipped)
			continue;
		nr += show_process_obstacles(stderr, prefix, p);
		for (size_t j = 0; j < p->nr_fds; j++) {
			if (chosen->fds[j].action != STASIS_FD_IGNORE)
				nr += show_fd_obstacle(stderr, prefix, p, &p->fds[j]);
		}
	}
	return nr;
}

/* -n: exit status. Obstacles come one and all, where stasis_dump() would fail with the first. */
static int test_only(const struct chkpnt_opts *o, const struct stasis_dump_opts *dump,
		     const struct selection *sel)
{
	struct stasis_dump_result result;
	struct stasis_error err;

	fflush(stdout);
	if (!o->is_forced && show_remaining_obstacles(sel))
		return stasis_exit_status(STASIS_E_UNSUPPORTED);
	if (stasis_dump(dump, &result, &err) < 0)
		return cmd_report(&err);
	for (size_t i = 0; o->log.is_verbose && i < sel->info->nr_procs; i++) {
		if (sel->procs[i].is_skipped)
			continue;
		show_text(stdout, sel->info->procs[i].name);
		printf("(%d) is checkpointable\n", sel->info->procs[i].pid);
	}
	return 0;
}

static int save(const struct chkpnt_opts *o, const struct chkpnt_place *place,
		const struct stasis_dump_opts *dump)
{
	struct stasis_dump_result result;
	struct stasis_error err;

	fflush(stdout);
	if (stasis_dump(dump, &result, &err) < 0)
		return cmd_report(&err);
	if (!o->log.is_verbose)
		return 0;
	show_text(stdout, place->dir);
	putchar('/');
	show_text(stdout, result.root_name);
	printf(": %zu checkpoint file%s, %llu bytes, stopped for %.1f ms\n", result.nr_files,
	       result.nr_files == 1 ? "" : "s", (unsigned long long)result.bytes,
	       (double)result.stopped_ns / 1e6);
	return 0;
}

/* Ask the user or the log file; -1 with *err, or whether to go on. */
static int choose(const struct chkpnt_opts *o, const struct chkpnt_place *place,
		  struct selection *sel, enum dialog_end *ret_end, struct stasis_error *err)
{
	scoped(logfile_discardp) struct logfile *log = NULL;

	*ret_end = DIALOG_PROCEED;
	if (o->read_log) {
		if (logfile_apply(place->dirfd, o->read_log, sel, &o->log, err) < 0)
			return -1;
		logfile_show_actions(sel);
	}
	if (o->write_log) {
		log = logfile_create(place->dirfd, o->write_log, err);
		if (!log)
			return -1;
	}
	if (o->is_interactive)
		*ret_end = chkpnt_interactive(sel);
	if (*ret_end == DIALOG_QUIT)
		return 0;
	if (selection_finish(sel, err) < 0)
		return -1;
	return log ? logfile_commit(log, sel, err) : 0;
}

/* The way through with a look at the tree: -i, -I, -L, -n and -v. */
static int run_with_choices(const struct chkpnt_opts *o, const struct chkpnt_place *place,
			    struct stasis_dump_opts *dump)
{
	scoped(tree_info_freep) struct stasis_tree_info *info = NULL;
	scoped(selection_freep) struct selection *sel = NULL;
	enum dialog_end end;
	struct stasis_error err;

	if (stasis_inspect(dump, &info, &err) < 0)
		return cmd_report(&err);
	sel = selection_create(info, o->is_copying, &err);
	if (!sel)
		return cmd_report(&err);
	if (o->log.is_verbose && !o->is_interactive && !o->read_log)
		show_tree(stdout, info);
	if (choose(o, place, sel, &end, &err) < 0)
		return cmd_report(&err);
	if (end == DIALOG_QUIT)
		return EXIT_QUIT;
	dump->choices = sel->choices;
	dump->nr_choices = sel->nr_choices;
	dump->skip_pids = sel->skip_pids;
	dump->nr_skip_pids = sel->nr_skip_pids;
	return o->is_check_only ? test_only(o, dump, sel) : save(o, place, dump);
}

static int run(struct chkpnt_opts *o)
{
	scoped(chkpnt_place_close) struct chkpnt_place place = {.dirfd = -1};
	struct stasis_dump_opts dump;
	struct stasis_error err;

	if (chkpnt_place_open(o, &place, &err) < 0)
		return cmd_report(&err);
	fill_dump_opts(o, &place, &dump);
	if (o->is_interactive || o->read_log || o->is_check_only)
		return run_with_choices(o, &place, &dump);
	/* Choices name each file to copy; without a list it is the library that finds them all. */
	if (o->is_copying)
		dump.flags |= STASIS_DUMP_COPY_FILES;
	if (o->log.is_verbose) {
		scoped(tree_info_freep) struct stasis_tree_info *info = NULL;

		/* what cannot be shown is no reason to fail: the dump has the better message */
		if (stasis_inspect(&dump, &info, NULL) == 0)
			show_tree(stdout, info);
	}
	return save(o, &place, &dump);
}

int main(int argc, char **argv)
{
	struct chkpnt_opts opts;
	int status;

	cmd_init(argv);
	status = chkpnt_opts_parse(argc, argv, &opts);
	if (status >= 0)
		return status;
	return cmd_finish(run(&opts));
}
