/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors of a whole restart, first half: checks that everything can be opened before anything
 * changes, then opens each description once in the master, at numbers that no process uses.
 */
#include "resource/resource_priv.h"
#include "resource/tcp.h"

#include <string.h>

static const uint32_t settable_flags = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;

static bool is_survivable(enum stasis_errclass cls)
{
	return cls == STASIS_E_GONE || cls == STASIS_E_DENIED || cls == STASIS_E_UNSUPPORTED;
}

/* What the user wants opened instead. */
static int verify_path(const struct load_desc *l, struct stasis_error *err)
{
	struct stat st;

	if (stat(l->path, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.150s'", l->path);
	return file_check_access(l->path, l->d->flags, err);
}

static int verify_desc(struct fd_load *c, struct load_desc *l, struct stasis_error *err)
{
	c->current = l;
	if (locks_check(l->d, err) < 0 || session_enter(c->s, l->proc->pid, err) < 0)
		return -1;
	if (l->path)
		return verify_path(l, err);
	if (copy_back_wanted(c, l->d))
		return copy_back_check(c, l->d, err);
	return l->kind->verify ? l->kind->verify(c->s, c, l->d, err) : 0;
}

/* Check all, so that the user learns of every problem; the first is the error. */
static int verify_all(struct fd_load *c, struct stasis_error *err)
{
	size_t nr_problems = 0;

	for (size_t i = 0; i < c->nr_descs; i++) {
		struct load_desc *l = &c->descs[i];
		struct stasis_error why;

		if (!l->is_used || verify_desc(c, l, &why) == 0)
			continue;
		(void)load_fail_at(l, &why);
		why.pid = l->proc->pid;
		l->is_null = c->s->is_forced && is_survivable(why.cls);
		if (l->is_null)
			s_warn(c->s, "%s: /dev/null takes its place", why.text);
		else if (nr_problems++)
			s_warn(c->s, "%s", why.text);
		else if (err)
			*err = why;
	}
	return nr_problems ? -1 : 0;
}

/* Copies of files lie beside the image. */
static int open_copy_dir(struct fd_load *c, const struct stasis_restore_opts *opts,
			 struct stasis_error *err)
{
	const char *slash = opts->name ? strrchr(opts->name, '/') : NULL;
	scoped_free char *dir = NULL;

	c->wants_copy_back = opts->flags & STASIS_RESTORE_COPY_BACK;
	if (!c->wants_copy_back)
		return 0;
	dir = slash ? strndup(opts->name, (size_t)(slash - opts->name) + 1) : strdup(".");
	if (!dir)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	c->copy_dirfd = openat(opts->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->copy_dirfd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", dir);
	return 0;
}

static void fd_load_freep(struct fd_load **c)
{
	fd_load_free(*c);
}

int fd_load_plan(struct session *s, const struct fd_proc *procs, size_t nr,
		 const struct stasis_restore_opts *opts, struct fd_load **ret,
		 struct stasis_error *err)
{
	scoped(fd_load_freep) struct fd_load *c = calloc(1, sizeof(*c));

	if (!c)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	c->s = s;
	c->is_quiet = opts->flags & STASIS_RESTORE_QUIET_FILES;
	c->highest = -1;
	c->copy_dirfd = -1;
	c->lock_wait_s = opts->pid_retry_s;
	if (open_copy_dir(c, opts, err) < 0 || load_index(c, procs, nr, opts, err) < 0 ||
	    fd_room_find(c, err) < 0 || verify_all(c, err) < 0 || fd_room_find(c, err) < 0)
		return -1;
	*ret = ptr_take(&c);
	return 0;
}

int fd_load_base(const struct fd_load *c)
{
	return c->base;
}

int fd_load_end(const struct fd_load *c)
{
	return c->end;
}

void fd_load_set_object_fd(struct fd_load *c, object_fd_fn fn, void *arg)
{
	c->object_fd = fn;
	c->object_fd_arg = arg;
}

void fd_load_set_foreground(struct fd_load *c, pid_t pgrp)
{
	c->foreground = pgrp;
}

/* ---- opening ---- */

/* Flags that open() did not set, or that it should not have set. */
static int set_flags(int fd, const Stasis__Description *d, struct stasis_error *err)
{
	int now;

	if (d->flags & O_PATH)
		return 0;
	now = fcntl(fd, F_GETFL);
	if (now < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fcntl F_GETFL");
	if (((uint32_t)now ^ d->flags) & settable_flags && fcntl(fd, F_SETFL, (int)d->flags) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fcntl F_SETFL 0%o", d->flags);
	if (d->owner_sig && fcntl(fd, F_SETSIG, (int)d->owner_sig) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fcntl F_SETSIG %u", d->owner_sig);
	return 0;
}

static int open_instead(const struct load_desc *l, struct stasis_error *err)
{
	scoped_fd int fd = file_reopen(l->path, l->d, err);

	if (fd < 0)
		return -1;
	if (lseek(fd, (off_t)l->d->pos, SEEK_SET) < 0 && errno != ESPIPE)
		return stasis_fail_errno(err, STASIS_E_IO, "lseek '%.150s'", l->path);
	return fd_take(&fd);
}

static int open_null(const Stasis__Description *d, struct stasis_error *err)
{
	int fd = open("/dev/null", (int)(d->flags & O_ACCMODE) | O_CLOEXEC);

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/dev/null'");
	return fd;
}

static int open_desc(struct fd_load *c, struct load_desc *l, struct stasis_error *err)
{
	scoped_fd int fd = -1;

	c->current = l;
	if (session_enter(c->s, l->proc->pid, err) < 0)
		return -1;
	if (l->is_null || l->path)
		fd = l->is_null ? open_null(l->d, err) : open_instead(l, err);
	else
		fd = l->kind->load(c->s, c, l->d, err);
	if (fd < 0)
		return -1;
	if (!l->is_null && l->kind != &kind_unsupported && set_flags(fd, l->d, err) < 0)
		return -1;
	l->fd = fd >= c->base && fd < c->end ? fd_take(&fd) : fcntl(fd, F_DUPFD_CLOEXEC, c->base);
	if (l->fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "dup %d failed", fd);
	return locks_take(c, l, err);
}

/* How many descriptions of each pipe will be opened: the last of an end takes over ours. */
static void count_pipes(struct fd_load *c)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct load_desc *l = &c->descs[i];
		struct load_pipe *pipe = load_find_pipe(c, load_pipe_of(l->d));

		if (!pipe || !load_is_kept(l))
			continue;
		pipe->nr_to_read += (l->d->flags & O_ACCMODE) != O_WRONLY;
		pipe->nr_to_write += (l->d->flags & O_ACCMODE) != O_RDONLY;
	}
}

/* Ends that no description took over. */
static void close_pipes(struct fd_load *c)
{
	for (size_t i = 0; i < c->nr_pipes; i++) {
		scoped_close_fd(&c->pipes[i].read_fd);
		scoped_close_fd(&c->pipes[i].write_fd);
		c->pipes[i].read_fd = c->pipes[i].write_fd = -1;
	}
}

static int wire_all(struct fd_load *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		struct load_desc *l = c->current = &c->descs[i];

		if (!load_is_kept(l) || !l->kind->wire)
			continue;
		if (session_enter(c->s, l->proc->pid, err) < 0 ||
		    l->kind->wire(c->s, c, l->d, err) < 0)
			return load_fail_at(l, err);
	}
	return 0;
}

int fd_load_open_all(struct fd_load *c, struct stasis_error *err)
{
	if (copy_back_all(c, err) < 0)
		return -1;
	count_pipes(c);
	for (size_t i = 0; i < c->nr_descs; i++) {
		struct load_desc *l = &c->descs[i];

		if (l->is_used && open_desc(c, l, err) < 0)
			return load_fail_at(l, err);
	}
	close_pipes(c);
	return wire_all(c, err) < 0 ? -1 : locks_try_posix(c, err);
}

void fd_load_free(struct fd_load *c)
{
	int saved = errno;

	if (!c)
		return;
	copy_back_undo(c);
	mqueue_load_undo(c);
	unix_load_free(c);
	close_pipes(c);
	pty_load_done(c);
	tcp_pairs_done(c);
	for (size_t i = 0; i < c->nr_descs; i++)
		scoped_close_fd(&c->descs[i].fd);
	for (size_t i = 0; i < c->nr_procs; i++) {
		free(c->procs[i].fds);
		free(c->procs[i].bulks);
	}
	scoped_close_fd(&c->copy_dirfd);
	free(c->procs);
	free(c->descs);
	free(c->objects);
	free(c->pipes);
	arena_done(&c->arena);
	free(c);
	errno = saved;
}
