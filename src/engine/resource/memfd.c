/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memfd_create(2). Content, name and seals are an object of the memory module, which may also be
 * mapped; here are the descriptions of it.
 */
#include "resource/resource_priv.h"

#include <string.h>

static bool memfd_match(const struct fd_probe *p)
{
	return S_ISREG(p->st.st_mode) && !p->is_path && !strncmp(p->link, "/memfd:", 7) &&
	       p->st.st_nlink == 0;
}

static int memfd_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		      Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__MemFd *r = fd_save_alloc(c, sizeof(*r));
	scoped_fd int readable = -1;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a memfd");
	stasis__mem_fd__init(r);
	if (p->local_fd < 0)
		return stasis_fail(err, STASIS_E_DENIED, "memfd '%.100s' cannot be looked at; run as root",
				   p->link);
	if ((p->flags & O_ACCMODE) == O_WRONLY)
		readable = fd_reopen(p->local_fd, O_RDONLY | O_CLOEXEC);
	r->object = c->objects.get(c->objects.arg, p->task, &p->st,
				   readable >= 0 ? readable : p->local_fd, p->link, err);
	if (!r->object)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_MEMFD;
	ret->memfd = r;
	return 0;
}

static int memfd_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	(void)s;
	if (d->pos > INT64_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "position %llu is out of range",
				   (unsigned long long)d->pos);
	if (load_check_object(c, d->memfd->object, STASIS__OBJECT_TYPE__OBJECT_HUGETLB, NULL) == 0)
		return 0;
	return load_check_object(c, d->memfd->object, STASIS__OBJECT_TYPE__OBJECT_MEMFD, err);
}

static int memfd_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	int object_fd = load_object_fd(c, d->memfd->object, err);
	scoped_fd int fd = -1;

	(void)s;
	if (object_fd < 0)
		return -1;
	fd = fd_reopen(object_fd, file_open_flags(d->flags)); /* position and flags of its own */
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the memfd again");
	if (file_seek(fd, d->pos, "memfd", err) < 0)
		return -1;
	return fd_take(&fd);
}

const struct resource_kind kind_memfd = {
	.name = "memfd",
	.tag = STASIS__DESCRIPTION__KIND_MEMFD,
	.match = memfd_match,
	.save = memfd_save,
	.verify = memfd_verify,
	.load = memfd_load,
};
