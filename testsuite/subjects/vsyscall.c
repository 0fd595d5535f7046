/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legacy [vsyscall] page: old static programs call it. It is at the same place in all processes of a kernel that
 * has it, and nobody else's memory: it must be there and work as before, and be in /proc/PID/maps once.
 */
#include "subject.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define VSYSCALL_GETTIMEOFDAY 0xffffffffff600000ull
#define VSYSCALL_TIME	      0xffffffffff600400ull

static unsigned count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned nr = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, "[vsyscall]") != NULL;
	CHECK(fclose(f) == 0);
	return nr;
}

static void use(void)
{
	int (*get)(struct timeval *, void *) = (int (*)(struct timeval *, void *))VSYSCALL_GETTIMEOFDAY;
	time_t (*tell)(time_t *) = (time_t (*)(time_t *))VSYSCALL_TIME;
	struct timeval tv = {0};
	time_t now = time(NULL), told;

	CHECK(get(&tv, NULL) == 0 && tv.tv_sec >= now - 1 && tv.tv_sec <= time(NULL) + 1);
	told = tell(NULL);
	CHECK(told >= now - 1 && told <= time(NULL) + 1);
}

int main(void)
{
	unsigned nr = count_mappings();

	subject_init();
	CHECK(nr <= 1);
	if (nr)
		use();
	subject_ready();
	subject_wait_go();
	CHECK(count_mappings() == nr);
	if (nr)
		use();
	subject_ok();
}
