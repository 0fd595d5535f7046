/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the rest of the engine may know of a processor. The implementation is in arch/<cpu>/. */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* General registers as PTRACE_GETREGS and NT_PRSTATUS have them (TLS bases and the number of the
 * system call included). */
struct arch_regs {
	struct user_regs_struct u;
};

/* Number of the system call the thread was in, or -1. */
long arch_syscall_nr(const struct arch_regs *r);
uint64_t arch_syscall_arg(const struct arch_regs *r, unsigned n); /* n = 0..5 */
long arch_syscall_result(const struct arch_regs *r);
void arch_set_syscall_arg(struct arch_regs *r, unsigned n, uint64_t value);
void arch_set_syscall_result(struct arch_regs *r, long result);

/* The thread returns from its system call with that result; the kernel restarts nothing. */
void arch_finish_syscall(struct arch_regs *r, long result);

/* Execute that system call, with the arguments in r, (again) where the thread stands behind one. */
void arch_repeat_syscall(struct arch_regs *r, long nr);

/* Set up r so that, put back into a stopped thread, it executes the system call it was interrupted
 * in again with its first arguments. */
void arch_rewind_syscall(struct arch_regs *r);

/* Registers of a thread that nothing but its tracer resumes continues from the kernel's restart
 * logic; of one resumed by hand (no tracer) it must be applied to the registers: this does what the
 * kernel does for -ERESTART*, without a signal. */
void arch_apply_restart(struct arch_regs *r);

/* A thread that sleeps in restart_syscall(2) does not show which call it continues. Find its number
 * from the `len` bytes of code before the instruction pointer; -1 when they do not tell. */
long arch_restarted_syscall(const uint8_t *code, size_t len);

/* CPU feature words for the image; see ImageInfo.cpuid. Returns how many of the max were filled. */
size_t arch_cpu_features(uint32_t *words, size_t max);

/* Can a program that was saved with these features run here? On -1 *err names the first missing
 * one. */
int arch_cpu_check(const uint32_t *words, size_t nr, uint64_t xcr0, struct stasis_error *err);

/* Code the engine knows how to work beside: 64-bit. A 32-bit program is not. */
bool arch_is_native(const struct arch_regs *r);

uint64_t arch_ip(const struct arch_regs *r);
void arch_set_ip(struct arch_regs *r, uint64_t ip);
uint64_t arch_sp(const struct arch_regs *r);

/* Send a stopped thread to a `syscall` instruction at ip, or to freestanding code at ip; the other
 * registers, the stack pointer too, stay as they are. The system call that r was in is forgotten. */
void arch_set_call(struct arch_regs *r, uint64_t ip, long nr, const uint64_t args[6]);
void arch_set_entry(struct arch_regs *r, uint64_t ip, uint64_t arg);

/*
 * The pad: a little position-independent code, followed by the registers of one thread, that makes
 * system calls for the engine and puts the thread back where it was when nobody stops it first. See
 * arch/<cpu>/pad_code.S. Offsets are from its start.
 */
struct arch_pad {
	const void *code; /* len bytes, the data part of which is zero */
	size_t len;
	size_t call;	/* a `syscall`, then unmap what it returned, then leave */
	size_t finish;	/* a `syscall`, then unmap the parasite's area, then leave */
	size_t unmap;	/* unmap the range in the first two argument registers, then leave */
	size_t leave;	/* put signal mask and registers back */
	size_t home;	/* behind the last `syscall`: only registers are left to be loaded */
	size_t area;	/* two uint64_t: address (0 until known) and length of the parasite's area */
	size_t cure;	/* struct arch_cure */
};
struct arch_pad arch_pad(void);

/* In a copy of the pad's bytes that will lie at pad_addr: have it set the byte at mark_addr (within
 * 2 GiB) when all is put back but the instruction pointer; 0: nothing is set. */
void arch_pad_set_mark(uint8_t *pad, uint64_t pad_addr, uint64_t mark_addr);

/* What the pad loads into the thread; arch/cure.h. */
struct arch_cure;
void arch_cure_fill(struct arch_cure *c, const struct arch_regs *as_found, uint64_t sigmask);
void arch_cure_apply(const struct arch_cure *c, struct arch_regs *r); /* as the pad itself does */

/* Has the thread a shadow stack (its contents cannot be put back)? Since Linux 6.6. */
bool arch_has_shadow_stack(pid_t tid);
bool arch_may_shadow_stack(void); /* has this processor any? */

/* Which variant of the parasite's checksum this processor can run. */
bool arch_has_fast_hash(void);

uint64_t arch_xcr0(void);
uint32_t arch_xsave_size(void); /* bytes of the area that holds every enabled component */

#endif
