/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clocks since the machine's start across a checkpoint. With an argument (a number of seconds, the
 * least that passed outside) they must have stood still meanwhile, as seen against CLOCK_REALTIME;
 * they never go back, by vDSO or system call, in old processes or new ones.
 */
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000, SLEEP_S = 4 };

static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW};

static int64_t to_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

static int64_t now(clockid_t clock)
{
	struct timespec by_vdso, by_call;

	CHECK(clock_gettime(clock, &by_vdso) == 0);
	CHECK(syscall(SYS_clock_gettime, clock, &by_call) == 0);
	CHECK(to_ns(&by_call) >= to_ns(&by_vdso));
	CHECK(to_ns(&by_call) - to_ns(&by_vdso) < 60ll * NS_PER_S); /* the same clock */
	return to_ns(&by_call);
}

/* Until a point in time that comes after the checkpoint. */
static void *sleep_until(void *arg)
{
	struct timespec end;

	(void)arg;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
	end.tv_sec += SLEEP_S;
	subject_mark("sleeps");
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
	CHECK(now(CLOCK_MONOTONIC) >= to_ns(&end));
	return NULL;
}

int main(int argc, char **argv)
{
	int64_t least_gap = argc > 1 ? (int64_t)atoi(argv[1]) * NS_PER_S : 0, ahead, before[3];
	pthread_t thread;

	subject_init();
	CHECK(pthread_create(&thread, NULL, sleep_until, NULL) == 0);
	subject_wait_mark("sleeps");
	ahead = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
	for (int i = 0; i < 3; i++)
		before[i] = now(clocks[i]);
	subject_ready();
	subject_wait_go();
	for (int i = 0; i < 3; i++)
		CHECK(now(clocks[i]) >= before[i]);
	ahead = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC) - ahead;
	if (ahead < least_gap)
		subject_bad("the clock stood still for %lld ns only", (long long)ahead);
	before[0] = now(CLOCK_MONOTONIC);
	if (subject_fork() == 0) {
		CHECK(now(CLOCK_MONOTONIC) >= before[0] &&
		      now(CLOCK_MONOTONIC) - before[0] < 60ll * NS_PER_S);
		subject_mark("child");
		_exit(0);
	}
	subject_wait_mark("child");
	CHECK(pthread_join(thread, NULL) == 0);
	subject_ok();
}
