/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX timers: ids with holes, several clocks and ways of notifying, remaining time. */
#include "subject.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NR 6

static volatile sig_atomic_t ticks;

static void on_tick(int signo, siginfo_t *si, void *ctx)
{
	(void)signo;
	(void)ctx;
	if (si->si_code != SI_TIMER || si->si_value.sival_int != 4242)
		subject_bad("tick with code %d, value %d", si->si_code, si->si_value.sival_int);
	ticks++;
}

/* The system call itself: glibc hides the kernel's ids. */
static int make(clockid_t clock, int notify, int signo, int value)
{
	struct sigevent ev;
	int id;

	memset(&ev, 0, sizeof(ev));
	ev.sigev_notify = notify;
	ev.sigev_signo = signo;
	ev.sigev_value.sival_int = value;
	if (notify == SIGEV_THREAD_ID)
		ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	CHECK(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	return id;
}

static void arm(int id, time_t value_s, long value_ns, time_t interval_s)
{
	struct itimerspec its = {.it_value = {value_s, value_ns}, .it_interval = {interval_s, value_ns}};

	CHECK(syscall(SYS_timer_settime, id, 0, &its, NULL) == 0);
}

static void check(int id, time_t armed_s, time_t interval_s)
{
	struct itimerspec its;

	CHECK(syscall(SYS_timer_gettime, id, &its) == 0);
	if (!armed_s) {
		CHECK(!its.it_value.tv_sec && !its.it_value.tv_nsec);
		return;
	}
	CHECK(its.it_interval.tv_sec == interval_s);
	if (its.it_value.tv_sec > armed_s || its.it_value.tv_sec < armed_s - 100)
		subject_bad("timer %d has %ld s left of %ld", id, (long)its.it_value.tv_sec, (long)armed_s);
}

int main(void)
{
	struct sigaction sa = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	int id[NR], seen, naps;

	subject_init();
	CHECK(sigaction(SIGRTMIN + 4, &sa, NULL) == 0);
	id[0] = make(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 1);
	id[1] = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, 2);
	id[2] = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR2, 3);
	id[3] = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 4, 4242);
	id[4] = make(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 5);
	id[5] = make(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGUSR2, 6);
	CHECK(syscall(SYS_timer_delete, id[1]) == 0);
	CHECK(syscall(SYS_timer_delete, id[2]) == 0);
	id[2] = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR2, 3);
	arm(id[0], 1000, 0, 11);
	arm(id[3], 0, 20000000, 0);
	arm(id[4], 2000, 0, 0);
	arm(id[5], 3000, 0, 13);
	subject_ready();
	subject_wait_go();
	check(id[0], 1000, 11);
	check(id[2], 0, 0);
	check(id[4], 2000, 0);
	check(id[5], 3000, 13);
	seen = ticks;
	for (naps = 0; ticks < seen + 5; naps++) {
		if (naps > 5000)
			subject_bad("the timer does not tick any more");
		subject_nap_ms(1);
	}
	subject_ok();
}
