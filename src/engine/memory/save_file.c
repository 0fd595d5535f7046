/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is the file behind a mapping still the one at its path? smaps gives a path, perhaps with
 * " (deleted)" behind it (which may as well be part of the name), and the device and inode that the
 * file system uses inside, which on btrfs and overlayfs are not the ones stat() shows.
 */
#include "memory/save_priv.h"

#include "lib/proc.h"
#include "lib/scoped.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define DELETED " (deleted)"

/* Numbers of anonymous block devices (major 0) differ between smaps and stat() on file systems with
 * several trees on one disk: there the inode number has to be enough. */
bool save_is_same_file(uint64_t dev, uint64_t ino, const struct stat *st)
{
	if (st->st_ino != ino)
		return false;
	return st->st_dev == dev || major(dev) == 0 || major(st->st_dev) == 0;
}

void save_file_id(Stasis__FileId *id, const struct stat *st)
{
	id->dev = st->st_dev;
	id->ino = st->st_ino;
	id->size = (uint64_t)st->st_size;
	id->mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec;
	id->mode = st->st_mode;
	id->uid = st->st_uid;
	id->gid = st->st_gid;
}

/* The mapped file itself: only root may look. */
static bool stat_mapped(const struct task *t, const struct vma *v, struct stat *ret)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)v->start,
		       (unsigned long long)v->end);
	return fstatat(t->procfd, name, ret, 0) == 0;
}

/* The path without the ambiguity of \012: a link has no escapes. */
static char *exact_path(struct mem_save *m, const struct task *t, const struct vma *v)
{
	scoped_free char *link = NULL;
	char name[64];

	if (!strchr(v->path, '\n'))
		return arena_strdup(&m->arena, v->path);
	(void)snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)v->start,
		       (unsigned long long)v->end);
	link = proc_readlink(t->procfd, name, NULL);
	return arena_strdup(&m->arena, link ? link : v->path);
}

static bool is_at_path(const struct task *t, const struct vma *v, const char *path,
		       const struct stat *mapped, struct stat *ret)
{
	if (task_stat_path(t, path, AT_SYMLINK_NOFOLLOW, ret) < 0)
		return false;
	if (mapped)
		return ret->st_dev == mapped->st_dev && ret->st_ino == mapped->st_ino;
	return save_is_same_file(v->dev, v->ino, ret);
}

static void cut_deleted(char *path)
{
	size_t len = strlen(path);
	size_t tail = strlen(DELETED);

	if (len > tail && strcmp(path + len - tail, DELETED) == 0)
		path[len - tail] = '\0';
}

/* Is it there under its path? If not, and we may ask, *ret_mapped tells what it is now. */
static bool find_at_path(struct mem_save *m, struct task *t, const struct vma *v, const char *path,
			 struct stat *ret, struct stat *ret_mapped, bool *ret_is_known)
{
	*ret_is_known = false;
	/* the cheap question first: nearly every file is where it was */
	if (v->dev != m->shm_dev && task_stat_path(t, path, AT_SYMLINK_NOFOLLOW, ret) == 0 &&
	    ret->st_dev == v->dev && ret->st_ino == v->ino)
		return true;
	if (m->s->caps.is_root)
		*ret_is_known = stat_mapped(t, v, ret_mapped);
	return v->dev != m->shm_dev &&
	       is_at_path(t, v, path, *ret_is_known ? ret_mapped : NULL, ret);
}

/*
 * sem_open(3) makes a file under another name, maps it, and only then gives it its own by link(2): the mapping
 * shows the first name, deleted. The file is in the folder all the same.
 */
static char *find_in_shm(struct mem_save *m, const struct task *t, const struct vma *v, struct stat *ret)
{
	static const char folder[] = "/dev/shm/";
	scoped_dir DIR *dir = NULL;
	struct dirent *entry;
	char *path;
	int fd;

	if (v->dev == m->shm_dev || strncmp(v->path, folder, sizeof(folder) - 1) != 0)
		return NULL;
	fd = openat(t->procfd, "root/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_ino != v->ino || fstatat(dirfd(dir), entry->d_name, ret, AT_SYMLINK_NOFOLLOW) < 0 ||
		    ret->st_dev != v->dev || ret->st_ino != v->ino)
			continue;
		path = arena_alloc(&m->arena, sizeof(folder) + strlen(entry->d_name));
		return path ? strcat(strcpy(path, folder), entry->d_name) : NULL;
	}
	return NULL;
}

/* Fill f for a mapping that is the first of its file. */
static int resolve(struct mem_save *m, struct task *t, const struct vma *v, struct save_file *f,
		   struct stasis_error *err)
{
	char *path = exact_path(m, t, v), *other;
	struct stat st, mapped;
	bool is_known;

	if (!path)
		return stasis_fail(err, STASIS_E_NOMEM, "path of a mapping");
	stasis__file_id__init(&f->id);
	f->id.path = path;
	if (find_at_path(m, t, v, path, &st, &mapped, &is_known)) {
		save_file_id(&f->id, &st);
		return 0;
	}
	other = find_in_shm(m, t, v, &st);
	if (other) {
		f->id.path = other;
		save_file_id(&f->id, &st);
		return 0;
	}
	cut_deleted(path);
	f->id.deleted = true;
	f->id.dev = v->dev;
	f->id.ino = v->ino;
	f->id.mode = S_IFREG | 0600;
	if (is_known)
		save_file_id(&f->id, &mapped);
	return 0;
}

static int add_file(struct mem_save *m, struct task *t, const struct vma *v, size_t *ret_file,
		    struct stasis_error *err)
{
	struct save_file *f;

	if (table_grow((void **)&m->files, &m->cap_files, m->nr_files, sizeof(*m->files), err) < 0)
		return -1;
	f = &m->files[m->nr_files];
	memset(f, 0, sizeof(*f));
	f->next = NO_FILE;
	f->dev = v->dev;
	f->ino = v->ino;
	if (resolve(m, t, v, f, err) < 0)
		return -1;
	f->vma_path = strdup(v->path);
	if (!f->vma_path)
		return stasis_fail(err, STASIS_E_NOMEM, "path of a mapping");
	*ret_file = m->nr_files++;
	return 0;
}

int save_find_file(struct mem_save *m, struct task *t, const struct vma *v, size_t *ret_file,
		   struct stasis_error *err)
{
	size_t *head = index_get(&m->file_index, v->dev, v->ino, m->nr_files + 1);
	size_t i, last = NO_FILE;

	if (!head)
		return stasis_fail(err, STASIS_E_NOMEM, "table of files");
	for (i = *head - 1; i < m->nr_files; last = i, i = m->files[i].next) {
		if (strcmp(m->files[i].vma_path, v->path) == 0) {
			*ret_file = i;
			return 0;
		}
	}
	if (add_file(m, t, v, &i, err) < 0)
		return -1;
	if (last != NO_FILE)
		m->files[last].next = i;
	*ret_file = i;
	return 0;
}
