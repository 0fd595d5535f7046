/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every command needs: messages, exit status, --help and --version, signal names. */
#ifndef CMDS_COMMON_H
#define CMDS_COMMON_H

#include "lib/error.h"

#include <stasis/stasis.h>
#include <stdbool.h>
#include <sys/types.h>

/* Exit status of a command that was called wrongly; others follow stasis_exit_status(). */
#define CMD_EXIT_USAGE 2

/* -q, -v and -X, and where the library's messages go. */
struct cmd_log {
	bool is_quiet;	 /* -q: no warnings */
	bool is_verbose; /* -v */
	bool is_debug;	 /* -X */
};

/*
 * First call of main(): shortens argv[0] to the name that messages carry (getopt_long() prints it,
 * too) and takes the character set of the terminal from the environment.
 */
void cmd_init(char **argv);

/* The name of this command, as it was called. */
const char *cmd_name(void);

/* "name: text" to stderr. Text from outside is printed with control characters as \ooo. */
void cmd_message(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* cmd_message() unless -q. */
void cmd_warn(const struct cmd_log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Print a failure and return its exit status. */
int cmd_report(const struct stasis_error *err);

/* Point to --help after a message about wrong use; returns CMD_EXIT_USAGE. */
int cmd_try_help(void);

/* --help and --version: print to stdout; both return 0, or 1 when stdout cannot be written. */
int cmd_help(const char *text);
int cmd_version(void);

/* Last call of main(): `status`, or 1 with a message when stdout could not be written. */
int cmd_finish(int status);

/* Sink for the library (stasis_log_fn); arg is a struct cmd_log. */
void cmd_log_line(void *arg, enum stasis_log_level level, const char *text);
enum stasis_log_level cmd_log_level(const struct cmd_log *log);

/*
 * Parse a signal: "KILL", "SIGKILL", "9", "RTMIN+1", "SIGRTMAX-2" in any case; "0" is no signal.
 * Fails with STASIS_E_USAGE.
 */
int cmd_parse_signal(const char *text, int *ret_signo, struct stasis_error *err);

/* Parse a decimal number of 0 to INT_MAX without sign or blanks; false when it is none. */
bool cmd_parse_int(const char *text, int *ret);

/*
 * Find a process from its pid as the user typed it. Fails as "PID: reason": USAGE when that is no
 * pid, GONE when there is no such process (or it is a thread of one).
 */
int cmd_parse_pid(const char *text, pid_t *ret_pid, struct stasis_error *err);

#endif
