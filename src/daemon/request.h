/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_REQUEST_H
#define DAEMON_REQUEST_H

#include "daemon/config.h"
#include "wire/wire.h"

/* Work on one request to its end; for a process of its own. bytes: its first frame, len of them and room
 * for one more. */
void request_serve(const struct config *c, struct wire_conn *conn, char *bytes, size_t len);

/* An automatic checkpoint of a step that says interval_s, when it is due and this node is its first. */
void request_automatic(const struct config *c, uint32_t job, uint32_t step);

#endif
