/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA policies of mappings, of the main thread and of another one. Needs no more than one node. */
#include "subject.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ul
#define LEN  (64 * PAGE)
#define BITS 65ul /* the kernel takes one less */

struct policy {
	int mode;
	unsigned long nodes;
};

static struct policy of(const void *addr)
{
	struct policy p = {0, 0};

	CHECK(syscall(SYS_get_mempolicy, &p.mode, &p.nodes, BITS, addr, addr ? MPOL_F_ADDR : 0) == 0);
	return p;
}

static void check(const void *addr, int mode, unsigned long nodes, const char *what)
{
	struct policy now = of(addr);

	if (now.mode != mode || now.nodes != nodes)
		subject_bad("%s: policy is 0x%x for nodes 0x%lx, not 0x%x for 0x%lx", what,
			    (unsigned)now.mode, now.nodes, (unsigned)mode, nodes);
}

static uint8_t *map(int mode, unsigned long nodes)
{
	uint8_t *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(syscall(SYS_mbind, p, LEN, mode, nodes ? &nodes : NULL, nodes ? BITS : 0, 0) == 0);
	pattern_fill(p, LEN, (uint64_t)mode);
	return p;
}

static void *other(void *arg)
{
	unsigned long nodes = 1;

	CHECK(syscall(SYS_set_mempolicy, MPOL_BIND | MPOL_F_STATIC_NODES, &nodes, BITS) == 0);
	subject_mark("thread");
	subject_wait_go();
	check(NULL, MPOL_BIND | MPOL_F_STATIC_NODES, 1, "thread");
	return arg;
}

int main(void)
{
	uint8_t *bound, *interleaved, *preferred, *none;
	unsigned long nodes = 1;
	pthread_t thread;
	pid_t child;

	subject_init();
	bound = map(MPOL_BIND | MPOL_F_STATIC_NODES, 1);
	interleaved = map(MPOL_INTERLEAVE, 1);
	preferred = map(MPOL_PREFERRED, 1);
	none = map(MPOL_DEFAULT, 0);
	CHECK(pthread_create(&thread, NULL, other, NULL) == 0);
	subject_wait_mark("thread");
	CHECK(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &nodes, BITS) == 0);
	child = subject_fork();
	if (child == 0) {
		/* what is inherited page by page, under another policy */
		CHECK(syscall(SYS_mbind, bound, LEN, MPOL_DEFAULT, NULL, 0, 0) == 0);
		CHECK(syscall(SYS_mbind, none, LEN, MPOL_BIND, &nodes, BITS, 0) == 0);
		subject_mark("child");
		subject_wait_go();
		check(bound, MPOL_DEFAULT, 0, "child's unbound memory");
		check(none, MPOL_BIND, 1, "child's bound memory");
		check(NULL, MPOL_INTERLEAVE, 1, "child");
		CHECK(pattern_matches(bound, LEN, MPOL_BIND | MPOL_F_STATIC_NODES));
		_exit(0);
	}
	subject_wait_mark("child");
	subject_ready();
	subject_wait_go();

	check(bound, MPOL_BIND | MPOL_F_STATIC_NODES, 1, "bound memory");
	check(interleaved, MPOL_INTERLEAVE, 1, "interleaved memory");
	check(preferred, MPOL_PREFERRED, 1, "preferred memory");
	check(none, MPOL_DEFAULT, 0, "memory without a policy");
	check(NULL, MPOL_INTERLEAVE, 1, "main thread");
	CHECK(pattern_matches(interleaved, LEN, MPOL_INTERLEAVE));
	CHECK(pthread_join(thread, NULL) == 0);
	subject_reap(child);
	subject_ok();
}
