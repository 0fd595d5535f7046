/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private anonymous memory: patterns with holes, protections, madvise state, stacks that grow. */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE  4096ul
#define PAGES 2048ul

static uint8_t *map(size_t len, int prot, int flags)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* The VmFlags line of the mapping that starts at addr. */
static void vm_flags(const void *addr, char *ret, size_t len)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool is_it = false;
	unsigned long start, end;
	char perms[8];

	CHECK(f != NULL);
	*ret = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3)
			is_it = start == (unsigned long)addr;
		if (is_it && strncmp(line, "VmFlags:", 8) == 0) {
			(void)snprintf(ret, len, "%.150s", line + 8);
			break;
		}
	}
	(void)fclose(f);
}

struct area {
	uint8_t *p;
	size_t len;
	char flags[160];
};

static void check_flags(const struct area *a, const char *what)
{
	char now[160];

	vm_flags(a->p, now, sizeof(now));
	if (strcmp(now, a->flags) != 0)
		subject_bad("%s: VmFlags were%.60s and are%.60s", what, a->flags, now);
}

static struct area advised(int advice)
{
	struct area a = {.p = map(16 * PAGE, PROT_READ | PROT_WRITE, 0), .len = 16 * PAGE};

	(void)map(PAGE, PROT_NONE, 0); /* keeps neighbours from merging */
	CHECK(madvise(a.p, a.len, advice) == 0);
	pattern_fill(a.p, a.len, (uint64_t)advice);
	vm_flags(a.p, a.flags, sizeof(a.flags));
	return a;
}

static unsigned deep(unsigned depth)
{
	volatile char frame[8192];

	frame[0] = (char)depth;
	frame[8191] = 1;
	return depth ? deep(depth - 1) + (unsigned)frame[8191] : (unsigned)frame[0];
}

static void fill_sparse(uint8_t *p)
{
	size_t i;

	for (i = 0; i < PAGES; i += 3)
		pattern_fill(p + i * PAGE, PAGE, i);
}

static void check_sparse(const uint8_t *p)
{
	static const uint8_t zero[PAGE];
	size_t i;

	for (i = 0; i < PAGES; i++) {
		if (i % 3 == 0 ? !pattern_matches(p + i * PAGE, PAGE, i)
			       : memcmp(p + i * PAGE, zero, PAGE) != 0)
			subject_bad("page %zu of the sparse area is wrong", i);
	}
}

int main(void)
{
	static const int advices[] = {MADV_DONTFORK, MADV_DONTDUMP, MADV_NOHUGEPAGE, MADV_HUGEPAGE,
				      MADV_SEQUENTIAL, MADV_RANDOM, MADV_WIPEONFORK};
	enum { NR = sizeof(advices) / sizeof(advices[0]) };
	uint8_t *sparse, *none, *readonly, *exec, *grows, *reserve, *cut;
	struct area a[NR];
	unsigned i;

	subject_init();
	sparse = map(PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	fill_sparse(sparse);
	none = map(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(none, 8 * PAGE, 71);
	CHECK(mprotect(none, 8 * PAGE, PROT_NONE) == 0);
	readonly = map(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(readonly, 8 * PAGE, 72);
	CHECK(mprotect(readonly + 2 * PAGE, 4 * PAGE, PROT_READ) == 0);
	exec = map(PAGE, PROT_READ | PROT_WRITE, 0);
	memcpy(exec, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
	CHECK(mprotect(exec, PAGE, PROT_READ | PROT_EXEC) == 0);
	grows = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_GROWSDOWN | MAP_STACK);
	pattern_fill(grows, 64 * PAGE, 73);
	reserve = map(64ul << 30, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	pattern_fill(reserve + (33ul << 30), 3 * PAGE, 74);
	for (i = 0; i < NR; i++)
		a[i] = advised(advices[i]);
	cut = map(32 * PAGE, PROT_READ | PROT_WRITE, 0);
	pattern_fill(cut, 32 * PAGE, 75);
	CHECK(munmap(cut + 8 * PAGE, 4 * PAGE) == 0);
	subject_ready();
	subject_wait_go();

	CHECK(mmap(cut + 8 * PAGE, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		   -1, 0) == cut + 8 * PAGE); /* the hole is a hole */
	check_sparse(sparse);
	CHECK(mprotect(none, 8 * PAGE, PROT_READ) == 0);
	CHECK(pattern_matches(none, 8 * PAGE, 71));
	CHECK(pattern_matches(readonly, 8 * PAGE, 72));
	CHECK(((int (*)(void))(uintptr_t)exec)() == 42);
	CHECK(pattern_matches(grows, 64 * PAGE, 73));
	CHECK(pattern_matches(reserve + (33ul << 30), 3 * PAGE, 74));
	CHECK(reserve[(33ul << 30) - 1] == 0 && reserve[63ul << 30] == 0);
	for (i = 0; i < NR; i++) {
		CHECK(pattern_matches(a[i].p, a[i].len, (uint64_t)advices[i]));
		check_flags(&a[i], "advised area");
	}
	CHECK(pattern_matches(cut, 8 * PAGE, 75) && cut[8 * PAGE] == 0);
	CHECK(deep(500) != 1); /* 4 MiB further down the stack */
	subject_ok();
}
