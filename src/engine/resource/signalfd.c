/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * signalfd(2): nothing but a set of signals. What is read from it are the pending signals of whoever
 * reads, which are saved with the processes.
 */
#include "resource/resource_priv.h"

#include <inttypes.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool signalfd_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[signalfd]");
}

static int signalfd_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			 Stasis__Description *ret, struct stasis_error *err)
{
	const char *mask = strstr(p->fdinfo, "sigmask:");
	Stasis__SignalFd *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a signalfd");
	stasis__signal_fd__init(r);
	if (!mask || sscanf(mask, "sigmask: %" SCNx64, &r->mask) != 1)
		return stasis_fail(err, STASIS_E_INTERNAL, "fdinfo shows no sigmask");
	ret->kind_case = STASIS__DESCRIPTION__KIND_SIGNALFD;
	ret->signalfd = r;
	return 0;
}

/* By the system call: libc's sigset_t is larger than the kernel's. */
static int signalfd_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			 struct stasis_error *err)
{
	uint64_t mask = d->signalfd->mask;
	int fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC | SFD_NONBLOCK);

	(void)s;
	(void)c;
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "signalfd") : fd;
}

const struct resource_kind kind_signalfd = {
	.name = "signalfd",
	.tag = STASIS__DESCRIPTION__KIND_SIGNALFD,
	.match = signalfd_match,
	.save = signalfd_save,
	.load = signalfd_load,
};
