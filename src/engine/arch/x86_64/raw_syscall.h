/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System calls and thread start for freestanding code: no libc, no errno. */
#ifndef ARCH_X86_64_RAW_SYSCALL_H
#define ARCH_X86_64_RAW_SYSCALL_H

#include <stdint.h>

/* Result, or -errno in -4095..-1. */
static inline long raw_syscall(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
			       uint64_t a4, uint64_t a5)
{
	register uint64_t r10 __asm__("r10") = a3;
	register uint64_t r8 __asm__("r8") = a4;
	register uint64_t r9 __asm__("r9") = a5;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * clone3 of a thread that calls fn(arg) on the stack named in the clone_args and never returns from
 * it. Returns the new thread's id or -errno, in the caller only.
 */
static inline long raw_clone_thread(void *clone_args, uint64_t size, long nr_clone3,
				    void (*fn)(void *), void *arg)
{
	register void (*r12)(void *) __asm__("r12") = fn;
	register void *r13 __asm__("r13") = arg;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(nr_clone3), "D"(clone_args), "S"(size), "r"(r12), "r"(r13)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Leave this stack for good: call entry(arg) on another one. */
__attribute__((__noreturn__)) static inline void raw_jump(uint64_t entry, uint64_t stack_top,
							  uint64_t arg)
{
	__asm__ volatile("mov %1, %%rsp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "call *%0\n\t"
			 "hlt"
			 :
			 : "a"(entry), "c"(stack_top), "D"(arg)
			 : "memory");
	__builtin_unreachable();
}

#endif
