/* SPDX-License-Identifier: GPL-2.0-or-later */
/* argv[1] MiB of memory, each page another: the first half in huge pages where there are some, the rest in
 * small ones. */
#include "subject.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PAGE  4096ul
#define HUGE  (2ul << 20)
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t word(size_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15u;
}

int main(int argc, char **argv)
{
	size_t len = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20, half = len / 2 & -HUGE;
	uint64_t *mem;
	char *room;

	subject_init();
	room = mmap(NULL, len + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	CHECK(room != MAP_FAILED);
	room += -(uintptr_t)room % HUGE;
	(void)madvise(room, half, MADV_HUGEPAGE); /* a kernel without: small ones */
	(void)madvise(room + half, len - half, MADV_NOHUGEPAGE);
	mem = (uint64_t *)(void *)room;
	for (size_t i = 0; i < len / PAGE; i++)
		mem[i * WORDS] = mem[i * WORDS + WORDS - 1] = word(i);
	subject_ready();
	subject_wait_go();
	for (size_t i = 0; i < len / PAGE; i++) {
		CHECK(mem[i * WORDS] == word(i));
		CHECK(mem[i * WORDS + 1] == 0);
		CHECK(mem[i * WORDS + WORDS - 1] == word(i));
	}
	subject_ok();
}
