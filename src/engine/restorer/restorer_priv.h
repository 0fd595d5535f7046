/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RESTORER_RESTORER_PRIV_H
#define RESTORER_RESTORER_PRIV_H

#include "arch/raw_syscall.h"
#include "restorer/proto.h"

#include <stdbool.h>
#include <stdint.h>

/* <errno.h> is not for freestanding code. */
enum { EBUSY_NR = 16, EEXIST_NR = 17 };

/* Record the first failure of the tree and end this process. */
__attribute__((__noreturn__)) void restorer_fail(const struct restorer_args *a,
						 enum restorer_step step, long result,
						 uint64_t info);

/* The blob's first instruction: what the restoring process jumps to. */
__attribute__((__noreturn__)) void blob_start(struct restorer_args *a);

/* What each thread does: its own state, then waiting. Never returns. */
void restorer_thread_main(void *thread);

/* Its own state alone. */
void restorer_thread_set(struct restorer_thread *t);

/* One sleep on a futex. looks: for a process that the end of its parent does not kill, since no
 * parent-death signal may be set yet: it ends when the parent is gone. */
void restorer_wait(const struct restorer_args *a, uint32_t *word, uint32_t while_it_is, bool looks);

/* Another thread of the process has its ids. */
void restorer_note_set(struct restorer_args *a);

#endif
