/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "locks.h"

#include <stdio.h>
#include <stdlib.h>

void wait_until_in_call(pid_t pid, pid_t tid, long nr)
{
	char path[64], text[64];
	long got = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	while (got != nr) {
		FILE *f = fopen(path, "re");

		CHECK(f);
		if (fgets(text, sizeof(text), f) && text[0] >= '0' && text[0] <= '9')
			got = strtol(text, NULL, 10);
		(void)fclose(f);
		subject_nap_ms(1);
	}
}
