/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mlockall() for what is mapped from now on ("onfault" as the argument: with MCL_ONFAULT). */
#include "subject.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

#define PAGE 4096ul

/* Is a new mapping locked ("lo"), and on fault ("lf")? As the kernel tells of it. */
static void look(bool *ret_locked, bool *ret_on_fault)
{
	uint8_t *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	char line[512], perms[8];
	bool is_it = false;

	CHECK(p != MAP_FAILED && f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3)
			is_it = start <= (unsigned long)p && (unsigned long)p < end;
		if (is_it && strncmp(line, "VmFlags:", 8) == 0) {
			*ret_locked = strstr(line, " lo") != NULL;
			*ret_on_fault = strstr(line, " lf") != NULL;
		}
	}
	(void)fclose(f);
	CHECK(munmap(p, 4 * PAGE) == 0);
}

int main(int argc, char **argv)
{
	bool wants_on_fault = argc > 1 && strcmp(argv[1], "onfault") == 0;
	bool locked = false, on_fault = false;

	subject_init();
	CHECK(mlockall(MCL_FUTURE | (wants_on_fault ? MCL_ONFAULT : 0)) == 0);
	look(&locked, &on_fault);
	CHECK(locked && on_fault == wants_on_fault);
	subject_ready();
	subject_wait_go();

	look(&locked, &on_fault);
	CHECK(locked && on_fault == wants_on_fault);
	CHECK(munlockall() == 0);
	look(&locked, &on_fault);
	CHECK(!locked);
	subject_ok();
}
