/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chkpnt -C: copies of the open regular files beside the image, as <com>.<pid>.<filename>.<fd>, with a
 * hyphen for the name of an unlinked file. Holes stay holes.
 */
#include "resource/resource_priv.h"

#include <string.h>
#include <sys/stat.h>

enum { NAME_MAX_BYTES = 255 };

/* The command name is the process's own choice, so no slash of it may lead elsewhere. */
static char *copy_name(struct fd_save *c, const struct fd_desc *d)
{
	const struct fd_entry *e = d->first;
	const char *slash = strrchr(d->rec.regular->file->path, '/');
	const char *file = d->rec.regular->file->deleted || !slash ? "-" : slash + 1;
	char name[NAME_MAX_BYTES + 1], comm[sizeof(e->task->comm)];
	int len;

	(void)snprintf(comm, sizeof(comm), "%s", e->task->comm);
	for (char *p = comm; *p; p++)
		if (*p == '/')
			*p = '_';
	len = snprintf(name, sizeof(name), "%s.%d.%.200s.%d", comm, e->task->pid, file, e->fd);
	return len < (int)sizeof(name) ? fd_save_strdup(c, name) : NULL;
}

static int copy_data(int from, int to, uint64_t size, struct stasis_error *err)
{
	off_t data = 0, hole;

	while ((uint64_t)data < size) {
		data = lseek(from, data, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* nothing but a hole up to the end */
			break;
		if (data < 0)
			data = 0;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || (uint64_t)hole > size)
			hole = (off_t)size;
		if (hole > data &&
		    io_copy_range(from, (uint64_t)data, to, (uint64_t)data,
				  (uint64_t)(hole - data), err) < 0)
			return -1;
		data = hole;
	}
	if (ftruncate(to, (off_t)size) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set the length");
	return 0;
}

static void copy_attributes(int fd, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	/* who may not give files away keeps them: the content is what was asked for */
	(void)!fchown(fd, st->st_uid, st->st_gid);
	(void)fchmod(fd, st->st_mode & 0777);
	(void)futimens(fd, times);
}

static int remember(struct fd_save *c, int dirfd, char *name)
{
	struct copied_file *f = fd_save_alloc(c, sizeof(*f));

	if (!f)
		return -1;
	if (c->copies_dirfd < 0)
		c->copies_dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	f->name = name;
	f->next = c->copies;
	c->copies = f;
	return 0;
}

static int open_source(struct fd_save *c, struct fd_desc *d, struct stasis_error *err)
{
	scoped_fd int fd = task_get_fd(d->first->task, d->first->fd, err);
	int readable;

	(void)c;
	if (fd < 0)
		return -1;
	if (locks_has_write_lease(d)) /* which to open the file would break */
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "a write lease is held; give it up (F_UNLCK) or leave the file out");
	readable = fd_reopen(fd, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a position of our own */
	if (readable < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open for reading");
	return readable;
}

static int copy_file(struct fd_save *c, struct fd_desc *d, int dirfd, const char *name,
		     struct stasis_error *err)
{
	scoped_fd int from = open_source(c, d, err);
	scoped_fd int to = -1;
	struct stat st;

	if (from < 0)
		return -1;
	if (fstat(from, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fstat");
	if (c->s->is_forced)
		(void)unlinkat(dirfd, name, 0); /* -F: overwrite; most often there is none */
	to = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 && errno == EEXIST)
		return stasis_fail(err, STASIS_E_BUSY, "%s: file exists", name);
	if (to < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "create");
	if (remember(c, dirfd, d->rec.regular->copy_name) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	if (copy_data(from, to, (uint64_t)st.st_size, err) < 0)
		return -1;
	copy_attributes(to, &st);
	if (fsync(to) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fsync");
	return 0;
}

static int copy_desc(struct fd_save *c, struct fd_desc *d, int dirfd, struct stasis_error *err)
{
	const struct fd_entry *e = d->first;
	const char *path = d->rec.regular->file->path;

	d->rec.regular->copy_name = copy_name(c, d);
	if (!d->rec.regular->copy_name)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	if (copy_file(c, d, dirfd, d->rec.regular->copy_name, err) == 0)
		return 0;
	if (err && err->cls == STASIS_E_BUSY)
		return -1;
	return stasis_fail_prefix(err, "%s(%d) fd %d %.80s copy to %.60s", e->task->comm,
				  e->task->pid, e->fd, path, d->rec.regular->copy_name);
}

static bool is_copied(const struct fd_desc *d, bool all)
{
	return d->is_used && d->rec.kind_case == STASIS__DESCRIPTION__KIND_REGULAR &&
	       S_ISREG(d->st.st_mode) && !(d->first->flags & O_PATH) &&
	       !file_is_generated(d->fs_magic) && (all || d->wants_copy);
}

int fd_save_copy_files(struct fd_save *c, int dirfd, bool all, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		if (!is_copied(c->descs[i], all) || copy_desc(c, c->descs[i], dirfd, err) == 0)
			continue;
		fd_save_discard_copies(c);
		return -1;
	}
	return 0;
}

void fd_save_discard_copies(struct fd_save *c)
{
	int saved = errno;

	for (; c && c->copies; c->copies = c->copies->next)
		(void)unlinkat(c->copies_dirfd, c->copies->name, 0); /* best effort: all is lost anyway */
	errno = saved;
}
