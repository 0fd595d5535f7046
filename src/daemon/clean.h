/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CLEAN_H
#define DAEMON_CLEAN_H

#include "daemon/config.h"

/* Deletes the checkpoints of jobs that have been complete for so long as "clean-after" says. */
void clean_all(const struct config *c);

#endif
