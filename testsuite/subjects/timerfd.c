/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timerfds: running, periodic, absolute, disarmed, run out unread, one that a child waits for. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int make(int clock, int flags, long value_s, long value_ns, long interval_s)
{
	struct itimerspec spec = {.it_value = {.tv_sec = value_s, .tv_nsec = value_ns},
				  .it_interval = {.tv_sec = interval_s}};
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);

	CHECK(fd >= 0 && timerfd_settime(fd, flags, &spec, NULL) == 0);
	return fd;
}

static double left(int fd)
{
	struct itimerspec now;

	CHECK(timerfd_gettime(fd, &now) == 0);
	return (double)now.it_value.tv_sec + (double)now.it_value.tv_nsec / 1e9;
}

int main(void)
{
	int running, absolute, disarmed, expired, periodic, waited;
	struct timespec now;
	struct pollfd p;
	uint64_t ticks;
	pid_t child;

	subject_init();
	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
	running = make(CLOCK_MONOTONIC, 0, 1000, 0, 0);
	absolute = make(CLOCK_REALTIME, TFD_TIMER_ABSTIME, now.tv_sec + 5000, 0, 7);
	disarmed = make(CLOCK_BOOTTIME, 0, 0, 0, 0);
	expired = make(CLOCK_MONOTONIC, 0, 0, 1, 0);
	periodic = make(CLOCK_MONOTONIC, 0, 0, 1, 3000);
	waited = make(CLOCK_MONOTONIC, 0, 2000, 0, 0);
	p = (struct pollfd){.fd = expired, .events = POLLIN};
	CHECK(poll(&p, 1, 10000) == 1);
	child = subject_fork();
	if (!child) {
		CHECK(fcntl(waited, F_SETFL, 0) == 0);
		CHECK(read(waited, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1);
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(running, F_GETFD) == FD_CLOEXEC && (fcntl(running, F_GETFL) & O_NONBLOCK));
	CHECK(left(running) > 500 && left(running) < 1000);
	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
	CHECK(left(absolute) > 4000 && left(absolute) < 5000);
	CHECK(left(disarmed) == 0);
	CHECK(read(disarmed, &ticks, sizeof(ticks)) < 0 && errno == EAGAIN);
	CHECK(read(expired, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1);
	CHECK(left(expired) == 0);
	CHECK(read(periodic, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks == 1);
	CHECK(left(periodic) > 2000 && left(periodic) <= 3000);
	CHECK(timerfd_settime(waited, 0, &(struct itimerspec){.it_value = {.tv_nsec = 1}}, NULL) == 0);
	subject_reap(child);
	subject_ok();
}
