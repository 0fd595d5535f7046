/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regular files, and whatever was opened with O_PATH. A file is opened again by its path, as the guide
 * says: its content is not in the image, unless no path leads to it any more.
 */
#include "resource/resource_priv.h"

#include <linux/magic.h>
#include <string.h>

#define FS_MAGIC_MQUEUE 0x19800202u /* ipc/mqueue.c */
#define FS_MAGIC_PIDFS	0x50494446u /* fs/pidfs.c, Linux 6.9 */
#define FS_MAGIC_SECRET 0x5345434du /* mm/secretmem.c */

static bool is_other_fs(uint32_t magic)
{
	return magic == FS_MAGIC_MQUEUE || magic == FS_MAGIC_PIDFS || magic == FS_MAGIC_SECRET ||
	       magic == NSFS_MAGIC;
}

static bool regular_match(const struct fd_probe *p)
{
	if (p->link[0] != '/' || is_other_fs(p->fs_magic))
		return false;
	if (p->is_path)
		return !S_ISDIR(p->st.st_mode);
	return S_ISREG(p->st.st_mode) && strncmp(p->link, "/memfd:", 7) != 0;
}

/* The memory module stores the content; it wants to read, which this descriptor may not allow. */
static uint64_t get_object(struct fd_save *c, const struct fd_probe *p, struct stasis_error *err)
{
	scoped_fd int fd = -1;

	if (!S_ISREG(p->st.st_mode) || p->local_fd < 0) {
		(void)stasis_fail(err, STASIS_E_UNSUPPORTED,
				  "'%.120s' has no path any more; close it before the checkpoint",
				  p->link);
		return 0;
	}
	if (!p->is_path && (p->flags & O_ACCMODE) != O_WRONLY)
		return c->objects.get(c->objects.arg, p->task, &p->st, p->local_fd, p->link, err);
	fd = fd_reopen(p->local_fd, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		(void)stasis_fail_errno(err, STASIS_E_IO,
					"deleted file '%.120s' cannot be read; run as root",
					p->link);
		return 0;
	}
	return c->objects.get(c->objects.arg, p->task, &p->st, fd, p->link, err);
}

static void forget_times(Stasis__FileId *f)
{
	f->size = 0;
	f->mtime_ns = 0;
}

static bool is_shm(const struct fd_probe *p, const Stasis__FileId *f)
{
	return p->fs_magic == TMPFS_MAGIC && !f->deleted && !p->is_path && S_ISREG(f->mode) &&
	       p->local_fd >= 0 && (p->flags & O_ACCMODE) != O_RDONLY &&
	       strncmp(f->path, "/dev/shm/", strlen("/dev/shm/")) == 0;
}

static bool is_made_by_memory(const struct fd_load *c, const Stasis__FileId *f)
{
	for (size_t i = 0; i < c->nr_objects; i++) {
		const Stasis__Object *o = c->objects[i];

		if (o->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE && o->file && o->file->path &&
		    !strcmp(o->file->path, f->path))
			return true;
	}
	return false;
}

static int regular_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__RegularFile *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a file");
	stasis__regular_file__init(r);
	if (file_id_save(c, p, true, &r->file, err) < 0)
		return -1;
	if (file_is_generated(p->fs_magic)) /* 0 and 0: not compared at a restart */
		forget_times(r->file);
	if (r->file->deleted) {
		r->object = get_object(c, p, err);
		if (!r->object)
			return -1;
	}
	/* memory with a name: the memory module has it made again when it is gone */
	if (is_shm(p, r->file) && !get_object(c, p, err))
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_REGULAR;
	ret->regular = r;
	return 0;
}

static void warn_changed(struct session *s, const struct fd_load *c, const Stasis__FileId *f,
			 const struct stat *st)
{
	int64_t mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;

	if (c->is_quiet || !S_ISREG(st->st_mode) ||
	    ((uint64_t)st->st_size == f->size && mtime_ns == f->mtime_ns))
		return;
	if (c->current->proc)
		s_warn(s, "%s(%d) fd %d: '%s': file changed since the checkpoint (%llu bytes, was %llu)",
		       c->current->proc->comm, c->current->proc->pid, c->current->first_fd, f->path,
		       (unsigned long long)st->st_size, (unsigned long long)f->size);
}

static int regular_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__FileId *f = d->regular->file;
	bool is_link = f && S_ISLNK(f->mode);
	struct stat st;

	if (file_id_check(f, err) < 0)
		return -1;
	if (d->pos > INT64_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "position %llu is out of range",
				   (unsigned long long)d->pos);
	if (f->deleted)
		return load_check_object(c, d->regular->object, STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE,
					 err);
	if (is_made_by_memory(c, f))
		return 0;
	if (file_id_find(f, is_link, &st, err) < 0 ||
	    (!is_link && file_check_access(f->path, d->flags, err) < 0))
		return -1;
	if (f->size || f->mtime_ns)
		warn_changed(s, c, f, &st);
	return 0;
}

static int load_deleted(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	int fd = load_object_fd(c, d->regular->object, err);

	if (fd < 0)
		return -1;
	fd = fd_reopen(fd, file_open_flags(d->flags));
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the content of deleted file '%.150s'",
					 d->regular->file->path);
	return fd;
}

static int regular_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	const Stasis__FileId *f = d->regular->file;
	scoped_fd int fd = -1;

	(void)s;
	fd = f->deleted ? load_deleted(c, d, err) : file_reopen(f->path, d, err);
	if (fd < 0)
		return -1;
	if (!(d->flags & O_PATH) && file_seek(fd, d->pos, f->path, err) < 0)
		return -1;
	return fd_take(&fd);
}

const struct resource_kind kind_regular = {
	.name = "file",
	.tag = STASIS__DESCRIPTION__KIND_REGULAR,
	.match = regular_match,
	.save = regular_save,
	.verify = regular_verify,
	.load = regular_load,
};
