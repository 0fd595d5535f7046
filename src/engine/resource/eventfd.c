/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * eventfd(2): counter and semaphore mode, both from fdinfo. Kernels before 6.5 do not tell the mode;
 * there a semaphore eventfd becomes a plain one.
 */
#include "resource/resource_priv.h"

#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>

static bool eventfd_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[eventfd]");
}

static int eventfd_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	const char *count = strstr(p->fdinfo, "eventfd-count:");
	const char *semaphore = strstr(p->fdinfo, "eventfd-semaphore:");
	Stasis__EventFd *r = fd_save_alloc(c, sizeof(*r));

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an eventfd");
	stasis__event_fd__init(r);
	if (!count || sscanf(count, "eventfd-count: %" SCNx64, &r->count) != 1)
		return stasis_fail(err, STASIS_E_INTERNAL, "fdinfo shows no eventfd-count");
	if (semaphore)
		r->is_semaphore = strtol(semaphore + strlen("eventfd-semaphore:"), NULL, 10) == 1;
	else
		s_debug(s, "this kernel does not tell whether fd %d is a semaphore eventfd: taken as "
			   "a plain one", p->fd);
	ret->kind_case = STASIS__DESCRIPTION__KIND_EVENTFD;
	ret->eventfd = r;
	return 0;
}

static int eventfd_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	int flags = EFD_CLOEXEC | EFD_NONBLOCK | (d->eventfd->is_semaphore ? EFD_SEMAPHORE : 0);
	uint64_t count = d->eventfd->count;
	scoped_fd int fd = eventfd(0, flags);

	(void)s;
	(void)c;
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "eventfd");
	if (count == UINT64_MAX) /* overflown by the kernel; write() stops one earlier */
		count--;
	if (count && write(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return stasis_fail_errno(err, STASIS_E_IO, "write the eventfd's counter");
	return fd_take(&fd);
}

const struct resource_kind kind_eventfd = {
	.name = "eventfd",
	.tag = STASIS__DESCRIPTION__KIND_EVENTFD,
	.match = eventfd_match,
	.save = eventfd_save,
	.load = eventfd_load,
};
