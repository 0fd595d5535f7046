/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Short-lived helper threads: they take no signals, and when none can be started the caller does all the
 * work itself. They may not fork, nor do what depends on who does it: only the caller's thread traces.
 */
#ifndef LIB_PARALLEL_H
#define LIB_PARALLEL_H

#include "lib/error.h"

#include <stddef.h>

/* Run fn(arg) in nr threads, the caller's among them; returns when all have. */
void parallel_run(unsigned nr, void (*fn)(void *arg), void *arg);

/*
 * Call fn(arg, i) for each i below nr, in any order and several at once if that is worth while. Fails like the
 * first of them, in their order, that failed; then some behind it have not been called.
 */
int parallel_each(size_t nr, int (*fn)(void *arg, size_t i, struct stasis_error *err), void *arg,
		  struct stasis_error *err);

#endif
