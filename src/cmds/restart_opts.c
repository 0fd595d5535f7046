/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of restart and its rules: section "Using the restart Command" of the CONVEX
 * guide. */
#include "cmds/restart_priv.h"

#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

static const char help[] =
	"Usage: restart [OPTION]... CHECKPOINT_FILE\n"
	"Bring back the process, or the process hierarchy, that chkpnt(1) saved in\n"
	"CHECKPOINT_FILE, and wait until it ends.\n"
	"\n"
	"  -C, --copy-back         put files that chkpnt -C copied back to their places first\n"
	"  -F, --force             go on despite errors\n"
	"      --rollback-files    cut files that grew since the checkpoint back to their length\n"
	"                          then; the tail is kept as NAME.after-checkpoint\n"
	"      --keep-monotonic    CLOCK_MONOTONIC and CLOCK_BOOTTIME go on from where they were\n"
	"      --cgroup=WHICH      run in the control groups of the checkpoint (keep), in that one\n"
	"                          (join=PATH), or in those of restart (ignore, the default)\n"
	"  -i, --interactive       choose processes and file descriptors in a dialogue\n"
	"  -k, --signal-root=SIG   send this signal to the restarted process instead of SIGCONT;\n"
	"                          0 for none\n"
	"  -K, --signal-all=SIG    send this signal to every process of the hierarchy\n"
	"  -w, --wait              wait for the process (the default); no warning for files that\n"
	"                          changed since the checkpoint\n"
	"  -W, --no-wait           do not wait: print the pid and leave the process running\n"
	"  -z, --stopped           leave every process stopped\n"
	"  -t, --traced            restart in traced state, for a debugger (needs -W)\n"
	"  -q, --quiet             no warnings\n"
	"  -v, --verbose           show what is restarted\n"
	"  -X, --debug             print debugging output\n"
	"      --help              print this and exit\n"
	"      --version           print the version and exit\n"
	"\n"
	"Exit status: that of the restarted process (restart dies of the signal that killed it);\n"
	"with -W 0. When the restart failed: 1 failed, 2 wrong usage, 3 the image needs something\n"
	"this machine does not have, 4 permission denied, 5 the checkpoint file is damaged.\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_ROLLBACK_FILES,
	OPT_KEEP_MONOTONIC,
	OPT_CGROUP,
};

static const struct option long_options[] = {
	{"copy-back", no_argument, NULL, 'C'},
	{"force", no_argument, NULL, 'F'},
	{"rollback-files", no_argument, NULL, OPT_ROLLBACK_FILES},
	{"keep-monotonic", no_argument, NULL, OPT_KEEP_MONOTONIC},
	{"cgroup", required_argument, NULL, OPT_CGROUP},
	{"interactive", no_argument, NULL, 'i'},
	{"signal-root", required_argument, NULL, 'k'},
	{"signal-all", required_argument, NULL, 'K'},
	{"wait", no_argument, NULL, 'w'},
	{"no-wait", no_argument, NULL, 'W'},
	{"stopped", no_argument, NULL, 'z'},
	{"traced", no_argument, NULL, 't'},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"debug", no_argument, NULL, 'X'},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

/* What was on the command line, before the options are checked against each other. */
struct raw {
	bool has_w, has_W;
	const char *signal_root, *signal_all, *cgroup;
};

/* Options without argument; false when the letter is none of them. */
static bool take_flag(int letter, struct restart_opts *o, struct raw *raw)
{
	switch (letter) {
	case 'C':
		return o->is_copying_back = true;
	case 'F':
		return o->is_forced = true;
	case OPT_ROLLBACK_FILES:
		return o->is_rolling_back = true;
	case OPT_KEEP_MONOTONIC:
		return o->keeps_monotonic = true;
	case 'i':
		return o->is_interactive = true;
	case 'q':
		return o->log.is_quiet = true;
	case 't':
		return o->is_traced = true;
	case 'v':
		return o->log.is_verbose = true;
	case 'w':
		return raw->has_w = true;
	case 'W':
		return raw->has_W = true;
	case 'X':
		return o->log.is_debug = true;
	case 'z':
		return o->is_stopped = true;
	default:
		return false;
	}
}

static bool take_value(int letter, struct raw *raw)
{
	if (letter == 'k')
		raw->signal_root = optarg;
	else if (letter == 'K')
		raw->signal_all = optarg;
	else if (letter == OPT_CGROUP)
		raw->cgroup = optarg;
	else
		return false;
	return true;
}

static int parse_cgroup(const char *text, struct restart_opts *o, struct stasis_error *err)
{
	if (!strcmp(text, "keep"))
		o->cgroup = STASIS_CGROUP_KEEP;
	else if (!strcmp(text, "ignore"))
		o->cgroup = STASIS_CGROUP_IGNORE;
	else if (!strncmp(text, "join=", 5) && text[5] == '/')
		o->cgroup = STASIS_CGROUP_JOIN;
	else
		return stasis_fail(err, STASIS_E_USAGE,
				   "--cgroup=%s: not keep, ignore or join=PATH with an absolute path", text);
	o->cgroup_path = text + (o->cgroup == STASIS_CGROUP_JOIN ? 5 : 0);
	return 0;
}

static int check_combinations(const struct restart_opts *o, const struct raw *raw,
			      struct stasis_error *err)
{
	if (o->is_traced && !raw->has_W)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -t option specified without -W");
	if (raw->has_w && raw->has_W)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -w option specified with -W");
	if (raw->signal_root && raw->signal_all)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -k option specified with -K");
	if (o->is_stopped && (raw->signal_root || raw->signal_all))
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -z option specified with -k or -K");
	return 0;
}

static int opts_check(struct restart_opts *o, const struct raw *raw, int nr_args, char **args,
		      struct stasis_error *err)
{
	if (check_combinations(o, raw, err) < 0)
		return -1;
	o->is_waiting = !raw->has_W;
	o->ignores_changes = raw->has_w;
	if (raw->signal_root && cmd_parse_signal(raw->signal_root, &o->signal_root, err) < 0)
		return -1;
	if (raw->signal_all && cmd_parse_signal(raw->signal_all, &o->signal_all, err) < 0)
		return -1;
	if (raw->cgroup && parse_cgroup(raw->cgroup, o, err) < 0)
		return -1;
	if (!raw->signal_root && !raw->signal_all && !o->is_stopped)
		o->signal_root = SIGCONT; /* the guide's default */
	if (nr_args == 0)
		return stasis_fail(err, STASIS_E_USAGE, "missing checkpoint file specification");
	if (nr_args > 1)
		return stasis_fail(err, STASIS_E_USAGE, "unexpected argument '%s'", args[1]);
	o->file = args[0];
	return 0;
}

int restart_opts_parse(int argc, char **argv, struct restart_opts *ret)
{
	struct restart_opts o = {0};
	struct raw raw = {0};
	struct stasis_error err;
	int letter;

	while ((letter = getopt_long(argc, argv, "CFiqtvwWXzk:K:", long_options, NULL)) != -1) {
		if (letter == OPT_HELP)
			return cmd_help(help);
		if (letter == OPT_VERSION)
			return cmd_version();
		if (!take_flag(letter, &o, &raw) && !take_value(letter, &raw))
			return cmd_try_help();
	}
	if (opts_check(&o, &raw, argc - optind, argv + optind, &err) < 0)
		return cmd_report(&err);
	*ret = o;
	return -1;
}
