/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "daemon/config.h"

/* Listen, and serve until SIGTERM or SIGINT; SIGHUP reads the configuration again from path. Returns the
 * exit status. */
int server_run(struct config *c, const char *path, bool must_exist);

#endif
