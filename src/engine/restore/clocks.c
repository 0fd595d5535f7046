/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME that go on from where they were at the checkpoint, by a time
 * namespace (time_namespaces(7), Linux 5.6). The builder stays in its own; its children are in the new
 * one, whose offsets are fixed by the birth of the first.
 */
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts = {0};

	(void)clock_gettime(clock, &ts); /* cannot fail */
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int print_line(char *text, size_t size, int clock, int64_t offset_ns)
{
	int64_t s = offset_ns / NS_PER_S, ns = offset_ns % NS_PER_S;

	if (ns < 0) {
		s--;
		ns += NS_PER_S;
	}
	return snprintf(text, size, "%d %lld %lld\n", clock, (long long)s, (long long)ns);
}

static int write_offsets(int procfd, const struct proc_timens *t, struct stasis_error *err)
{
	scoped_fd int fd = openat(procfd, "timens_offsets", O_WRONLY | O_CLOEXEC);
	char text[128];
	int len = print_line(text, sizeof(text), CLOCK_MONOTONIC, t->monotonic_ns);

	len += print_line(text + len, sizeof(text) - (size_t)len, CLOCK_BOOTTIME, t->boottime_ns);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self/timens_offsets'");
	return io_write_full(fd, text, (size_t)len, err); /* the kernel wants them in one piece */
}

static int make_namespace(const Stasis__ImageInfo *info, struct stasis_error *err)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct proc_timens t;

	if (self < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self'");
	/* what our own namespace is ahead: offsets count from the machine's clocks */
	if (proc_read_timens(self, &t, err) < 0)
		return -1;
	t.monotonic_ns += info->program_monotonic_ns - now_ns(CLOCK_MONOTONIC);
	t.boottime_ns += info->program_boottime_ns - now_ns(CLOCK_BOOTTIME);
	if (syscall(SYS_unshare, CLONE_NEWTIME) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "make a time namespace");
	return write_offsets(self, &t, err);
}

static const Stasis__ImageInfo *info_of(const struct restore *r, struct stasis_error *err)
{
	return image_record(r->procs[0].image, IMAGE_TAG_INFO, 0,
			    &stasis__image_info__descriptor, err);
}

int clocks_check(struct restore *r, struct stasis_error *err)
{
	const int64_t max = (int64_t)NS_PER_S << 32; /* 136 years */
	const Stasis__ImageInfo *info = info_of(r, err);

	if (!info)
		return -1;
	r->keeps_clocks = r->opts->flags & STASIS_RESTORE_KEEP_MONOTONIC ||
			  info->has_time_namespace;
	if (!r->keeps_clocks)
		return 0;
	if (info->program_monotonic_ns <= 0 || info->program_monotonic_ns > max ||
	    info->program_boottime_ns <= 0 || info->program_boottime_ns > max)
		return stasis_fail(err, STASIS_E_CORRUPT, "image '%s' has no clocks",
				   image_name(r->procs[0].image));
	if (access("/proc/self/timens_offsets", F_OK) < 0 && !r->s->is_forced)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the kernel has no time namespaces, so that the program's clocks "
				   "cannot go on (%s); use -F to restart it with the machine's",
				   info->has_time_namespace ? "it was in one" : "--keep-monotonic");
	return 0;
}

int clocks_enter(struct restore *r, struct stasis_error *err)
{
	const Stasis__ImageInfo *info = info_of(r, err);
	struct stasis_error why;

	if (!info)
		return -1;
	if (!r->keeps_clocks || make_namespace(info, &why) == 0)
		return 0;
	if (r->s->is_forced) {
		s_warn(r->s, "the program's clocks jump: %s", why.text);
		return 0;
	}
	if (err)
		*err = why;
	return stasis_fail_prefix(err, "keep the program's clocks");
}
