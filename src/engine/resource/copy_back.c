/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only places where a restart changes files of the user, both on demand: copies of chkpnt -C go
 * back to their paths (restart -C), and files that grew since the checkpoint are cut back to their
 * length then (--rollback-files). What was there is kept aside until the restart has succeeded, so
 * that a failed one changes nothing.
 */
#include "resource/resource_priv.h"

#include <string.h>
#include <sys/stat.h>

struct put_back {
	enum {
		PUT_NEW,       /* there was no file: undone by removing it */
		PUT_EXCHANGED, /* the old one is `aside` */
		PUT_CUT,       /* the cut tail is `aside` */
	} how;
	const char *path;
	char *aside;
	uint64_t size; /* cut: length of what is left */
	struct put_back *next;
};

static const Stasis__RegularFile *copied_file_of(const Stasis__Description *d)
{
	const Stasis__RegularFile *r;

	if (d->kind_case != STASIS__DESCRIPTION__KIND_REGULAR)
		return NULL;
	r = d->regular;
	return r->copy_name && *r->copy_name && r->file && !r->file->deleted ? r : NULL;
}

bool copy_back_wanted(const struct fd_load *c, const Stasis__Description *d)
{
	return c->wants_copy_back && copied_file_of(d);
}

int copy_back_check(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__RegularFile *r = d->regular;
	scoped_free char *dir = NULL;
	struct stat st;

	if (file_id_check(r->file, err) < 0)
		return -1;
	if (strchr(r->copy_name, '/') || d->pos > INT64_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "name of copy '%.100s' is none",
				   r->copy_name);
	if (fstatat(c->copy_dirfd, r->copy_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "copy '%.150s'", r->copy_name);
	if (!S_ISREG(st.st_mode))
		return stasis_fail(err, STASIS_E_CORRUPT, "copy '%.150s' is no regular file",
				   r->copy_name);
	dir = strdup(r->file->path);
	if (!dir)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	*(strrchr(dir, '/') + 1) = '\0';
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "file copy from %.60s to %.100s failed",
					 r->copy_name, r->file->path);
	return 0;
}

static struct put_back *remember(struct fd_load *c, const char *path, char *aside)
{
	struct put_back *b = arena_alloc(&c->arena, sizeof(*b));

	if (!b)
		return NULL;
	b->path = path;
	b->aside = aside;
	b->next = c->backs;
	c->backs = b;
	c->backs_pid = getpid();
	return b;
}

static bool is_done(const struct fd_load *c, const char *path)
{
	for (const struct put_back *b = c->backs; b; b = b->next)
		if (!strcmp(b->path, path))
			return true;
	return false;
}

static bool is_unchanged(const Stasis__FileId *f)
{
	struct stat st;

	return stat(f->path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size &&
	       (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == f->mtime_ns;
}

static void set_time(int fd, int64_t mtime_ns)
{
	const struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = mtime_ns / 1000000000, .tv_nsec = mtime_ns % 1000000000},
	};

	(void)futimens(fd, times); /* only spares a warning at the next restart */
}

/* A whole copy under a name of ours in the folder of the file. */
static char *make_temp(struct fd_load *c, const Stasis__RegularFile *r, struct stasis_error *err)
{
	scoped_fd int from = openat(c->copy_dirfd, r->copy_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t len = strlen(r->file->path) + sizeof(".restart-XXXXXX");
	char *temp = arena_alloc(&c->arena, len);
	scoped_fd int to = -1;
	struct stat st;

	if (!temp)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for a path");
	(void)snprintf(temp, len, "%s.restart-XXXXXX", r->file->path);
	to = from < 0 ? -1 : mkostemp(temp, O_CLOEXEC);
	if (to < 0 || fstat(from, &st) < 0) {
		(void)stasis_fail_errno(err, STASIS_E_IO, "copy '%.100s'", r->copy_name);
		return NULL;
	}
	(void)!fchown(to, r->file->uid, r->file->gid); /* others than root keep it */
	(void)fchmod(to, r->file->mode & 07777);
	if (io_copy_range(from, 0, to, 0, (uint64_t)st.st_size, err) < 0) {
		(void)unlink(temp);
		return NULL;
	}
	set_time(to, r->file->mtime_ns);
	return temp;
}

static int put_back(struct fd_load *c, const Stasis__RegularFile *r, struct stasis_error *err)
{
	char *temp = make_temp(c, r, err);
	struct put_back *b = temp ? remember(c, r->file->path, temp) : NULL;

	if (!b)
		return stasis_fail_prefix(err, "file copy to '%.100s' failed", r->file->path);
	b->how = PUT_EXCHANGED;
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, r->file->path, RENAME_EXCHANGE) == 0)
		return 0;
	b->how = PUT_NEW;
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, r->file->path, RENAME_NOREPLACE) == 0)
		return 0;
	c->backs = b->next;
	(void)stasis_fail_errno(err, STASIS_E_IO, "file copy to '%.150s' failed", r->file->path);
	(void)unlink(temp);
	return -1;
}

static int put_back_all(struct fd_load *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct load_desc *l = &c->descs[i];
		const Stasis__RegularFile *r = copied_file_of(l->d);

		if (!r || !load_is_kept(l) || is_done(c, r->file->path) ||
		    is_unchanged(r->file))
			continue;
		if (put_back(c, r, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- rollback ---- */

enum { MAX_ASIDE = 10000 };

/* A file opened for writing that is longer now. */
static bool has_grown(const struct load_desc *l, uint64_t *ret_size)
{
	const Stasis__FileId *f;
	struct stat st;

	if (l->d->kind_case != STASIS__DESCRIPTION__KIND_REGULAR || l->d->flags & O_PATH ||
	    (l->d->flags & O_ACCMODE) == O_RDONLY)
		return false;
	f = l->d->regular->file;
	if (f->deleted || !f->mtime_ns || stat(f->path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*ret_size = (uint64_t)st.st_size;
	return (uint64_t)st.st_size > f->size;
}

/* NAME.after-checkpoint; when that is left from an earlier restart, NAME.after-checkpoint.2 and so on. */
static int make_aside(const Stasis__FileId *f, char *aside, size_t len)
{
	int fd = -1;

	for (int i = 1; i <= MAX_ASIDE && fd < 0; i++) {
		int n = snprintf(aside, len, "%s.after-checkpoint", f->path);

		if (i > 1)
			(void)snprintf(aside + n, len - (size_t)n, ".%d", i);
		fd = open(aside, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, f->mode & 0777);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	return fd;
}

static int cut(struct fd_load *c, const Stasis__FileId *f, uint64_t size, struct stasis_error *err)
{
	size_t len = strlen(f->path) + sizeof(".after-checkpoint.10000");
	char *aside = arena_alloc(&c->arena, len);
	scoped_fd int tail = -1, fd = -1;
	struct put_back *b;

	if (!aside)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && locks_keep_others_out(c, fd, f->path, err) < 0)
		return -1;
	tail = make_aside(f, aside, len);
	if (fd < 0 || tail < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s'", fd < 0 ? f->path : aside);
	b = remember(c, f->path, aside);
	if (!b)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a path");
	b->how = PUT_CUT;
	b->size = f->size;
	if (io_copy_range(fd, f->size, tail, 0, size - f->size, err) < 0)
		return -1;
	if (fsync(tail) < 0 || ftruncate(fd, (off_t)f->size) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "cut '%.150s'", f->path);
	set_time(fd, f->mtime_ns);
	return 0;
}

static int cut_all(struct fd_load *c, struct stasis_error *err)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct load_desc *l = &c->descs[i];
		uint64_t size;

		if (!load_is_kept(l) || !has_grown(l, &size) ||
		    is_done(c, l->d->regular->file->path))
			continue;
		if (cut(c, l->d->regular->file, size, err) < 0)
			return stasis_fail_prefix(err, "roll back");
	}
	return 0;
}

void fd_load_set_rollback(struct fd_load *c)
{
	c->wants_rollback = true;
}

int copy_back_all(struct fd_load *c, struct stasis_error *err)
{
	if (c->wants_copy_back && put_back_all(c, err) < 0)
		return -1;
	return c->wants_rollback ? cut_all(c, err) : 0;
}

/* ---- afterwards ---- */

static void undo_cut(const struct put_back *b)
{
	scoped_fd int tail = open(b->aside, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	scoped_fd int fd = open(b->path, O_WRONLY | O_CLOEXEC);
	struct stat st;

	if (tail < 0 || fd < 0 || fstat(tail, &st) < 0 ||
	    io_copy_range(tail, 0, fd, b->size, (uint64_t)st.st_size, NULL) < 0)
		return; /* the tail stays beside the file */
	(void)unlink(b->aside);
}

/* All best effort: there is nobody left to tell. */
void copy_back_undo(struct fd_load *c)
{
	for (struct put_back *b = c->backs; b && c->backs_pid == getpid(); b = b->next) {
		if (b->how == PUT_NEW)
			(void)unlink(b->path);
		else if (b->how == PUT_EXCHANGED)
			(void)rename(b->aside, b->path);
		else
			undo_cut(b);
	}
	c->backs = NULL;
}

void copy_back_keep(struct fd_load *c)
{
	for (struct put_back *b = c->backs; b && c->backs_pid == getpid(); b = b->next)
		if (b->how == PUT_EXCHANGED)
			(void)unlink(b->aside); /* the user asked for it to be replaced */
	c->backs = NULL;
}
