/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects that hold memory and have no name in any file system: shared anonymous memory, memfds,
 * deleted files. One object per (device, inode) over the whole tree, however many tasks map it or
 * hold a descriptor of it.
 */
#include "memory/save_priv.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

struct save_object *save_object_by_id(struct mem_save *m, uint64_t id)
{
	size_t value = index_find(&m->object_by_id, id, 0);

	return value ? &m->objects[value - 1] : NULL;
}

uint64_t mem_save_fresh_id(struct mem_save *m)
{
	return m->next_id++;
}

static struct save_object *add_object(struct mem_save *m, uint64_t dev, uint64_t ino, size_t task,
				      struct stasis_error *err)
{
	size_t *by_id = index_get(&m->object_by_id, m->next_id, 0, m->nr_objects + 1);
	struct save_object *o;

	if (!by_id)
		return stasis_fail_null(err, STASIS_E_NOMEM, "table of objects");
	if (table_grow((void **)&m->objects, &m->cap_objects, m->nr_objects, sizeof(*m->objects),
		      err) < 0)
		return NULL;
	o = &m->objects[m->nr_objects++];
	memset(o, 0, sizeof(*o));
	stasis__file_id__init(&o->file);
	o->id = m->next_id++;
	o->dev = dev;
	o->ino = ino;
	o->holder = task;
	o->fd = -1;
	return o;
}

/* The object of that inode; *ret_is_new tells whether it was made just now. */
struct save_object *save_object_get(struct mem_save *m, uint64_t dev, uint64_t ino, size_t task,
				    bool *ret_is_new, struct stasis_error *err)
{
	size_t *slot = index_get(&m->object_index, dev, ino, m->nr_objects + 1);

	if (!slot)
		return stasis_fail_null(err, STASIS_E_NOMEM, "table of objects");
	*ret_is_new = *slot == m->nr_objects + 1;
	if (*ret_is_new)
		return add_object(m, dev, ino, task, err);
	if (m->objects[*slot - 1].holder > task)
		m->objects[*slot - 1].holder = task;
	return &m->objects[*slot - 1];
}

int save_object_refer(struct mem_save *m, size_t task, uint64_t id, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[task];
	size_t *seen = index_get(&m->refs, id, task, 2);

	if (!seen)
		return stasis_fail(err, STASIS_E_NOMEM, "table of objects");
	if (*seen == 1)
		return 0;
	*seen = 1;
	if (table_grow((void **)&st->objects, &st->cap_objects, st->nr_objects, sizeof(*st->objects),
		      err) < 0)
		return -1;
	st->objects[st->nr_objects++] = id;
	return 0;
}

/* Whoever opens it by its name finds the memory in it, so it belongs to the program as memory does. */
bool save_is_shm_file(const struct mem_save *m, const char *path, uint64_t dev)
{
	static const char folder[] = "/dev/shm/";

	return dev != m->shm_dev && strncmp(path, folder, sizeof(folder) - 1) == 0;
}

static void set_inode(struct save_object *o, const struct stat *st)
{
	o->size = (uint64_t)st->st_size;
	o->has_size = true;
	save_file_id(&o->file, st);
}

static int name_object(struct mem_save *m, struct save_object *o, const char *path,
		       struct stasis_error *err)
{
	o->file.path = arena_strdup(&m->arena, path);
	o->file.deleted = true;
	if (!o->file.path)
		return stasis_fail(err, STASIS_E_NOMEM, "name of an object");
	return 0;
}

int save_object_add_map(struct save_object *o, size_t task, size_t vma, const struct vma *v,
			struct stasis_error *err)
{
	uint64_t end = v->pgoff + (v->end - v->start);

	if (table_grow((void **)&o->maps, &o->cap_maps, o->nr_maps, sizeof(*o->maps), err) < 0)
		return -1;
	o->maps[o->nr_maps++] = (struct object_map){ task, vma };
	if (v->swap_kb)
		o->has_swap = true;
	if (!o->has_size && end > o->size)
		o->size = end;
	return 0;
}

int save_open_mapped(const struct task *t, const struct vma *v)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)v->start,
		       (unsigned long long)v->end);
	return openat(t->procfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* What only the inode tells; without privilege the mappings have to do. */
static void look_at_inode(struct save_object *o, const struct task *t, const struct vma *v)
{
	scoped_fd int fd = save_open_mapped(t, v);
	struct stat st;
	int seals;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	set_inode(o, &st);
	seals = o->type == STASIS__OBJECT_TYPE__OBJECT_MEMFD ||
				o->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB ?
			fcntl(fd, F_GET_SEALS) :
			0;
	if (seals > 0)
		o->seals = (uint32_t)seals;
}

int save_object_of_vma(struct mem_save *m, size_t task, size_t vma, Stasis__ObjectType type,
		       uint64_t *ret_id, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[task];
	const struct vma *v = &st->vmas.v[vma];
	const struct save_file *f = &m->files[st->sv[vma].file];
	struct save_object *o;
	bool is_new;

	o = save_object_get(m, f->id.dev, f->id.ino, task, &is_new, err);
	if (!o)
		return -1;
	if (is_new) {
		o->type = type;
		o->file = f->id;
		o->file.deleted = type != STASIS__OBJECT_TYPE__OBJECT_SHM_FILE;
		if (m->s->caps.has_map_files)
			look_at_inode(o, st->t, v);
	}
	if (save_object_add_map(o, task, vma, v, err) < 0 ||
	    save_object_refer(m, task, o->id, err) < 0)
		return -1;
	*ret_id = o->id;
	return 0;
}

/* Readable by us whatever the task opened it for: a fresh opening of the same inode if that is
 * allowed, else a duplicate. */
static int readable_fd(int fd)
{
	char name[64];
	int fresh;

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	fresh = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fresh >= 0 ? fresh : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static Stasis__ObjectType type_of_link(const struct mem_save *m, const struct stat *st,
				       const char *link)
{
	if (st->st_blksize == HUGETLB_BYTES && strncmp(link, "/memfd:", 7) == 0)
		return STASIS__OBJECT_TYPE__OBJECT_HUGETLB;
	if (st->st_nlink && save_is_shm_file(m, link, st->st_dev))
		return STASIS__OBJECT_TYPE__OBJECT_SHM_FILE;
	if (st->st_dev != m->shm_dev)
		return STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE;
	if (strncmp(link, "/memfd:", 7) == 0)
		return STASIS__OBJECT_TYPE__OBJECT_MEMFD;
	return STASIS__OBJECT_TYPE__OBJECT_SHARED_ANON;
}

static int name_from_link(struct mem_save *m, struct save_object *o, const char *link,
			  struct stasis_error *err)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(link);
	size_t tail = sizeof(deleted) - 1;

	if (name_object(m, o, link, err) < 0)
		return -1;
	if (o->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE) {
		o->file.deleted = false;
		return 0;
	}
	if (len > tail && strcmp(link + len - tail, deleted) == 0)
		o->file.path[len - tail] = '\0';
	return 0;
}

static int check_registered(const struct stat *st, int fd, const char *link,
			    struct stasis_error *err)
{
	struct statfs fs;

	if (!S_ISREG(st->st_mode))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "deleted file of a type other than regular; close it before the dump");
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	if (strncmp(link, "/memfd:", 7) != 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "deleted file of hugetlbfs; use memfd_create(MFD_HUGETLB) instead");
	if (fs.f_bsize != HUGETLB_BYTES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "huge pages of another size than 2 MiB; use such");
	return 0;
}

static void attach_fd(struct save_object *o, int fd)
{
	int seals;

	if (o->fd >= 0 || fd < 0)
		return;
	o->fd = readable_fd(fd);
	seals = o->fd >= 0 ? fcntl(o->fd, F_GET_SEALS) : -1;
	if (seals > 0)
		o->seals = (uint32_t)seals;
}

uint64_t mem_save_object(struct mem_save *m, struct task *t, const struct stat *st, int fd,
			 const char *link, struct stasis_error *err)
{
	struct save_object *o;
	bool is_new;

	if (check_registered(st, fd, link, err) < 0)
		return 0;
	o = save_object_get(m, st->st_dev, st->st_ino, t->index, &is_new, err);
	if (!o)
		return 0;
	set_inode(o, st);
	o->type = type_of_link(m, st, link);
	if (name_from_link(m, o, link, err) < 0)
		return 0;
	attach_fd(o, fd);
	return save_object_refer(m, t->index, o->id, err) < 0 ? 0 : o->id;
}

void save_objects_done(struct mem_save *m)
{
	for (size_t i = 0; i < m->nr_objects; i++) {
		if (m->objects[i].fd >= 0)
			(void)close(m->objects[i].fd); /* only read from */
		free(m->objects[i].maps);
	}
	free(m->objects);
}
