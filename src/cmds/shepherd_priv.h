/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the source files of stasis-shepherd. */
#ifndef CMDS_SHEPHERD_PRIV_H
#define CMDS_SHEPHERD_PRIV_H

#include "cmds/restart_priv.h"

/* Keep signals for the root, and Slurm's warning, until shepherd_follow(). */
void shepherd_hold_signals(void);

/* restart_follow(); a batch script's shepherd tells stasisd when Slurm warns it. folder: of the checkpoint that was
 * counted, or NULL. */
int shepherd_follow(struct stasis_restored *restored, bool is_script, const char *folder);

/* Before a batch script is restarted from folder, whose newest checkpoint is `generation`: does not return when that
 * was done too often. */
void shepherd_count_try(const char *folder, unsigned generation);
void shepherd_forget_tries(const char *folder);

/* It goes on from an older one, as the newest is damaged. */
void shepherd_report_fallback(unsigned generation, const char *why);

/* A job that is to be warned runs for the first time: argv[0] is the script's path. Returns the exit status. */
int shepherd_run(const char *script, char **argv);

#endif
