/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a user sees of descriptors (chkpnt -i and -v, stasis check and show), live and from a file. */
#include "resource/locks.h"

#include <string.h>

static int describe_entry(const struct fd_entry *e, struct stasis_fd_info *ret)
{
	const struct fd_desc *d = e->desc;

	ret->fd = e->fd;
	ret->kind = d->kind ? d->kind->name : "ignored";
	ret->is_supported = !d->obstacle;
	ret->is_regular = d->rec.kind_case == STASIS__DESCRIPTION__KIND_REGULAR &&
			  S_ISREG(d->st.st_mode);
	ret->mode = d->st.st_mode;
	ret->uid = d->st.st_uid;
	ret->mtime_s = d->st.st_mtim.tv_sec;
	ret->size = (uint64_t)d->st.st_size;
	ret->pos = e->pos;
	ret->rdev = d->st.st_rdev;
	ret->path = strdup(d->link);
	ret->obstacle = d->obstacle ? strdup(d->obstacle) : NULL;
	return ret->path && (ret->obstacle || !d->obstacle) ? 0 : -1;
}

static void free_infos(struct stasis_fd_info *fds, size_t nr)
{
	for (size_t i = 0; fds && i < nr; i++) {
		free(fds[i].path);
		free(fds[i].obstacle);
	}
	free(fds);
}

int fd_save_describe(struct fd_save *c, struct task *t, struct stasis_proc_info *ret,
		     struct stasis_error *err)
{
	size_t first = c->task_first[t->index], nr = c->task_first[t->index + 1] - first;
	struct stasis_fd_info *fds = calloc(nr + 1, sizeof(*fds));

	for (size_t i = 0; fds && i < nr; i++) {
		if (describe_entry(&c->entries[first + i], &fds[i]) == 0)
			continue;
		free_infos(fds, nr);
		fds = NULL;
	}
	if (!fds)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu descriptors", nr);
	ret->fds = fds;
	ret->nr_fds = nr;
	return 0;
}

/* ---- from records ---- */

const Stasis__FileId *description_file(const Stasis__Description *d)
{
	switch (d->kind_case) {
	case STASIS__DESCRIPTION__KIND_REGULAR:
		return d->regular->file;
	case STASIS__DESCRIPTION__KIND_DIRECTORY:
		return d->directory->file;
	case STASIS__DESCRIPTION__KIND_FIFO:
		return d->fifo->file;
	case STASIS__DESCRIPTION__KIND_CHARDEV:
		return d->chardev->file;
	case STASIS__DESCRIPTION__KIND_TTY:
		return d->tty->file;
	case STASIS__DESCRIPTION__KIND_UNIX_SOCKET:
		return d->unix_socket->file;
	case STASIS__DESCRIPTION__KIND_NAMESPACE_FD:
		return d->namespace_fd->file;
	case STASIS__DESCRIPTION__KIND_PTY_MASTER:
		return d->pty_master->file;
	case STASIS__DESCRIPTION__KIND_PTY_SLAVE:
		return d->pty_slave->file;
	default:
		return NULL;
	}
}

static const Stasis__Description *find_description(struct image *img, uint64_t id)
{
	for (size_t i = 0; i < image_nr_records(img, IMAGE_TAG_DESCRIPTION); i++) {
		const Stasis__Description *d = image_record(img, IMAGE_TAG_DESCRIPTION, i,
							    &stasis__description__descriptor, NULL);

		if (d && d->id == id)
			return d;
	}
	return NULL;
}

void fd_describe_lock(struct image *img, const Stasis__FdTable *table, uint64_t index, char *buf,
		      size_t len)
{
	const Stasis__FileLock *k = index < table->n_locks ? table->locks[index] : NULL;
	const Stasis__Description *d = NULL;
	const Stasis__FileId *f;

	for (size_t i = 0; k && i < table->n_fds; i++)
		if (table->fds[i]->fd == k->fd)
			d = find_description(img, table->fds[i]->desc);
	f = d ? description_file(d) : NULL;
	if (k)
		(void)lock_words(k, f ? f->path : "a file", buf, len);
	else
		(void)snprintf(buf, len, "lock %llu", (unsigned long long)index);
}

static uint64_t object_of(const Stasis__Description *d)
{
	if (d->kind_case == STASIS__DESCRIPTION__KIND_MEMFD)
		return d->memfd->object;
	return d->kind_case == STASIS__DESCRIPTION__KIND_PIPE ? d->pipe->object : 0;
}

static const Stasis__FileId *file_of_object(struct image *img, uint64_t id)
{
	for (size_t i = 0; id && i < image_nr_records(img, IMAGE_TAG_OBJECT); i++) {
		const Stasis__Object *o = image_record(img, IMAGE_TAG_OBJECT, i,
						       &stasis__object__descriptor, NULL);

		if (o && o->id == id)
			return o->file;
	}
	return NULL;
}

static uint64_t device_of(const Stasis__Description *d)
{
	if (d->kind_case == STASIS__DESCRIPTION__KIND_TTY)
		return d->tty->rdev;
	return d->kind_case == STASIS__DESCRIPTION__KIND_CHARDEV ? d->chardev->rdev : 0;
}

static char *path_of(const Stasis__Description *d, const Stasis__FileId *f, const char *kind)
{
	const Stasis__ProcFile *r = d->procfile;
	char *path = NULL;

	if (d->kind_case != STASIS__DESCRIPTION__KIND_PROCFILE)
		return strdup(f ? f->path : kind);
	return asprintf(&path, "/proc/%d/%s", r->number, r->name) < 0 ? NULL : path;
}

static int describe_record(struct image *img, const Stasis__Description *d,
			   struct stasis_fd_info *ret)
{
	const struct resource_kind *kind = kind_of_tag(d->kind_case);
	const Stasis__FileId *f = description_file(d);
	bool is_forced = kind == &kind_unsupported;

	if (!f)
		f = file_of_object(img, object_of(d));
	ret->kind = kind ? kind->name : "unknown";
	ret->is_supported = kind && !is_forced;
	ret->is_regular = d->kind_case == STASIS__DESCRIPTION__KIND_REGULAR;
	ret->pos = d->pos;
	ret->rdev = device_of(d);
	ret->path = path_of(d, f, ret->kind);
	ret->obstacle = is_forced ? strdup(d->unsupported->what) : NULL;
	if (f) {
		ret->mode = f->mode;
		ret->uid = f->uid;
		ret->mtime_s = f->mtime_ns / 1000000000;
		ret->size = f->size;
	}
	return ret->path && (ret->obstacle || !is_forced) ? 0 : -1;
}

static int compare_records(const void *a, const void *b)
{
	const Stasis__Description *x = *(Stasis__Description *const *)a;
	const Stasis__Description *y = *(Stasis__Description *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static const Stasis__Description **sorted_descriptions(struct image *img, size_t *ret_nr,
						       struct stasis_error *err)
{
	size_t nr = image_nr_records(img, IMAGE_TAG_DESCRIPTION);
	scoped_free const Stasis__Description **list = calloc(nr + 1, sizeof(*list));

	if (!list)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for %zu descriptions", nr);
	for (size_t i = 0; i < nr; i++) {
		list[i] = image_record(img, IMAGE_TAG_DESCRIPTION, i,
				       &stasis__description__descriptor, err);
		if (!list[i])
			return NULL;
	}
	qsort(list, nr, sizeof(*list), compare_records);
	*ret_nr = nr;
	return ptr_take(&list);
}

static int describe_fd(struct image *img, const Stasis__Fd *fd, const Stasis__Description **list,
		       size_t nr, struct stasis_fd_info *ret, struct stasis_error *err)
{
	Stasis__Description key_record = {.id = fd->desc};
	const Stasis__Description *key = &key_record;
	const Stasis__Description **d = bsearch(&key, list, nr, sizeof(*list), compare_records);

	if (!d)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s': fd %u has no description",
				   image_name(img), fd->fd);
	ret->fd = (int)fd->fd;
	if (describe_record(img, *d, ret) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	return 0;
}

int fd_describe_image(struct image *img, struct stasis_proc_info *ret, struct stasis_error *err)
{
	scoped_free const Stasis__Description **list = NULL;
	const Stasis__FdTable *table;
	struct stasis_fd_info *fds;
	size_t nr = 0;

	if (!image_nr_records(img, IMAGE_TAG_FDTABLE)) /* a zombie has none */
		return 0;
	table = image_record(img, IMAGE_TAG_FDTABLE, 0, &stasis__fd_table__descriptor, err);
	list = table ? sorted_descriptions(img, &nr, err) : NULL;
	if (!list)
		return -1;
	fds = calloc(table->n_fds + 1, sizeof(*fds));
	if (!fds)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
	for (size_t i = 0; i < table->n_fds; i++) {
		if (describe_fd(img, table->fds[i], list, nr, &fds[i], err) == 0)
			continue;
		free_infos(fds, table->n_fds);
		return -1;
	}
	ret->fds = fds;
	ret->nr_fds = table->n_fds;
	return 0;
}
