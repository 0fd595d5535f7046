/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a command talks: its name before each message, one sink for the library's log, the exit
 * status of each class of failure, and the two conversions that all commands share: signals and
 * pids.
 */
#include "cmds/common.h"

#include "cmds/show.h"
#include "lib/scoped.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

void cmd_init(char **argv)
{
	(void)setlocale(LC_CTYPE, ""); /* an unknown locale leaves "C": more is shown as \ooo */
	(void)signal(SIGXFSZ, SIG_IGN); /* ulimit -f: a write that fails is told and cleaned up after */
	if (argv[0])
		argv[0] = program_invocation_short_name;
}

const char *cmd_name(void)
{
	return program_invocation_short_name;
}

static void message(const char *fmt, va_list ap) __attribute__((__format__(__printf__, 1, 0)));

static void message(const char *fmt, va_list ap)
{
	scoped_free char *text = NULL;

	(void)fflush(stdout); /* keeps the order when both streams go to one file */
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	fprintf(stderr, "%s: ", cmd_name());
	show_text(stderr, text ? text : fmt);
	fputc('\n', stderr);
}

void cmd_message(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

void cmd_warn(const struct cmd_log *log, const char *fmt, ...)
{
	va_list ap;

	if (log->is_quiet)
		return;
	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

int cmd_report(const struct stasis_error *err)
{
	cmd_message("%s", err->text);
	return stasis_exit_status(err->cls);
}

int cmd_try_help(void)
{
	fprintf(stderr, "Try '%s --help' for more information.\n", cmd_name());
	return CMD_EXIT_USAGE;
}

int cmd_help(const char *text)
{
	fputs(text, stdout);
	return cmd_finish(0);
}

int cmd_version(void)
{
	printf("%s (stasis) %s\n", cmd_name(), PACKAGE_VERSION);
	return cmd_finish(0);
}

int cmd_finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	cmd_message("write to standard output: %s", strerror(errno));
	return status ? status : 1;
}

void cmd_log_line(void *arg, enum stasis_log_level level, const char *text)
{
	const struct cmd_log *log = arg;

	if (level == STASIS_LOG_WARNING && log->is_quiet)
		return;
	cmd_message("%s", text);
}

enum stasis_log_level cmd_log_level(const struct cmd_log *log)
{
	if (log->is_debug)
		return STASIS_LOG_DEBUG;
	if (log->is_verbose)
		return STASIS_LOG_INFO;
	return log->is_quiet ? STASIS_LOG_ERROR : STASIS_LOG_WARNING;
}

bool cmd_parse_int(const char *text, int *ret)
{
	char *end;
	long val;

	if (text[0] < '0' || text[0] > '9') /* strtol() would take blanks and signs */
		return false;
	errno = 0;
	val = strtol(text, &end, 10);
	if (errno || *end || val > INT_MAX)
		return false;
	*ret = (int)val;
	return true;
}

/* clang-format off */
static const struct {
	const char *name;
	int signo;
} signals[] = {
	{ "HUP", SIGHUP },		{ "INT", SIGINT },		{ "QUIT", SIGQUIT },
	{ "ILL", SIGILL },		{ "TRAP", SIGTRAP },		{ "ABRT", SIGABRT },
	{ "IOT", SIGIOT },		{ "BUS", SIGBUS },		{ "FPE", SIGFPE },
	{ "KILL", SIGKILL },		{ "USR1", SIGUSR1 },		{ "SEGV", SIGSEGV },
	{ "USR2", SIGUSR2 },		{ "PIPE", SIGPIPE },		{ "ALRM", SIGALRM },
	{ "TERM", SIGTERM },		{ "STKFLT", SIGSTKFLT },	{ "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD },		{ "CONT", SIGCONT },		{ "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP },		{ "TTIN", SIGTTIN },		{ "TTOU", SIGTTOU },
	{ "URG", SIGURG },		{ "XCPU", SIGXCPU },		{ "XFSZ", SIGXFSZ },
	{ "VTALRM", SIGVTALRM },	{ "PROF", SIGPROF },		{ "WINCH", SIGWINCH },
	{ "IO", SIGIO },		{ "POLL", SIGPOLL },		{ "PWR", SIGPWR },
	{ "SYS", SIGSYS },
};
/* clang-format on */

static bool find_named_signal(const char *name, int *ret_signo)
{
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (strcasecmp(name, signals[i].name) == 0) {
			*ret_signo = signals[i].signo;
			return true;
		}
	}
	return false;
}

/* RTMIN, RTMIN+n, RTMAX, RTMAX-n. */
static bool find_realtime_signal(const char *name, int *ret_signo)
{
	bool is_min = strncasecmp(name, "RTMIN", 5) == 0;
	int offset = 0, signo;

	if (!is_min && strncasecmp(name, "RTMAX", 5) != 0)
		return false;
	name += 5;
	if (*name && (*name != (is_min ? '+' : '-') || !cmd_parse_int(name + 1, &offset)))
		return false;
	if (offset > SIGRTMAX - SIGRTMIN)
		return false;
	signo = is_min ? SIGRTMIN + offset : SIGRTMAX - offset;
	*ret_signo = signo;
	return true;
}

int cmd_parse_signal(const char *text, int *ret_signo, struct stasis_error *err)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	int number;

	if (cmd_parse_int(text, &number) && number <= SIGRTMAX) {
		*ret_signo = number;
		return 0;
	}
	if (find_named_signal(name, ret_signo) || find_realtime_signal(name, ret_signo))
		return 0;
	return stasis_fail(err, STASIS_E_USAGE, "invalid signal '%s'", text);
}

/* A thread answers to kill() by its own number, but only the process can be checkpointed. */
static bool is_process(pid_t pid)
{
	scoped_file FILE *f = NULL;
	char path[40], line[256];
	int tgid;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return errno != ENOENT; /* hidden by hidepid is for the library to say */
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			return tgid == pid;
	}
	return true;
}

int cmd_parse_pid(const char *text, pid_t *ret_pid, struct stasis_error *err)
{
	const char *digits = text[0] == '-' ? text + 1 : text;
	int pid;

	if (!cmd_parse_int(digits, &pid))
		return stasis_fail(err, STASIS_E_USAGE, "%s: %s", text, strerror(EINVAL));
	if (digits != text || pid == 0 || (kill(pid, 0) < 0 && errno == ESRCH) || !is_process(pid))
		return stasis_fail(err, STASIS_E_GONE, "%s: %s", text, strerror(ESRCH));
	if (pid == getpid()) /* it cannot stop itself and go on saving */
		return stasis_fail(err, STASIS_E_USAGE, "%s: %s", text, strerror(EDEADLK));
	*ret_pid = pid;
	return 0;
}
