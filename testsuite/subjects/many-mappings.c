/* SPDX-License-Identifier: GPL-2.0-or-later */
/* argv[1] mappings (default 70,000): more than an ELF header counts. */
#include "subject.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ul

int main(int argc, char **argv)
{
	size_t nr = argc > 1 ? strtoul(argv[1], NULL, 10) : 70000, i;
	uint8_t *mem;

	subject_init();
	/* Every second page read-only: no two neighbours can be one mapping. */
	mem = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	CHECK(mem != MAP_FAILED);
	for (i = 0; i < nr; i += 2) {
		pattern_fill(mem + i * PAGE, 64, i);
		CHECK(mprotect(mem + i * PAGE, PAGE, PROT_READ) == 0);
	}
	subject_ready();
	subject_wait_go();
	for (i = 0; i < nr; i += 2)
		CHECK(pattern_matches(mem + i * PAGE, 64, i));
	for (i = 1; i < nr; i += 2)
		CHECK(mem[i * PAGE] == 0);
	CHECK(mprotect(mem, nr * PAGE, PROT_READ | PROT_WRITE) == 0);
	subject_ok();
}
