/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vDSO's functions, called through libc's pointers, which were resolved before the checkpoint:
 * they must go on working, wherever the restarting kernel's vDSO is. "moved" as argument makes the
 * subject say whether its vDSO is still at the old place (it is not when the old one is emulated).
 */
#include "subject.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ns(const struct timespec *ts)
{
	return ts->tv_sec * INT64_C(1000000000) + ts->tv_nsec;
}

/* Between two readings by system call lies the one by vDSO. */
static void check_clock(clockid_t clock)
{
	struct timespec before, fast, after;

	CHECK(syscall(SYS_clock_gettime, clock, &before) == 0);
	CHECK(clock_gettime(clock, &fast) == 0);
	CHECK(syscall(SYS_clock_gettime, clock, &after) == 0);
	CHECK(ns(&before) <= ns(&fast) && ns(&fast) <= ns(&after));
}

static void check_all(void)
{
	struct timeval tv;
	unsigned cpu, node;
	time_t now;

	check_clock(CLOCK_REALTIME);
	check_clock(CLOCK_MONOTONIC);
	check_clock(CLOCK_BOOTTIME);
	CHECK(gettimeofday(&tv, NULL) == 0);
	now = time(NULL);
	/* time() is as of the last timer tick, which may lie before the full second */
	CHECK(now >= tv.tv_sec - 1 && now <= tv.tv_sec + 1);
	CHECK(getcpu(&cpu, &node) == 0 && cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

/* Is there a "[vdso]" mapping at the address the program was told at its start? */
static bool is_vdso_in_place(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false;

	CHECK(maps);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start;

		if (strstr(line, "[vdso]") && sscanf(line, "%lx", &start) == 1)
			found = start == getauxval(AT_SYSINFO_EHDR);
	}
	(void)fclose(maps);
	return found;
}

int main(int argc, char **argv)
{
	bool is_moved = argc > 1 && strcmp(argv[1], "moved") == 0;

	subject_init();
	check_all();
	CHECK(is_vdso_in_place());
	subject_ready();
	subject_wait_go();
	for (int i = 0; i < 1000; i++)
		check_all();
	CHECK(is_vdso_in_place() != is_moved);
	subject_ok();
}
