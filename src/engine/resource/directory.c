/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open folders with their read position. The position is the file system's own cookie (a hash on
 * ext4), good for the same folder only; a removed folder becomes a removed one in /tmp.
 */
#include "resource/resource_priv.h"

static bool directory_match(const struct fd_probe *p)
{
	return S_ISDIR(p->st.st_mode) && p->link[0] == '/';
}

static int directory_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			  Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Directory *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a folder");
	stasis__directory__init(r);
	if (file_id_save(c, p, true, &r->file, err) < 0)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_DIRECTORY;
	ret->directory = r;
	return 0;
}

static int directory_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			    struct stasis_error *err)
{
	struct stat st;

	(void)s;
	(void)c;
	if (file_id_check(d->directory->file, err) < 0)
		return -1;
	if (d->pos > INT64_MAX)
		return stasis_fail(err, STASIS_E_CORRUPT, "position %llu is out of range",
				   (unsigned long long)d->pos);
	if (d->directory->file->deleted)
		return 0;
	if (file_id_find(d->directory->file, false, &st, err) < 0)
		return -1;
	return file_check_access(d->directory->file->path, d->flags, err);
}

static int directory_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			  struct stasis_error *err)
{
	const Stasis__FileId *f = d->directory->file;
	scoped_fd int fd = -1;

	(void)s;
	(void)c;
	if (f->deleted)
		return file_open_unlinked(S_IFDIR, d, err);
	fd = file_reopen(f->path, d, err);
	if (fd < 0)
		return -1;
	if (!(d->flags & O_PATH) && file_seek(fd, d->pos, f->path, err) < 0)
		return -1;
	return fd_take(&fd);
}

const struct resource_kind kind_directory = {
	.name = "directory",
	.tag = STASIS__DESCRIPTION__KIND_DIRECTORY,
	.match = directory_match,
	.save = directory_save,
	.verify = directory_verify,
	.load = directory_load,
};
