/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Knows how compilers load the number of a system call. */
#include "arch/arch.h"

#include <string.h>

enum {
	OPCODE_MOV_EAX_IMM32 = 0xb8,
	MOV_BYTES = 5,
	SYSCALL_BYTES = 2,
	MAX_SYSCALL_NR = 1024,
};

/* The last `mov $nr,%eax` before the `syscall` that ends the bytes. */
long arch_restarted_syscall(const uint8_t *code, size_t len)
{
	uint32_t nr;

	if (len < MOV_BYTES + SYSCALL_BYTES)
		return -1;
	for (size_t i = len - SYSCALL_BYTES - MOV_BYTES + 1; i-- > 0;) {
		if (code[i] != OPCODE_MOV_EAX_IMM32)
			continue;
		memcpy(&nr, code + i + 1, sizeof(nr));
		if (nr < MAX_SYSCALL_NR)
			return nr;
	}
	return -1;
}

void arch_finish_syscall(struct arch_regs *r, long result)
{
	r->u.rax = (unsigned long long)result;
	r->u.orig_rax = (unsigned long long)-1;
}

void arch_repeat_syscall(struct arch_regs *r, long nr)
{
	r->u.orig_rax = (unsigned long long)nr;
	arch_rewind_syscall(r);
}
