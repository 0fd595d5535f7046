/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Anonymous pipes. Each description is one end (or, opened again through /proc, both); the pipe with
 * its size and content is an object. An end whose other end has no holder is restored as such; one
 * whose holder is outside of the tree is an obstacle.
 */
#include "resource/resource_priv.h"

#include <string.h>

static bool pipe_match(const struct fd_probe *p)
{
	return S_ISFIFO(p->st.st_mode) && !strncmp(p->link, "pipe:[", 6);
}

static int pipe_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		     Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Pipe *r = fd_save_alloc(c, sizeof(*r));
	struct stasis_error outside;
	bool is_external;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pipe");
	stasis__pipe__init(r);
	is_external = pipe_check_ends(c, p, &outside) < 0;
	if (is_external && outside.cls != STASIS_E_UNSUPPORTED)
		return stasis_fail(err, outside.cls, "%s", outside.text);
	if (pipe_object_save(c, p, &r->object, err) < 0)
		return -1;
	r->is_write_end = (p->flags & O_ACCMODE) == O_WRONLY;
	r->is_external = is_external;
	ret->kind_case = STASIS__DESCRIPTION__KIND_PIPE;
	ret->pipe = r;
	if (is_external)
		return stasis_fail(err, outside.cls, "%s", outside.text);
	return 0;
}

static int pipe_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	(void)s;
	if (d->pipe->is_write_end != ((d->flags & O_ACCMODE) == O_WRONLY))
		return stasis_fail(err, STASIS_E_CORRUPT, "end of pipe does not fit its flags");
	return pipe_check_object(c, d->pipe->object, d->pipe->is_external, err);
}

static int make_pipe(struct fd_load *c, struct load_pipe *pipe, struct stasis_error *err)
{
	const Stasis__Object *o = fd_load_object(c, pipe->object);
	int fds[2];

	if (!o)
		return stasis_fail(err, STASIS_E_INTERNAL, "pipe was not verified");
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	pipe->read_fd = fds[0]; /* pipe_load_done() closes what is not handed over */
	pipe->write_fd = fds[1];
	pipe->is_made = true;
	return pipe_fill(c, fds[1], o, err);
}

/* The last description of an end gets the one that pipe2() made; others are opened beside it. */
static int pipe_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		     struct stasis_error *err)
{
	struct load_pipe *pipe = load_find_pipe(c, d->pipe->object);
	uint32_t mode = d->flags & O_ACCMODE;
	int fd;

	(void)s;
	if (!pipe)
		return stasis_fail(err, STASIS_E_INTERNAL, "pipe was not counted");
	if (!pipe->is_made && make_pipe(c, pipe, err) < 0)
		return -1;
	pipe->nr_to_read -= mode != O_WRONLY;
	pipe->nr_to_write -= mode != O_RDONLY;
	if (mode == O_RDONLY && !pipe->nr_to_read)
		return fd_take(&pipe->read_fd);
	if (mode == O_WRONLY && !pipe->nr_to_write)
		return fd_take(&pipe->write_fd);
	fd = fd_reopen(pipe->read_fd >= 0 ? pipe->read_fd : pipe->write_fd,
		       mode | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open an end of a pipe");
	return fd;
}

const struct resource_kind kind_pipe = {
	.name = "pipe",
	.tag = STASIS__DESCRIPTION__KIND_PIPE,
	.match = pipe_match,
	.save = pipe_save,
	.write = pipe_write_object,
	.verify = pipe_verify,
	.load = pipe_load,
};
