/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * timerfd_create(2): clock, settings and ticks from fdinfo. A relative timer keeps what was left of it; an
 * absolute one of a real-time clock still means the same point in time.
 */
#include "resource/resource_priv.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>

/* <linux/timerfd.h>, Linux 3.17 with CONFIG_CHECKPOINT_RESTORE; that header and libc's disagree. */
#define SET_TICKS _IOW('T', 0, uint64_t)

enum { NS_PER_S = 1000000000 };

static bool timerfd_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[timerfd]");
}

static bool is_realtime(int clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
}

static bool is_absolute(const Stasis__TimerFd *r)
{
	return r->settime_flags & TFD_TIMER_ABSTIME;
}

static int64_t now_ns(int clock)
{
	struct timespec now = {0};

	(void)clock_gettime(is_realtime(clock) ? CLOCK_REALTIME : clock, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* proc(5): "clockid: 1\nticks: 0\nsettime flags: 01\nit_value: (0, 999)\nit_interval: (1, 0)\n" */
static int parse(const char *fdinfo, Stasis__TimerFd *r)
{
	const char *text = strstr(fdinfo, "clockid:");
	long long value_s, value_ns, interval_s, interval_ns;

	if (!text || sscanf(text,
			    "clockid: %" SCNd32 " ticks: %" SCNu64 " settime flags: %" SCNo32
			    " it_value: (%lld, %lld) it_interval: (%lld, %lld)",
			    &r->clock, &r->ticks, &r->settime_flags, &value_s, &value_ns, &interval_s,
			    &interval_ns) != 7)
		return -1;
	r->value_ns = value_s * NS_PER_S + value_ns;
	r->interval_ns = interval_s * NS_PER_S + interval_ns;
	return 0;
}

static int timerfd_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__TimerFd *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a timerfd");
	stasis__timer_fd__init(r);
	if (parse(p->fdinfo, r) < 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "fdinfo of a timerfd does not look like "
							   "proc(5) says");
	if (r->value_ns && is_absolute(r) && is_realtime(r->clock))
		r->value_ns += now_ns(r->clock);
	ret->kind_case = STASIS__DESCRIPTION__KIND_TIMERFD;
	ret->timerfd = r;
	return 0;
}

static int timerfd_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__TimerFd *r = d->timerfd;

	(void)s;
	(void)c;
	if (r->value_ns < 0 || r->interval_ns < 0)
		return stasis_fail(err, STASIS_E_CORRUPT, "timerfd set to a negative time");
	return 0;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

/* A periodic timer that had run out unread shows no rest: its phase is not known, so a whole interval
 * begins. */
static int set_time(int fd, const Stasis__TimerFd *r)
{
	int64_t value = r->value_ns || !r->interval_ns ? r->value_ns : r->interval_ns;
	struct itimerspec spec = {.it_interval = to_timespec(r->interval_ns)};

	if (!value)
		return 0;
	if (is_absolute(r) && (!is_realtime(r->clock) || !r->value_ns))
		value += now_ns(r->clock);
	spec.it_value = to_timespec(value);
	return timerfd_settime(fd, (int)r->settime_flags, &spec, NULL);
}

static int timerfd_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	const Stasis__TimerFd *r = d->timerfd;
	scoped_fd int fd = timerfd_create(r->clock, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t ticks = r->ticks;

	(void)c;
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "timerfd of clock %d", r->clock);
	if (set_time(fd, r) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set a timerfd");
	if (ticks && ioctl(fd, SET_TICKS, &ticks) < 0)
		s_warn(s, "a timerfd loses %llu expirations that were not read: %s",
		       (unsigned long long)ticks, strerror(errno));
	return fd_take(&fd);
}

const struct resource_kind kind_timerfd = {
	.name = "timerfd",
	.tag = STASIS__DESCRIPTION__KIND_TIMERFD,
	.match = timerfd_match,
	.save = timerfd_save,
	.verify = timerfd_verify,
	.load = timerfd_load,
};
