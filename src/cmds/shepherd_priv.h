/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the source files of stasis-shepherd. */
#ifndef CMDS_SHEPHERD_PRIV_H
#define CMDS_SHEPHERD_PRIV_H

#include "cmds/restart_priv.h"

/* Keep signals for the root, and Slurm's warning, until shepherd_follow(). */
void shepherd_hold_signals(void);

/* restart_follow(); a batch script's shepherd tells stasisd when Slurm warns it. */
int shepherd_follow(struct stasis_restored *restored, bool is_script);

/* A job that is to be warned runs for the first time: argv[0] is the script's path. Returns the exit status. */
int shepherd_run(const char *script, char **argv);

#endif
