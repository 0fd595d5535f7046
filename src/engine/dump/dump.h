/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DUMP_DUMP_H
#define DUMP_DUMP_H

#include "session.h"

/* The order of a checkpoint; see stasis_dump() and stasis_inspect() for the contracts. */
int dump_run(struct session *s, const struct stasis_dump_opts *opts, struct stasis_dump_result *ret,
	     struct stasis_error *err);
int dump_inspect(struct session *s, const struct stasis_dump_opts *opts,
		 struct stasis_tree_info **ret, struct stasis_error *err);

#endif
