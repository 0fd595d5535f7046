/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which register means what: the system call convention, the kernel's restart logic, and how a
 * stopped thread is sent somewhere else.
 */
#include "arch/arch.h"
#include "arch/cure.h"

#include <sys/ptrace.h>
#include <sys/uio.h>

/* include/linux/errno.h: results that only a tracer sees. */
enum {
	ERESTARTSYS_NR = 512,
	ERESTARTNOINTR_NR = 513,
	ERESTARTNOHAND_NR = 514,
	ERESTART_RESTARTBLOCK_NR = 516,
};

enum {
	SYSCALL_BYTES = 2, /* length of the instruction */
	RESTART_SYSCALL_NR = 219,
	CS_64BIT = 0x33, /* __USER_CS; 0x23 is 32-bit code */
};

/* Flags that change what compiled code does: trap, direction, nested task, alignment check. */
#define RFLAGS_HARMFUL (1u << 8 | 1u << 10 | 1u << 14 | 1u << 18)

long arch_syscall_nr(const struct arch_regs *r)
{
	long nr = (long)r->u.orig_rax;

	return nr < 0 ? -1 : nr;
}

uint64_t arch_syscall_arg(const struct arch_regs *r, unsigned n)
{
	const unsigned long long arg[6] = {r->u.rdi, r->u.rsi, r->u.rdx, r->u.r10, r->u.r8, r->u.r9};

	return n < 6 ? arg[n] : 0;
}

void arch_set_syscall_arg(struct arch_regs *r, unsigned n, uint64_t value)
{
	unsigned long long *const arg[6] = {&r->u.rdi, &r->u.rsi, &r->u.rdx,
					    &r->u.r10, &r->u.r8,  &r->u.r9};

	if (n < 6)
		*arg[n] = value;
}

long arch_syscall_result(const struct arch_regs *r)
{
	return (long)r->u.rax;
}

void arch_set_syscall_result(struct arch_regs *r, long result)
{
	r->u.rax = (unsigned long long)result;
}

static void repeat_syscall(struct arch_regs *r, unsigned long long nr)
{
	r->u.rax = nr;
	r->u.rip -= SYSCALL_BYTES;
	/* Not in a system call any more: the kernel shall not look at rax again. */
	r->u.orig_rax = (unsigned long long)-1;
}

void arch_rewind_syscall(struct arch_regs *r)
{
	if (arch_syscall_nr(r) >= 0)
		repeat_syscall(r, r->u.orig_rax);
}

/* kernel arch/x86/kernel/signal.c, arch_do_signal_or_restart() */
void arch_apply_restart(struct arch_regs *r)
{
	if (arch_syscall_nr(r) < 0)
		return;
	switch (arch_syscall_result(r)) {
	case -ERESTARTSYS_NR:
	case -ERESTARTNOINTR_NR:
	case -ERESTARTNOHAND_NR:
		repeat_syscall(r, r->u.orig_rax);
		break;
	case -ERESTART_RESTARTBLOCK_NR:
		repeat_syscall(r, RESTART_SYSCALL_NR);
		break;
	default:
		break;
	}
}

uint64_t arch_ip(const struct arch_regs *r)
{
	return r->u.rip;
}

void arch_set_ip(struct arch_regs *r, uint64_t ip)
{
	r->u.rip = ip;
}

bool arch_is_native(const struct arch_regs *r)
{
	return (r->u.cs & 0xffff) == CS_64BIT;
}

/* No system call is going on in the new place, whatever the old one was in. */
static void go_to(struct arch_regs *r, uint64_t ip)
{
	r->u.rip = ip;
	r->u.orig_rax = (unsigned long long)-1;
	r->u.eflags &= ~(unsigned long long)RFLAGS_HARMFUL;
}

void arch_set_call(struct arch_regs *r, uint64_t ip, long nr, const uint64_t args[6])
{
	go_to(r, ip);
	r->u.rax = (unsigned long long)nr;
	for (unsigned i = 0; i < 6; i++)
		arch_set_syscall_arg(r, i, args[i]);
}

void arch_set_entry(struct arch_regs *r, uint64_t ip, uint64_t arg)
{
	go_to(r, ip);
	r->u.rdi = arg;
}

/* Flat copy in the order that the cure code of start.S and pad_code.S loads it. */
void arch_cure_fill(struct arch_cure *c, const struct arch_regs *as_found, uint64_t sigmask)
{
	struct arch_regs r = *as_found;

	arch_apply_restart(&r);
	*c = (struct arch_cure){
		.flags = r.u.eflags, .r15 = r.u.r15, .r14 = r.u.r14, .r13 = r.u.r13,
		.r12 = r.u.r12,	     .rbp = r.u.rbp, .rbx = r.u.rbx, .r8 = r.u.r8,
		.r9 = r.u.r9,	     .rsp = r.u.rsp, .rax = r.u.rax, .rdi = r.u.rdi,
		.rsi = r.u.rsi,	     .rdx = r.u.rdx, .r10 = r.u.r10, .rcx = r.u.rcx,
		.r11 = r.u.r11,	     .rip = r.u.rip, .sigmask = sigmask, .all = ~0ull,
	};
}

uint64_t arch_sp(const struct arch_regs *r)
{
	return r->u.rsp;
}

bool arch_has_shadow_stack(pid_t tid)
{
	enum { NT_X86_SHSTK = 0x204 };
	uint64_t ssp = 0;
	struct iovec iov = {.iov_base = &ssp, .iov_len = sizeof(ssp)};

	/* ENODEV when the processor, the kernel or the thread has none */
	return ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)NT_X86_SHSTK, &iov) == 0;
}

void arch_cure_apply(const struct arch_cure *c, struct arch_regs *r)
{
	r->u.eflags = c->flags;
	r->u.r15 = c->r15;
	r->u.r14 = c->r14;
	r->u.r13 = c->r13;
	r->u.r12 = c->r12;
	r->u.rbp = c->rbp;
	r->u.rbx = c->rbx;
	r->u.r8 = c->r8;
	r->u.r9 = c->r9;
	r->u.rsp = c->rsp;
	r->u.rax = c->rax;
	r->u.rdi = c->rdi;
	r->u.rsi = c->rsi;
	r->u.rdx = c->rdx;
	r->u.r10 = c->r10;
	r->u.rcx = c->rcx;
	r->u.r11 = c->r11;
	r->u.rip = c->rip;
	r->u.orig_rax = (unsigned long long)-1;
}
