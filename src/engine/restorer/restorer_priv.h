/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RESTORER_RESTORER_PRIV_H
#define RESTORER_RESTORER_PRIV_H

#include "arch/raw_syscall.h"
#include "restorer/proto.h"

#include <asm/unistd.h>
#include <stdint.h>

#define SYS0(name)		     raw_syscall(__NR_##name, 0, 0, 0, 0, 0, 0)
#define SYS1(name, a)		     raw_syscall(__NR_##name, (uint64_t)(a), 0, 0, 0, 0, 0)
#define SYS2(name, a, b)	     raw_syscall(__NR_##name, (uint64_t)(a), (uint64_t)(b), 0, 0, 0, 0)
#define SYS3(name, a, b, c)	     SYS5(name, a, b, c, 0, 0)
#define SYS4(name, a, b, c, d)	     SYS5(name, a, b, c, d, 0)
#define SYS5(name, a, b, c, d, e)                                                              \
	raw_syscall(__NR_##name, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d),   \
		    (uint64_t)(e), 0)

/* <errno.h> is not for freestanding code. */
enum { EBUSY_NR = 16 };

/* Record the first failure of the tree and end this process. */
__attribute__((__noreturn__)) void restorer_fail(const struct restorer_args *a,
						 enum restorer_step step, long result,
						 uint64_t info);

/* The blob's first instruction: what the restoring process jumps to. */
__attribute__((__noreturn__)) void blob_start(struct restorer_args *a);

/* What each thread does: its own state, then waiting. Never returns. */
void restorer_thread_main(void *thread);

#endif
