/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the user chose for each process and descriptor of a tree, by dialogue or from a log file. */
#ifndef CMDS_SELECTION_H
#define CMDS_SELECTION_H

#include "lib/error.h"

#include <stasis/stasis.h>
#include <stdbool.h>

struct selection_fd {
	enum stasis_fd_action action;
	char *path; /* STASIS_FD_MODIFY: malloc()ed, absolute */
};

struct selection_proc {
	bool is_skipped;
	struct selection_fd *fds; /* same order as stasis_proc_info.fds */
};

struct selection {
	const struct stasis_tree_info *info; /* the caller's, outlives the selection */
	struct selection_proc *procs;	     /* same order as info->procs */
	/* Filled by selection_finish(), for the options of the library. */
	struct stasis_fd_choice *choices;
	size_t nr_choices;
	pid_t *skip_pids;
	size_t nr_skip_pids;
};

/* Everything kept; with is_copying, regular files are copied (chkpnt -C). NULL with STASIS_E_NOMEM.
 */
struct selection *selection_create(const struct stasis_tree_info *info, bool is_copying,
				   struct stasis_error *err);
void selection_free(struct selection *sel);
void selection_freep(struct selection **sel);

/* Forget the path of a descriptor and give it an action; path is taken over, NULL for none. */
void selection_set(struct selection *sel, size_t proc, size_t fd, enum stasis_fd_action action,
		   char *path);

/* Turn the choices into the lists that the library takes. STASIS_E_USAGE when no process is left.
 */
int selection_finish(struct selection *sel, struct stasis_error *err);

#endif
