/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interval timers: one that ticks, two far from due whose remaining time must have gone on. */
#include "subject.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void on_alarm(int signo)
{
	(void)signo;
	ticks++;
}

static void check_far(int which, long want_interval)
{
	struct itimerval v;

	CHECK(getitimer(which, &v) == 0);
	CHECK(v.it_interval.tv_sec == want_interval && v.it_interval.tv_usec == 250000);
	if (v.it_value.tv_sec > 1000 || v.it_value.tv_sec < 900)
		subject_bad("itimer %d has %ld s left of 1000", which, (long)v.it_value.tv_sec);
}

int main(void)
{
	struct itimerval tick = {{0, 20000}, {0, 20000}};
	struct itimerval far_virtual = {{7, 250000}, {1000, 0}}, far_prof = {{9, 250000}, {1000, 0}};
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	int seen, naps;

	subject_init();
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &tick, NULL) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &far_virtual, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &far_prof, NULL) == 0);
	subject_ready();
	subject_wait_go();
	check_far(ITIMER_VIRTUAL, 7);
	check_far(ITIMER_PROF, 9);
	seen = ticks;
	for (naps = 0; ticks < seen + 5; naps++) {
		if (naps > 5000)
			subject_bad("ITIMER_REAL does not tick any more");
		subject_nap_ms(1);
	}
	subject_ok();
}
