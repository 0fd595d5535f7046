/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The freestanding part of the contract: see the processor's own file for the functions. */
#ifndef ARCH_RAW_SYSCALL_H
#define ARCH_RAW_SYSCALL_H

#ifdef __x86_64__
#include "arch/x86_64/raw_syscall.h"
#else
#error "this processor is not supported yet"
#endif

#include <asm/unistd.h>

/* SYS3(read, fd, buf, len): by name, with arguments of any type. */
#define SYS0(name)		raw_syscall(__NR_##name, 0, 0, 0, 0, 0, 0)
#define SYS1(name, a)		raw_syscall(__NR_##name, (uint64_t)(a), 0, 0, 0, 0, 0)
#define SYS2(name, a, b)	SYS5(name, a, b, 0, 0, 0)
#define SYS3(name, a, b, c)	SYS5(name, a, b, c, 0, 0)
#define SYS4(name, a, b, c, d)	SYS5(name, a, b, c, d, 0)
#define SYS5(name, a, b, c, d, e)                                                            \
	raw_syscall(__NR_##name, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), \
		    (uint64_t)(e), 0)

#endif
