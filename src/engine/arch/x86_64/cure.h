/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef ARCH_X86_64_CURE_H
#define ARCH_X86_64_CURE_H

#include <stdint.h>

/* In the order in which pad_code.S takes them: from the flags to the stack pointer by pop. */
struct arch_cure {
	uint64_t flags, r15, r14, r13, r12, rbp, rbx, r8, r9, rsp;
	uint64_t rax, rdi, rsi, rdx, r10, rcx, r11, rip;
	uint64_t sigmask;
	uint64_t all; /* every signal: blocked while the stack pointer is not the thread's own */
};
_Static_assert(sizeof(struct arch_cure) == 160, "pad_code.S reserves as much");

#endif
