/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptions that are needed because another one refers to them: members of an epoll instance,
 * descriptors in flight in a socket. Most are the tree's anyway; one that only a message holds has no
 * number in any process and is looked at through a descriptor of ours.
 */
#include "resource/resource_priv.h"

enum { REFERS_STEP = 4 };

struct fd_desc *fd_save_desc_at(struct fd_save *c, const struct task *t, int fd)
{
	const struct fd_entry *e = fd_save_find(c, t, fd);

	return e ? e->desc : NULL;
}

struct fd_desc *fd_save_adopt(struct fd_save *c, const struct fd_desc *from, int local_fd,
			      struct stasis_error *err)
{
	scoped_fd int fd = local_fd;
	struct fd_entry *e = arena_alloc(&c->arena, sizeof(*e));
	struct fd_desc *d;

	if (!e)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for descriptors");
	*e = (struct fd_entry){.task = from->first->task, .fd = -1, .local_fd = fd};
	if (probe_local(c, e, err) < 0)
		return NULL;
	d = sharing_find_twin(c, e);
	if (d)
		return d;
	d = arena_alloc(&c->arena, sizeof(*d));
	if (!d || sharing_add(c, d) < 0)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for descriptors");
	d->first = e;
	e->desc = d;
	(void)fd_take(&fd);
	return d;
}

static int make_room(struct fd_desc *from)
{
	size_t room = from->refers_room ? 2 * from->refers_room : REFERS_STEP;
	struct fd_desc **refers = realloc(from->refers, room * sizeof(*refers));
	uint64_t *ids;

	if (!refers)
		return -1;
	from->refers = refers;
	ids = realloc(from->rec.refers, room * sizeof(*ids));
	if (!ids)
		return -1;
	from->rec.refers = ids;
	from->refers_room = room;
	return 0;
}

uint64_t fd_save_refer(struct fd_save *c, struct fd_desc *from, struct fd_desc *to)
{
	(void)c;
	to->is_used = true;
	if (from->nr_refers == from->refers_room && make_room(from) < 0)
		return 0;
	from->refers[from->nr_refers++] = to;
	from->rec.refers[from->rec.n_refers++] = to->rec.id;
	return to->rec.id;
}
