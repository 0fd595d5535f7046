/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the number of a watched inode to a path. The kernel gives root a way, open_by_handle_at(2); an
 * ordinary user must know where to look. A program that watches folders may watch for the very looks we
 * take: with a handle nothing is opened but by O_PATH, which no watch sees, and such folders are not
 * listed.
 */
#include "resource/watch.h"

#include "lib/proc.h"

#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/sysmacros.h>

enum {
	MOUNTINFO_MAX_BYTES = 16 << 20,
	MAX_NAMES = 400000, /* looked at in folders for one checkpoint: about half a second */
	OPT_HANDLE_FID = 0x200, /* AT_HANDLE_FID, Linux 6.5 */
};

struct mount_point {
	dev_t dev; /* of the file system */
	const char *path;
};

struct folder {
	const char *path;
	struct folder *next;
};

struct search {
	struct fd_save *c;
	const struct task *t;
	struct watched **by_ino; /* ascending */
	size_t nr, nr_left;
	struct mount_point *mounts; /* by path */
	size_t nr_mounts;
	struct folder *first, **last; /* to be listed */
};

static int compare_inos(const void *a, const void *b)
{
	const struct watched *x = *(struct watched *const *)a, *y = *(struct watched *const *)b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* The first with that inode number; `nr` when there is none. */
static size_t find_ino(const struct search *q, uint64_t ino)
{
	size_t low = 0, high = q->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (q->by_ino[middle]->ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low < q->nr && q->by_ino[low]->ino == ino ? low : q->nr;
}

struct file_handle_space {
	struct file_handle handle;
	uint8_t bytes[WATCH_HANDLE_BYTES];
};

static bool has_handle(const struct search *q, const struct watched *w, const char *path)
{
	scoped_fd int fd = task_open_path(q->t, path, O_PATH | O_NOFOLLOW);
	struct file_handle_space space = {.handle.handle_bytes = WATCH_HANDLE_BYTES};
	int mount_id;

	if (fd < 0 || !w->handle_len ||
	    (name_to_handle_at(fd, "", &space.handle, &mount_id, AT_EMPTY_PATH | OPT_HANDLE_FID) < 0 &&
	     name_to_handle_at(fd, "", &space.handle, &mount_id, AT_EMPTY_PATH) < 0))
		return false;
	return space.handle.handle_type == w->handle_type &&
	       space.handle.handle_bytes == w->handle_len &&
	       !memcmp(space.handle.f_handle, w->handle, w->handle_len);
}

static int take_path(struct search *q, struct watched *w, const char *path)
{
	w->path = fd_save_strdup(q->c, path);
	q->nr_left -= w->path != NULL;
	return w->path ? 0 : -1;
}

/* Is this one of those we look for? */
static int try_path(struct search *q, const char *path)
{
	struct stat st;

	if (path[0] != '/' || task_stat_path(q->t, path, AT_SYMLINK_NOFOLLOW, &st) < 0)
		return 0;
	for (size_t i = find_ino(q, st.st_ino); i < q->nr && q->by_ino[i]->ino == st.st_ino; i++) {
		struct watched *w = q->by_ino[i];

		if (!w->path && (st.st_dev == w->dev || has_handle(q, w, path)) &&
		    take_path(q, w, path) < 0)
			return -1;
	}
	return 0;
}

/* ---- mounts ---- */

static int compare_mounts(const void *a, const void *b)
{
	return strcmp(((const struct mount_point *)a)->path, ((const struct mount_point *)b)->path);
}

/* "36 35 98:0 / /mnt rw,noatime - ext3 /dev/sda1 rw" */
static int parse_mount(struct search *q, const char *line)
{
	struct mount_point *m = &q->mounts[q->nr_mounts];
	char point[PATH_MAX];
	unsigned maj, min;

	if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, point) != 3)
		return 0;
	proc_unescape(point);
	m->dev = makedev(maj, min);
	m->path = fd_save_strdup(q->c, point);
	q->nr_mounts++;
	return m->path ? 0 : -1;
}

static int read_mounts(struct search *q, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	size_t len, nr = 1;

	if (io_read_file_at(q->t->procfd, "mountinfo", MOUNTINFO_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	for (size_t i = 0; i < len; i++)
		nr += text[i] == '\n';
	q->mounts = fd_save_alloc(q->c, nr * sizeof(*q->mounts));
	if (!q->mounts)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for watches");
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
		if (parse_mount(q, line) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for watches");
	qsort(q->mounts, q->nr_mounts, sizeof(*q->mounts), compare_mounts);
	return 0;
}

static bool is_mount_point(const struct search *q, const char *path)
{
	const struct mount_point key = {.path = path};

	return bsearch(&key, q->mounts, q->nr_mounts, sizeof(key), compare_mounts);
}

/* ---- by handle ---- */

static char *path_of(int fd)
{
	char name[48];

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return proc_readlink(AT_FDCWD, name, NULL);
}

/* The mount is named by the working folder: to open it would be seen. */
static int open_handle(const struct search *q, const struct watched *w, const char *point)
{
	struct file_handle_space space = {
		.handle = {.handle_bytes = w->handle_len, .handle_type = w->handle_type}};
	scoped_fd int at = task_open_path(q->t, point, O_PATH | O_DIRECTORY);

	if (at < 0 || fchdir(at) < 0)
		return -1;
	memcpy(space.handle.f_handle, w->handle, w->handle_len);
	return open_by_handle_at(AT_FDCWD, &space.handle, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int try_handle(struct search *q, struct watched *w)
{
	for (size_t i = 0; i < q->nr_mounts && !w->path; i++) {
		scoped_fd int fd = q->mounts[i].dev == w->dev
					   ? open_handle(q, w, q->mounts[i].path)
					   : (errno = 0, -1);
		scoped_free char *path = fd < 0 ? NULL : path_of(fd);

		if (fd < 0 && errno == EPERM)
			return -1; /* not for us, and so it will be for the others */
		if (path && try_path(q, path) < 0)
			return -1;
	}
	return 0;
}

/* A thread with a working folder of its own. */
static void *try_handles(void *arg)
{
	struct search *q = arg;

	if (unshare(CLONE_FS) < 0)
		return NULL;
	for (size_t i = 0; i < q->nr; i++)
		if (!q->by_ino[i]->path && q->by_ino[i]->handle_len && try_handle(q, q->by_ino[i]) < 0)
			break;
	return NULL;
}

static void search_handles(struct search *q)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, try_handles, q) == 0)
		(void)pthread_join(thread, NULL); /* cannot fail for a thread of ours */
}

/* ---- among what is known ---- */

/* A path and all the folders above it. */
static int try_path_up(struct search *q, const char *path)
{
	scoped_free char *copy = strdup(path);

	if (!copy)
		return -1;
	for (char *at = copy; at[0] == '/'; at = dirname(at)) {
		if (try_path(q, at) < 0)
			return -1;
		if (!at[1])
			break;
	}
	return 0;
}

static int search_known(struct search *q)
{
	static const char *const links[] = {"cwd", "root", "exe"};
	const struct tree *tree = q->c->tree;
	struct task *t;
	size_t i;

	for (i = 0; i < q->c->nr_descs && q->nr_left; i++)
		if (q->c->descs[i]->link && try_path_up(q, q->c->descs[i]->link) < 0)
			return -1;
	tree_for_each(tree, i, t)
		for (size_t k = 0; q->nr_left && k < sizeof(links) / sizeof(links[0]); k++) {
			scoped_free char *path = proc_readlink(t->procfd, links[k], NULL);

			if (path && try_path_up(q, path) < 0)
				return -1;
		}
	return 0;
}

/* What has no path, but is open in the tree. */
static void search_descriptions(struct search *q)
{
	for (size_t i = 0; i < q->c->nr_descs && q->nr_left; i++) {
		struct fd_desc *d = q->c->descs[i];

		if (!d->is_used || d->first->fd < 0)
			continue;
		for (size_t k = find_ino(q, d->st.st_ino);
		     k < q->nr && q->by_ino[k]->ino == d->st.st_ino; k++) {
			struct watched *w = q->by_ino[k];

			if (w->path || w->desc || w->dev != d->st.st_dev)
				continue;
			w->desc = d;
			q->nr_left--;
		}
	}
}

/* ---- in folders ---- */

static bool minds_looks(const struct search *q, uint64_t ino)
{
	for (size_t i = find_ino(q, ino); i < q->nr && q->by_ino[i]->ino == ino; i++)
		if (q->by_ino[i]->minds_looks)
			return true;
	return false;
}

static int add_folder(struct search *q, const char *path)
{
	struct folder *f = fd_save_alloc(q->c, sizeof(*f));

	if (!f)
		return -1;
	f->path = fd_save_strdup(q->c, path);
	f->next = NULL;
	*q->last = f;
	q->last = &f->next;
	return f->path ? 0 : -1;
}

static int look_at(struct search *q, const char *folder, const struct dirent *e)
{
	char path[PATH_MAX];

	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
	    snprintf(path, sizeof(path), "%s/%s", folder[1] ? folder : "", e->d_name) >=
		    (int)sizeof(path))
		return 0;
	if (find_ino(q, e->d_ino) < q->nr && try_path(q, path) < 0)
		return -1;
	/* not into other file systems: one may be a dead server's */
	return e->d_type == DT_DIR && !is_mount_point(q, path) ? add_folder(q, path) : 0;
}

/* Whoever watches a folder sees its children opened as well. */
static bool may_list(const struct search *q, const char *path)
{
	scoped_free char *copy = strdup(path);
	struct stat st, above;

	return copy && task_stat_path(q->t, path, AT_SYMLINK_NOFOLLOW, &st) == 0 &&
	       S_ISDIR(st.st_mode) && task_stat_path(q->t, dirname(copy), 0, &above) == 0 &&
	       !minds_looks(q, st.st_ino) && !minds_looks(q, above.st_ino);
}

static int list_folder(struct search *q, const char *path)
{
	scoped_fd int fd = may_list(q, path) ? task_open_path(q->t, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) : -1;
	scoped_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!dir)
		return 0;
	(void)fd_take(&fd);
	while (q->nr_left && q->c->nr_searched < MAX_NAMES && (e = readdir(dir))) {
		q->c->nr_searched++;
		if (look_at(q, path, e) < 0)
			return -1;
	}
	return 0;
}

static bool is_wanted(const struct search *q, dev_t dev)
{
	for (size_t i = 0; i < q->nr; i++)
		if (!q->by_ino[i]->path && !q->by_ino[i]->desc && q->by_ino[i]->dev == dev)
			return true;
	return false;
}

/* Breadth first: below the working folder, then on the file systems of those that are left. */
static int search_folders(struct search *q)
{
	scoped_free char *cwd = proc_readlink(q->t->procfd, "cwd", NULL);

	q->last = &q->first;
	if (cwd && add_folder(q, cwd) < 0)
		return -1;
	for (size_t i = 0; i < q->nr_mounts; i++)
		if (is_wanted(q, q->mounts[i].dev) && add_folder(q, q->mounts[i].path) < 0)
			return -1;
	for (; q->first && q->nr_left && q->c->nr_searched < MAX_NAMES; q->first = q->first->next)
		if (list_folder(q, q->first->path) < 0)
			return -1;
	return 0;
}

int watch_find(struct fd_save *c, const struct fd_desc *d, struct watched *list, size_t nr,
	       struct stasis_error *err)
{
	scoped_free struct watched **by_ino = calloc(nr + 1, sizeof(*by_ino));
	struct search q = {.c = c, .t = d->first->task, .by_ino = by_ino, .nr = nr, .nr_left = nr};

	if (!by_ino)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for watches");
	if (read_mounts(&q, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++)
		by_ino[i] = &list[i];
	qsort(by_ino, nr, sizeof(*by_ino), compare_inos);
	search_handles(&q);
	if (q.nr_left && search_known(&q) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for watches");
	search_descriptions(&q);
	if (q.nr_left && search_folders(&q) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for watches");
	return 0;
}
