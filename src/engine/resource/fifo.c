/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named pipes: opened again by path, filled like a pipe. While its descriptions are opened we hold
 * both ends, so that no open blocks and the content has a reader.
 */
#include "resource/resource_priv.h"

static bool fifo_match(const struct fd_probe *p)
{
	return S_ISFIFO(p->st.st_mode) && !p->is_path && p->link[0] == '/';
}

static int fifo_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		     Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Fifo *r = fd_save_alloc(c, sizeof(*r));
	struct stasis_error outside;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a FIFO");
	stasis__fifo__init(r);
	if (file_id_save(c, p, true, &r->file, err) < 0)
		return -1;
	r->is_external = pipe_check_ends(c, p, &outside) < 0;
	if (r->is_external && outside.cls != STASIS_E_UNSUPPORTED)
		return stasis_fail(err, outside.cls, "%s", outside.text);
	if (pipe_object_save(c, p, &r->object, err) < 0)
		return stasis_fail_prefix(err, "'%.100s': drain fifo", p->link);
	ret->kind_case = STASIS__DESCRIPTION__KIND_FIFO;
	ret->fifo = r;
	if (r->is_external)
		return stasis_fail(err, outside.cls, "'%.80s': %s", p->link, outside.text);
	return 0;
}

static int fifo_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	struct stat st;

	(void)s;
	if (file_id_check(d->fifo->file, err) < 0 ||
	    pipe_check_object(c, d->fifo->object, d->fifo->is_external, err) < 0)
		return -1;
	if (d->fifo->file->deleted)
		return 0;
	if (file_id_find(d->fifo->file, false, &st, err) < 0)
		return -1;
	return file_check_access(d->fifo->file->path, d->flags, err);
}

/* Somebody without the right to write still gets his read end. */
static int open_both_ends(const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__FileId *f = d->fifo->file;
	int fd;

	if (f->deleted)
		return file_open_unlinked(S_IFIFO, d, err);
	fd = open(f->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fifo open '%.150s'", f->path);
	return fd;
}

static int make_fifo(struct fd_load *c, struct load_pipe *pipe, const Stasis__Description *d,
		     struct stasis_error *err)
{
	const Stasis__Object *o = fd_load_object(c, pipe->object);

	if (!o)
		return stasis_fail(err, STASIS_E_INTERNAL, "FIFO was not verified");
	pipe->read_fd = open_both_ends(d, err);
	if (pipe->read_fd < 0)
		return -1;
	pipe->is_made = true;
	return pipe_fill(c, pipe->read_fd, o, err);
}

/* A reader that waits for its first writer sees no hang-up; had we held a write end meanwhile, poll()
 * would tell it that a writer has come and gone. */
static bool awaits_first_writer(struct fd_load *c, const struct load_pipe *pipe,
				const Stasis__Description *d)
{
	const Stasis__Object *o = fd_load_object(c, pipe->object);

	return !pipe->nr_write_ends && o && !o->content_len && !d->fifo->file->deleted &&
	       (d->flags & O_ACCMODE) == O_RDONLY && (d->flags & O_NONBLOCK);
}

static int fifo_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		     struct stasis_error *err)
{
	struct load_pipe *pipe = load_find_pipe(c, d->fifo->object);
	int fd;

	(void)s;
	if (!pipe)
		return stasis_fail(err, STASIS_E_INTERNAL, "FIFO was not counted");
	if (awaits_first_writer(c, pipe, d))
		return file_reopen(d->fifo->file->path, d, err);
	if (!pipe->is_made && make_fifo(c, pipe, d, err) < 0)
		return -1;
	fd = fd_reopen(pipe->read_fd, (d->flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fifo open '%.150s'",
					 d->fifo->file->path);
	return fd;
}

const struct resource_kind kind_fifo = {
	.name = "fifo",
	.tag = STASIS__DESCRIPTION__KIND_FIFO,
	.match = fifo_match,
	.save = fifo_save,
	.write = pipe_write_object,
	.verify = fifo_verify,
	.load = fifo_load,
};
