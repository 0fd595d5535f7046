/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log file of chkpnt -L and -I: a line for each process of the tree and, when it is
 * checkpointed, one for each of its descriptors.
 *
 *	650 ksh checkpoint
 *	0 :/dev/tty0: path
 *	3 :/mnt/ex3: copy
 *	4 :/etc/ttys: ignore
 *	655 sleep ignore
 *
 * A character of a name or path that could be taken for something else (newline, other control
 * characters, backslash) is written as \ooo.
 */
#ifndef CMDS_LOGFILE_H
#define CMDS_LOGFILE_H

#include "cmds/common.h"
#include "cmds/selection.h"

/* A log file in the making: it takes its name only when it is complete. */
struct logfile;

/* Paths are relative to dirfd. A file of that name is replaced on commit. */
struct logfile *logfile_create(int dirfd, const char *path, struct stasis_error *err);
int logfile_commit(struct logfile *log, const struct selection *sel, struct stasis_error *err);
void logfile_discardp(struct logfile **log); /* only frees after commit */

/*
 * Apply a log file to the selection. A process takes the entry with its pid and command name, else
 * the one at its place in the hierarchy if that has its command name; else it keeps the defaults,
 * with a warning. A descriptor takes the entry with its number; when the path has changed since,
 * "ignore" is not applied, with a warning.
 */
int logfile_apply(int dirfd, const char *path, struct selection *sel, const struct cmd_log *log,
		  struct stasis_error *err);

/* Show what will be done with each item, as figure 2-12 of the CONVEX guide. */
void logfile_show_actions(const struct selection *sel);

#endif
