/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stasis: the umbrella command. This file knows the subcommands and their options; check, verify
 * and show are short enough to live here, too.
 */
#include "cmds/stasis_priv.h"

#include "cmds/show.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: stasis check [-r] [--json] PID   tell what keeps a process from a checkpoint\n"
	"       stasis verify [--json] FILE...   check every byte of checkpoint files\n"
	"       stasis show [--json] FILE        show what a checkpoint file holds\n"
	"       stasis ls [--json] [DIR]         list the checkpoint files in a folder\n"
	"       stasis --help | --version\n"
	"\n"
	"  -r, --recursive   check the descendants of the process, too\n"
	"      --json        print JSON\n"
	"  -q, --quiet       no warnings; check and verify print failures only\n"
	"  -v, --verbose     tell what is done\n"
	"  -X, --debug       print debugging output\n"
	"      --help        print this and exit\n"
	"      --version     print the version and exit\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong usage, 3 the process cannot be checkpointed,\n"
	"4 permission denied, 5 a checkpoint file is damaged.\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
};

static const struct option long_options[] = {
	{"recursive", no_argument, NULL, 'r'},	     {"json", no_argument, NULL, OPT_JSON},
	{"quiet", no_argument, NULL, 'q'},	     {"verbose", no_argument, NULL, 'v'},
	{"debug", no_argument, NULL, 'X'},	     {"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION}, {0},
};

struct subcommand {
	const char *name;
	int (*run)(struct stasis_opts *o);
	bool takes_recursive;
	int min_args, max_args; /* max_args < 0: any number */
	const char *missing;	/* message when there are fewer */
};

static const struct subcommand subcommands[] = {
	{"check", stasis_check, true, 1, 1, "missing process id specification"},
	{"verify", stasis_verify, false, 1, -1, "missing checkpoint file specification"},
	{"show", stasis_show, false, 1, 1, "missing checkpoint file specification"},
	{"ls", stasis_ls, false, 0, 1, ""},
};

void stasis_tree_info_freep(struct stasis_tree_info **info)
{
	stasis_tree_info_free(*info);
}

/* ---- check */

static bool has_obstacle(const struct stasis_proc_info *p)
{
	if (p->nr_obstacles)
		return true;
	for (size_t i = 0; i < p->nr_fds; i++) {
		if (!p->fds[i].is_supported)
			return true;
	}
	return false;
}

static bool tree_has_obstacle(const struct stasis_tree_info *info)
{
	for (size_t i = 0; i < info->nr_procs; i++) {
		if (has_obstacle(&info->procs[i]))
			return true;
	}
	return false;
}

static void print_verdict(const struct stasis_proc_info *p, bool is_quiet)
{
	if (!has_obstacle(p)) {
		if (is_quiet)
			return;
		show_text(stdout, p->name);
		printf("(%d) is checkpointable\n", p->pid);
		return;
	}
	(void)show_process_obstacles(stdout, "", p);
	for (size_t i = 0; i < p->nr_fds; i++)
		(void)show_fd_obstacle(stdout, "", p, &p->fds[i]);
}

static int print_check_json(pid_t pid, const struct stasis_tree_info *info)
{
	json_t *o = json_object();

	json_object_set_new(o, "pid", json_integer(pid));
	json_object_set_new(o, "checkpointable", json_boolean(!tree_has_obstacle(info)));
	json_object_set_new(o, "processes", json_tree(info));
	return json_print(o);
}

int stasis_check(struct stasis_opts *o)
{
	scoped(stasis_tree_info_freep) struct stasis_tree_info *info = NULL;
	struct stasis_dump_opts dump = {
		.flags = STASIS_DUMP_CHECK_ONLY | (o->is_recursive ? STASIS_DUMP_RECURSIVE : 0u),
		.dirfd = AT_FDCWD,
		.log = cmd_log_line,
		.log_arg = &o->log,
		.log_level = cmd_log_level(&o->log),
	};
	struct stasis_error err;

	if (cmd_parse_pid(o->args[0], &dump.root, &err) < 0 ||
	    stasis_inspect(&dump, &info, &err) < 0)
		return cmd_report(&err);
	if (o->is_json) {
		if (print_check_json(dump.root, info) != 0)
			return 1;
	} else {
		for (size_t i = 0; i < info->nr_procs; i++)
			print_verdict(&info->procs[i], o->log.is_quiet);
	}
	return tree_has_obstacle(info) ? stasis_exit_status(STASIS_E_UNSUPPORTED) : 0;
}

/* ---- verify */

static void print_result(const char *file, const struct stasis_error *err, bool is_quiet)
{
	if (err) {
		cmd_message("%s: %s", file, err->text);
	} else if (!is_quiet) {
		show_text(stdout, file);
		puts(": ok");
	}
}

static json_t *json_result(const char *file, const struct stasis_error *err)
{
	json_t *o = json_object();

	json_object_set_new(o, "file", json_text(file));
	json_object_set_new(o, "ok", json_boolean(!err));
	json_object_set_new(o, "error", json_text(err ? err->text : NULL));
	return o;
}

/* The exit status is that of the first file that failed. */
int stasis_verify(struct stasis_opts *o)
{
	json_t *results = o->is_json ? json_array() : NULL;
	int status = 0;

	for (int i = 0; i < o->nr_args; i++) {
		const char *file = o->args[i];
		struct stasis_error err;
		bool is_ok = stasis_image_verify(AT_FDCWD, file, &err) == 0;

		if (!is_ok && !status)
			status = stasis_exit_status(err.cls);
		if (o->is_json)
			json_array_append_new(results, json_result(file, is_ok ? NULL : &err));
		else
			print_result(file, is_ok ? NULL : &err, o->log.is_quiet);
	}
	if (o->is_json && json_print(results) != 0)
		return 1;
	return status;
}

/* ---- show */

int stasis_show(struct stasis_opts *o)
{
	scoped(stasis_tree_info_freep) struct stasis_tree_info *info = NULL;
	const char *file = o->args[0];
	struct stasis_error err;
	json_t *json;

	if (stasis_image_inspect(AT_FDCWD, file, &info, &err) < 0)
		return cmd_report(&err);
	if (!o->is_json) {
		show_tree(stdout, info);
		return 0;
	}
	json = json_object();
	json_object_set_new(json, "file", json_text(file));
	json_object_set_new(json, "processes", json_tree(info));
	return json_print(json);
}

/* ---- the command line */

static const struct subcommand *find_subcommand(const char *name)
{
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
		if (strcmp(name, subcommands[i].name) == 0)
			return &subcommands[i];
	}
	return NULL;
}

static bool take_flag(int letter, struct stasis_opts *o)
{
	switch (letter) {
	case 'r':
		return o->is_recursive = true;
	case 'q':
		return o->log.is_quiet = true;
	case 'v':
		return o->log.is_verbose = true;
	case 'X':
		return o->log.is_debug = true;
	case OPT_JSON:
		return o->is_json = true;
	default:
		return false;
	}
}

static int wrong_usage(const char *text, const char *arg)
{
	if (arg)
		cmd_message("%s '%s'", text, arg);
	else
		cmd_message("%s", text);
	return cmd_try_help();
}

/* The first operand is the subcommand. */
static int run_subcommand(struct stasis_opts *o)
{
	const struct subcommand *sub;

	if (o->nr_args == 0)
		return wrong_usage("missing subcommand", NULL);
	sub = find_subcommand(o->args[0]);
	if (!sub)
		return wrong_usage("unknown subcommand", o->args[0]);
	o->nr_args--;
	o->args++;
	if (o->is_recursive && !sub->takes_recursive)
		return wrong_usage("option -r does not go with subcommand", sub->name);
	if (o->nr_args < sub->min_args)
		return wrong_usage(sub->missing, NULL);
	if (sub->max_args >= 0 && o->nr_args > sub->max_args)
		return wrong_usage("unexpected argument", o->args[sub->max_args]);
	return sub->run(o);
}

int main(int argc, char **argv)
{
	struct stasis_opts o = {0};
	int letter;

	cmd_init(argv);
	while ((letter = getopt_long(argc, argv, "rqvX", long_options, NULL)) != -1) {
		if (letter == OPT_HELP)
			return cmd_help(help);
		if (letter == OPT_VERSION)
			return cmd_version();
		if (!take_flag(letter, &o))
			return cmd_try_help();
	}
	o.nr_args = argc - optind;
	o.args = argv + optind;
	return cmd_finish(run_subcommand(&o));
}
