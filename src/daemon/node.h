/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of one node in a checkpoint: stop its tasks, save them into the common draft, and do as the
 * coordinator says. The messages of a round, N for the node and C for the coordinator:
 *
 *	C prepare    job, step, uid, gid, folder, draft, final, vacate, max_wait; for a step that is saved with
 *	             its script: sub (folder in the draft), of_script; for the script: sruns (script.h)
 *	N written    (only without vacate) all tasks stand still and are saved, not yet on the disk
 *	C go         (only without vacate) every node has said so: let them run on
 *	N durable    the files are on the disk; with vacate the tasks still stand still, else this is all
 *	C commit     (only with vacate) it is decided: kill them
 *	N done       (only with vacate)
 *
 * or, from N, failed with code, message and the name of the node where; from C, the end of the connection.
 * "prepare" may name nodes below, which N asks in the same way, being their C (fanout.h): it answers when
 * they have, with the sums of all. left_ms is the time that N has.
 */
#ifndef DAEMON_NODE_H
#define DAEMON_NODE_H

#include "daemon/config.h"
#include "wire/wire.h"

/* Serve a "prepare" that came from another daemon (already known to be root's). */
void node_serve(const struct config *c, struct wire_conn *conn, const struct wire_msg *prepare);

#endif
