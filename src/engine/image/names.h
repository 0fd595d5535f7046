/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IMAGE_NAMES_H
#define IMAGE_NAMES_H

#include "lib/error.h"

#include <stddef.h>
#include <sys/types.h>

#define IMAGE_NAME_SIZE 256 /* NAME_MAX and the NUL */

struct image_name_proc {
	pid_t pid;
	size_t parent;	  /* index, below its own; that of the root is not looked at */
	const char *comm; /* command name: any bytes */
};

/*
 * The file names of a tree's images, as the CONVEX guide has them ("Checkpoint File Name"):
 *
 *   root             COMM.PID, or `given`
 *   others           ROOT.LINEAGE.COMM.PID, where ROOT is the root's COMM, or `given`, and LINEAGE
 *                    the COMMs from the root's child down to the parent, joined by periods
 *   too long a name  ROOT...COMM.PID
 *
 * Of a COMM the first 16 bytes count; those that are not printable ASCII, a slash, and a period or
 * minus at its start become '_', an empty one is "_". All names of a tree differ, since each ends in
 * its own pid (the root's, when given, is shorter than any other).
 *
 *   given     -f NAME, or NULL for the default
 *   procs     nr of them, pre-order, the root first
 *   ret       nr names, the caller's
 *
 * Returns 0, or -1 with *err: STASIS_E_USAGE when `given` is no plain file name, or too long for a
 * name of the tree even when the lineage is left out.
 */
int image_names(const char *given, const struct image_name_proc *procs, size_t nr,
		char (*ret)[IMAGE_NAME_SIZE], struct stasis_error *err);

#endif
