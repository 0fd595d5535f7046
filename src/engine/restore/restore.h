/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "session.h"

/* The order of a restart; see stasis_restore() and stasis_image_inspect() for the contracts. */
int restore_run(struct session *s, const struct stasis_restore_opts *opts,
		struct stasis_restored *ret, struct stasis_error *err);
int restore_inspect(struct session *s, int dirfd, const char *name, struct stasis_tree_info **ret,
		    struct stasis_error *err);
int restore_verify(struct session *s, int dirfd, const char *name, struct stasis_error *err);

#endif
