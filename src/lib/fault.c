/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fault.h; empty in an ordinary build. */
#include "lib/fault.h"

#ifdef STASIS_FAULT_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fault_point(const char *name, struct stasis_error *err)
{
	const char *wish = secure_getenv("STASIS_FAULT");

	if (!wish || strlen(wish) < 5 || strcmp(wish + 5, name) != 0)
		return 0;
	if (strncmp(wish, "kill:", 5) == 0)
		(void)kill(getpid(), SIGKILL);
	if (strncmp(wish, "stop:", 5) == 0)
		return kill(getpid(), SIGSTOP);
	if (strncmp(wish, "head:", 5) == 0) {
		(void)kill(getppid(), SIGKILL);
		(void)sleep(2); /* who is bound to it dies meanwhile */
		return 0;
	}
	return stasis_fail(err, STASIS_E_IO, "fault point '%s'", name);
}

#else
typedef int fault_points_are_off; /* ISO C wants something in a file */
#endif
