/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of chkpnt and its rules: section "Using the chkpnt Command" of the CONVEX guide.
 */
#include "cmds/chkpnt_priv.h"

#include "lib/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: chkpnt [OPTION]... PID\n"
	"       chkpnt [OPTION]... -P FD\n"
	"Save the state of a running process, or of a process hierarchy, in checkpoint files,\n"
	"from which restart(1) brings it back. The process goes on running.\n"
	"\n"
	"  -r, -j, --recursive     checkpoint the descendants of the process, too\n"
	"  -p                      checkpoint only the process (the default)\n"
	"  -d, --directory=DIR     checkpoint directory (default: current working directory)\n"
	"  -f, --file=FILE         name or path of the checkpoint file (default: COMMAND.PID)\n"
	"  -C, --copy-files        copy all open regular files to the checkpoint directory\n"
	"  -F, --force             go on despite errors; overwrite existing checkpoint files\n"
	"  -k, --signal-root=SIG   after the checkpoint, send this signal to the process\n"
	"  -K, --signal-all=SIG    the same, to every process of the hierarchy\n"
	"  -n, --no-checkpoint     test only whether the process can be checkpointed\n"
	"  -i, --interactive       choose processes and file descriptors in a dialogue\n"
	"  -L, --log=LOGFILE       interactive mode; record the choices in LOGFILE\n"
	"  -I, --input-log=LOGFILE use the choices recorded in LOGFILE\n"
	"      --external=LIST     what may end outside of the processes that are saved: unix,\n"
	"                          sysv, stdio\n"
	"      --stand-in=PID[,...] processes of the hierarchy that are not saved: a restart runs\n"
	"                          their programs again, in their places\n"
	"  -P, --pidfd=FD          the process is the one of the pidfd FD, instead of PID\n"
	"  -q, --quiet             no warnings\n"
	"  -v, --verbose           show what is saved\n"
	"  -X, --debug             print debugging output\n"
	"      --help              print this and exit\n"
	"      --version           print the version and exit\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong usage, 3 the process uses something that cannot\n"
	"be saved, 4 permission denied.\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_EXTERNAL,
	OPT_STAND_IN,
};

static const struct option long_options[] = {
	{"recursive", no_argument, NULL, 'r'},
	{"directory", required_argument, NULL, 'd'},
	{"file", required_argument, NULL, 'f'},
	{"copy-files", no_argument, NULL, 'C'},
	{"force", no_argument, NULL, 'F'},
	{"signal-root", required_argument, NULL, 'k'},
	{"signal-all", required_argument, NULL, 'K'},
	{"no-checkpoint", no_argument, NULL, 'n'},
	{"interactive", no_argument, NULL, 'i'},
	{"log", required_argument, NULL, 'L'},
	{"input-log", required_argument, NULL, 'I'},
	{"pidfd", required_argument, NULL, 'P'},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"debug", no_argument, NULL, 'X'},
	{"external", required_argument, NULL, OPT_EXTERNAL},
	{"stand-in", required_argument, NULL, OPT_STAND_IN},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

/* What was on the command line, before the options are checked against each other. */
struct raw {
	bool has_scope_all, has_scope_one; /* -r or -j, -p */
	bool has_i;
	const char *signal_root, *signal_all, *pidfd, *external, *stand_in;
};

/* Options without argument; false when the letter is none of them. */
static bool take_flag(int letter, struct chkpnt_opts *o, struct raw *raw)
{
	switch (letter) {
	case 'C':
		return o->is_copying = true;
	case 'F':
		return o->is_forced = true;
	case 'i':
		return o->is_interactive = raw->has_i = true;
	case 'n':
		return o->is_check_only = true;
	case 'q':
		return o->log.is_quiet = true;
	case 'v':
		return o->log.is_verbose = true;
	case 'X':
		return o->log.is_debug = true;
	case 'r':
	case 'j':
		return o->is_recursive = raw->has_scope_all = true;
	case 'p':
		return raw->has_scope_one = true;
	default:
		return false;
	}
}

static bool take_value(int letter, struct chkpnt_opts *o, struct raw *raw)
{
	switch (letter) {
	case 'd':
		o->dir = optarg;
		return true;
	case 'f':
		o->file = optarg;
		return true;
	case 'I':
		o->read_log = optarg;
		return true;
	case 'L':
		o->write_log = optarg;
		return o->is_interactive = true;
	case 'k':
		raw->signal_root = optarg;
		return true;
	case 'K':
		raw->signal_all = optarg;
		return true;
	case 'P':
		raw->pidfd = optarg;
		return true;
	case OPT_EXTERNAL:
		raw->external = optarg;
		return true;
	case OPT_STAND_IN:
		raw->stand_in = optarg;
		return true;
	default:
		return false;
	}
}

/*
 * A pidfd that the caller of this command obtained and passed on: its pid stands in fdinfo
 * (since Linux 5.2; -1 when the process has ended, 0 when it is in a pid namespace we cannot see).
 */
static int pid_of_pidfd(const char *text, pid_t *ret, struct stasis_error *err)
{
	scoped_file FILE *f = NULL;
	char path[48], line[256];
	int fd, pid = 0;

	if (!cmd_parse_int(text, &fd))
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid process file descriptor: fd %s: %s", text,
				   strerror(EBADF));
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	errno = EBADF;
	if (fcntl(fd, F_GETFD) >= 0) {
		f = fopen(path, "re");
		errno = EINVAL; /* unless a Pid line follows: no pidfd */
	}
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Pid: %d", &pid) == 1)
			errno = ESRCH;
	}
	if (pid <= 0)
		return stasis_fail_errno(err, errno == ESRCH ? STASIS_E_GONE : STASIS_E_USAGE,
					 "invalid process file descriptor: fd %d", fd);
	*ret = pid;
	return 0;
}

static int check_combinations(const struct chkpnt_opts *o, const struct raw *raw,
			      struct stasis_error *err)
{
	if (raw->has_scope_all && raw->has_scope_one)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -p option specified with -r or -j");
	if (raw->signal_root && raw->signal_all)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -k option specified with -K");
	if (o->read_log && o->write_log)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -I option specified with -L");
	if (o->read_log && raw->has_i)
		return stasis_fail(err, STASIS_E_USAGE,
				   "invalid option combination: -I option specified with -i");
	return 0;
}

static int take_target(int nr_args, char **args, const struct raw *raw, pid_t *ret,
		       struct stasis_error *err)
{
	if (nr_args > (raw->pidfd ? 0 : 1))
		return stasis_fail(err, STASIS_E_USAGE, "unexpected argument '%s'",
				   args[raw->pidfd ? 0 : 1]);
	if (raw->pidfd)
		return pid_of_pidfd(raw->pidfd, ret, err);
	if (nr_args == 0)
		return stasis_fail(err, STASIS_E_USAGE, "missing process id specification");
	return cmd_parse_pid(args[0], ret, err);
}

/* A list of kinds, separated by commas. */
static int parse_external(const char *list, unsigned *ret, struct stasis_error *err)
{
	static const struct {
		const char *name;
		unsigned flag;
	} known[] = {{"unix", STASIS_EXTERNAL_UNIX},
		     {"sysv", STASIS_EXTERNAL_SYSV},
		     {"stdio", STASIS_EXTERNAL_STDIO}};
	unsigned found = 0;

	for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL) {
		size_t len = strcspn(p, ","), i = 0, nr = sizeof(known) / sizeof(known[0]);

		while (i < nr && (strlen(known[i].name) != len || memcmp(known[i].name, p, len) != 0))
			i++;
		if (i == nr)
			return stasis_fail(err, STASIS_E_USAGE,
					   "invalid kind '%.*s' for --external: it can be unix, "
					   "sysv or stdio",
					   (int)len, p);
		found |= known[i].flag;
	}
	*ret = found;
	return 0;
}

/* A list of pids, separated by commas. */
static int parse_stand_ins(const char *list, struct chkpnt_opts *o, struct stasis_error *err)
{
	scoped_free char *copy = strdup(list);
	char *rest = copy, *one;

	if (!copy)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a list");
	while ((one = strsep(&rest, ","))) {
		if (o->nr_stand_ins == sizeof(o->stand_ins) / sizeof(o->stand_ins[0]))
			return stasis_fail(err, STASIS_E_USAGE, "--stand-in: more than %zu processes",
					   o->nr_stand_ins);
		if (cmd_parse_pid(one, &o->stand_ins[o->nr_stand_ins++].pid, err) < 0)
			return -1;
	}
	return 0;
}

static int opts_check(struct chkpnt_opts *o, const struct raw *raw, int nr_args, char **args,
		      struct stasis_error *err)
{
	if (check_combinations(o, raw, err) < 0)
		return -1;
	if (raw->signal_root && cmd_parse_signal(raw->signal_root, &o->signal_root, err) < 0)
		return -1;
	if (raw->signal_all && cmd_parse_signal(raw->signal_all, &o->signal_all, err) < 0)
		return -1;
	if (raw->external && parse_external(raw->external, &o->external, err) < 0)
		return -1;
	if (raw->stand_in && parse_stand_ins(raw->stand_in, o, err) < 0)
		return -1;
	return take_target(nr_args, args, raw, &o->pid, err);
}

int chkpnt_opts_parse(int argc, char **argv, struct chkpnt_opts *ret)
{
	struct chkpnt_opts o = {0};
	struct raw raw = {0};
	struct stasis_error err;
	int letter;

	while ((letter = getopt_long(argc, argv, "CFinqvXrjpd:f:I:L:k:K:P:", long_options, NULL)) !=
	       -1) {
		if (letter == OPT_HELP)
			return cmd_help(help);
		if (letter == OPT_VERSION)
			return cmd_version();
		if (!take_flag(letter, &o, &raw) && !take_value(letter, &o, &raw))
			return cmd_try_help();
	}
	if (opts_check(&o, &raw, argc - optind, argv + optind, &err) < 0)
		return cmd_report(&err);
	*ret = o;
	return -1;
}
