/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clocks that count since the machine's start, as a program in a time namespace sees them. */
#include "dump/dump_priv.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <time.h>

enum { NS_PER_S = 1000000000 };

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts = {0};

	(void)clock_gettime(clock, &ts); /* cannot fail */
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int dump_read_clocks(const struct task *t, struct dump_clocks *ret, struct stasis_error *err)
{
	scoped_fd int self = proc_open(getpid(), err);
	struct proc_timens own, its;

	if (self < 0 || proc_read_timens(self, &own, err) < 0 ||
	    proc_read_timens(t->procfd, &its, err) < 0)
		return -1;
	ret->monotonic_ns = now_ns(CLOCK_MONOTONIC) - own.monotonic_ns + its.monotonic_ns;
	ret->boottime_ns = now_ns(CLOCK_BOOTTIME) - own.boottime_ns + its.boottime_ns;
	ret->has_namespace = its.monotonic_ns || its.boottime_ns;
	return 0;
}
