/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Would a seccomp filter kill the code that we put into a process? While we trace it its filters are
 * suspended, but they are back at once when we are killed, and then the parasite still has to find its
 * way out. So the filter is run here on the calls that it makes (classic BPF as seccomp(2) restricts it,
 * kernel Documentation/networking/filter.rst). A call that only fails is no harm; pwritev(2) is made where there
 * are no filters.
 */
#include "dump/dump_priv.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
	struct seccomp_data data;
};

static const struct call {
	const char *name;
	int nr;
	uint64_t args[6];
} calls[] = {
	{"mmap", SYS_mmap, {0, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, (uint32_t)-1}},
	{"munmap", SYS_munmap, {0}},
	{"mprotect", SYS_mprotect, {0, 65536, PROT_READ | PROT_WRITE}},
	{"madvise", SYS_madvise, {0, 65536, MADV_DONTFORK}},
	{"mincore", SYS_mincore, {0}},
	{"brk", SYS_brk, {0}},
	{"pkey_mprotect", SYS_pkey_mprotect, {0xffff800000000000, 4096}},
	{"rt_sigprocmask", SYS_rt_sigprocmask, {2, 0, 0, 8}},
	{"rt_sigaction", SYS_rt_sigaction, {1, 0, 0, 8}},
	{"sigaltstack", SYS_sigaltstack, {0}},
	{"getitimer", SYS_getitimer, {0}},
	{"timer_gettime", SYS_timer_gettime, {0}},
	{"timer_getoverrun", SYS_timer_getoverrun, {0}},
	{"gettid", SYS_gettid, {0}},
	{"personality", SYS_personality, {0xffffffff}},
	{"umask", SYS_umask, {0}},
	{"prctl", SYS_prctl, {PR_GET_DUMPABLE}},
	{"socketpair", SYS_socketpair, {AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC}},
	{"recvmsg", SYS_recvmsg, {3}},
	{"sendto", SYS_sendto, {3}},
	{"close", SYS_close, {3}},
	{"futex", SYS_futex, {0}},
	{"openat", SYS_openat, {(uint32_t)-100}},
	{"read", SYS_read, {3}},
	{"lseek", SYS_lseek, {3}},
	{"getdents64", SYS_getdents64, {3}},
	{"ppoll", SYS_ppoll, {0}},
	{"pwrite64", SYS_pwrite64, {3}},
	{"process_vm_readv", SYS_process_vm_readv, {1}},
};

static uint32_t alu(uint16_t code, uint32_t a, uint32_t by)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + by;
	case BPF_SUB:
		return a - by;
	case BPF_MUL:
		return a * by;
	case BPF_DIV:
		return by ? a / by : 0;
	case BPF_OR:
		return a | by;
	case BPF_AND:
		return a & by;
	case BPF_XOR:
		return a ^ by;
	case BPF_LSH:
		return by < 32 ? a << by : 0;
	case BPF_RSH:
		return by < 32 ? a >> by : 0;
	case BPF_NEG:
	default:
		return (uint32_t)-a;
	}
}

static bool is_true(uint16_t code, uint32_t a, uint32_t with)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == with;
	case BPF_JGT:
		return a > with;
	case BPF_JGE:
		return a >= with;
	case BPF_JSET:
	default:
		return (a & with) != 0;
	}
}

static uint32_t load(const struct machine *m, const struct sock_filter *f)
{
	uint32_t word = 0;

	switch (BPF_MODE(f->code)) {
	case BPF_ABS:
		if (f->k <= sizeof(m->data) - sizeof(word))
			memcpy(&word, (const char *)&m->data + f->k, sizeof(word));
		return word;
	case BPF_LEN:
		return sizeof(m->data);
	case BPF_MEM:
		return f->k < BPF_MEMWORDS ? m->mem[f->k] : 0;
	default:
		return f->k;
	}
}

/* Everything but jumps and the end. */
static void step(struct machine *m, const struct sock_filter *f)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		m->a = load(m, f);
		break;
	case BPF_LDX:
		m->x = load(m, f);
		break;
	case BPF_ST:
		if (f->k < BPF_MEMWORDS)
			m->mem[f->k] = m->a;
		break;
	case BPF_STX:
		if (f->k < BPF_MEMWORDS)
			m->mem[f->k] = m->x;
		break;
	case BPF_ALU:
		m->a = alu(f->code, m->a, BPF_SRC(f->code) == BPF_X ? m->x : f->k);
		break;
	case BPF_MISC:
	default:
		if (BPF_MISCOP(f->code) == BPF_TAX)
			m->x = m->a;
		else
			m->a = m->x;
		break;
	}
}

/* The kernel has checked the program: it only jumps forward and ends. */
static uint32_t run(const struct sock_filter *f, size_t nr, struct machine *m)
{
	for (size_t pc = 0; pc < nr; pc++) {
		const struct sock_filter *at = &f[pc];

		if (BPF_CLASS(at->code) == BPF_RET)
			return BPF_RVAL(at->code) == BPF_A ? m->a : at->k;
		if (BPF_CLASS(at->code) != BPF_JMP)
			step(m, at);
		else if (BPF_OP(at->code) == BPF_JA)
			pc += at->k;
		else
			pc += is_true(at->code, m->a, BPF_SRC(at->code) == BPF_X ? m->x : at->k)
				      ? at->jt
				      : at->jf;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static bool is_deadly(uint32_t action)
{
	action &= SECCOMP_RET_ACTION_FULL;
	/* our code blocks signals: the SIGSYS of a trap kills */
	return action == SECCOMP_RET_KILL_PROCESS || action == SECCOMP_RET_KILL_THREAD ||
	       action == SECCOMP_RET_TRAP;
}

const char *seccomp_deadly_call(const struct sock_filter *f, size_t nr)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct machine m = {.data = {.nr = calls[i].nr, .arch = AUDIT_ARCH_X86_64}};

		for (size_t k = 0; k < 6; k++)
			m.data.args[k] = calls[i].args[k];
		if (is_deadly(run(f, nr, &m)))
			return calls[i].name;
	}
	return NULL;
}

bool seccomp_asks_supervisor(const struct sock_filter *f, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (BPF_CLASS(f[i].code) == BPF_RET && BPF_RVAL(f[i].code) == BPF_K &&
		    (f[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}
