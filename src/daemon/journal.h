/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include "daemon/config.h"

#include <stdint.h>

/* Append one line, time first, to the journal file; when that cannot be, to stderr. Text from outside is
 * to be among the arguments, never the format: control characters are replaced. */
void journal(const struct config *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
