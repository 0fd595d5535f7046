/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Anonymous pipes. Each description is one end (or, opened again through /proc, both); the pipe with
 * its size and content is an object. An end whose other end has no holder is restored as such; one
 * whose holder is outside of the tree is an obstacle, unless it is the root's standard input or output and
 * the user said that whoever restarts has another one.
 */
#include "resource/resource_priv.h"

#include <string.h>
#include <sys/ioctl.h>

static bool pipe_match(const struct fd_probe *p)
{
	return S_ISFIFO(p->st.st_mode) && !strncmp(p->link, "pipe:[", 6);
}

static bool is_same_end(const struct fd_entry *e, const struct fd_probe *p)
{
	return e && e->desc && e->desc->link && !strcmp(e->desc->link, p->link) &&
	       (e->flags & O_ACCMODE) == (p->flags & O_ACCMODE);
}

/* A shell's redirection for one command: what was there waits at a number above 9. */
static bool is_displaced(struct fd_save *c, int fd)
{
	const struct fd_entry *e = fd_save_find(c, c->tree->tasks[0], fd);
	const struct pipe_object *o = e && e->desc ? e->desc->pipe : NULL;

	return !o || (fd == 0 ? o->nr_writers : o->nr_readers) != 0;
}

/* Which of 0, 1 and 2 it is to the tree, plus 1; 0 when none. Descriptions come in the order of the
 * root's descriptors, so that of two displaced ones the lower is 1. */
static uint32_t stdio_number(struct fd_save *c, const struct fd_probe *p)
{
	bool is_write_end = (p->flags & O_ACCMODE) == O_WRONLY;
	struct task *t;
	size_t i;

	tree_for_each(c->tree, i, t)
		for (int fd = 0; fd <= 2 && t->state != TASK_ZOMBIE; fd++)
			if (is_same_end(fd_save_find(c, t, fd), p))
				return (uint32_t)fd + 1;
	for (int fd = is_write_end; fd <= (is_write_end ? 2 : 0); fd++) {
		if (c->stdio_displaced & 1u << fd || !is_displaced(c, fd))
			continue;
		c->stdio_displaced |= 1u << fd;
		return (uint32_t)fd + 1;
	}
	return 0;
}

/* The standard input or output of the whole tree: whoever restarts has another one. Output that has
 * not been read yet is still read there; input that the program has not read would be lost. */
static int save_stdio(struct fd_save *c, const struct fd_probe *p, Stasis__Pipe *r,
		      const struct stasis_error *outside, struct stasis_error *err)
{
	int unread = 0;

	r->stdio = c->s->external & STASIS_EXTERNAL_STDIO ? stdio_number(c, p) : 0;
	if (!r->stdio)
		return stasis_fail(err, outside->cls, "%s", outside->text);
	if ((p->flags & O_ACCMODE) != O_WRONLY && p->local_fd >= 0 &&
	    ioctl(p->local_fd, FIONREAD, &unread) == 0 && unread)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "%d bytes of input from outside of selected processes are not "
				   "read yet; checkpoint when they are, or give it a file",
				   unread);
	return 0;
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
	return is_external ? save_stdio(c, p, r, &outside, err) : 0;
}

static int verify_stdio(const Stasis__Description *d, struct stasis_error *err)
{
	int fd = (int)d->pipe->stdio - 1, flags;

	if (d->pipe->stdio > 3 || !d->pipe->is_external)
		return stasis_fail(err, STASIS_E_CORRUPT, "pipe is standard descriptor %u",
				   d->pipe->stdio - 1);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return stasis_fail(err, STASIS_E_GONE,
				   "it was descriptor %d of the program, and restart has none to put in "
				   "its place; use -F to give it /dev/null",
				   fd);
	if ((flags & O_ACCMODE) != O_RDWR && ((uint32_t)flags & O_ACCMODE) != (d->flags & O_ACCMODE))
		return stasis_fail(err, STASIS_E_GONE,
				   "it was descriptor %d of the program, and that of restart is not open "
				   "for %s; use -F to give it /dev/null",
				   fd, d->pipe->is_write_end ? "writing" : "reading");
	return 0;
}

static int pipe_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	(void)s;
	if (d->pipe->is_write_end != ((d->flags & O_ACCMODE) == O_WRONLY))
		return stasis_fail(err, STASIS_E_CORRUPT, "end of pipe does not fit its flags");
	if (d->pipe->stdio && verify_stdio(d, err) < 0)
		return -1;
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
	if (d->pipe->stdio) {
		fd = fcntl((int)d->pipe->stdio - 1, F_DUPFD_CLOEXEC, 3);
		return fd >= 0 ? fd : stasis_fail_errno(err, STASIS_E_IO, "dup %u",
							d->pipe->stdio - 1);
	}
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
