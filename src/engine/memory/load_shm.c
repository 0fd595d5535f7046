/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX shared memory and named semaphores: files with names in /dev/shm. One that is gone, as after a reboot, is
 * made again. One that is there with other bytes than at the checkpoint gets those back when everything else
 * has succeeded, unless some process uses it: then it stays, with a warning.
 */
#include "memory/load_priv.h"

#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_MAPS (64u << 20)
#define PIECE	 ((size_t)1 << 20)
#define NO_BYTES UINT64_MAX

static const char *path_of(const struct load_object *o)
{
	return o->rec->file && o->rec->file->path ? o->rec->file->path : "";
}

bool load_has_shm(const struct mem_load *m, const char *path)
{
	for (size_t i = 0; i < m->nr_objects; i++)
		if (m->objects[i].rec->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE &&
		    strcmp(path_of(&m->objects[i]), path) == 0)
			return true;
	return false;
}

/* ---- does it differ? ---- */

/* By read(2), which makes no pages where there are none. */
struct comparison {
	int fd, image;
	char *now, *then; /* PIECE bytes each */
};

static bool is_zero(const char *at, size_t len)
{
	return len == 0 || (at[0] == 0 && memcmp(at, at + 1, len - 1) == 0);
}

/* [from, to) of the file against bytes of the image at `offset`, or zeros when that is NO_BYTES. */
static bool is_same(const struct comparison *c, uint64_t from, uint64_t to, uint64_t offset)
{
	for (size_t len; from < to; from += len) {
		len = to - from < PIECE ? to - from : PIECE;
		if (io_pread_full(c->fd, c->now, len, from, NULL) < 0)
			return false;
		if (offset == NO_BYTES) {
			if (!is_zero(c->now, len))
				return false;
			continue;
		}
		if (io_pread_full(c->image, c->then, len, offset, NULL) < 0 ||
		    memcmp(c->now, c->then, len) != 0)
			return false;
		offset += len;
	}
	return true;
}

static int compare(struct mem_load *m, struct load_object *o, int fd, struct stasis_error *err)
{
	const struct bulk_seg *b = m->bulk + o->first_bulk;
	scoped_free char *buf = malloc(2 * PIECE);
	struct comparison c = {fd, image_fd(m->procs[o->holder].p->image), buf, buf + PIECE};
	uint64_t at = 0;
	struct stat st;

	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "buffer for shared memory");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "is not a regular file any more");
	o->differs = (uint64_t)st.st_size != o->rec->size;
	for (size_t i = 0; i < o->nr_bulk && !o->differs; at = b[i].at + b[i].len, i++)
		o->differs = !is_same(&c, at, b[i].at, NO_BYTES) ||
			     !is_same(&c, b[i].at, b[i].at + b[i].len, b[i].offset);
	if (!o->differs)
		o->differs = !is_same(&c, at, o->rec->size, NO_BYTES);
	return 0;
}

/* A process that maps it or has it open, as far as the caller of the restart sees; 0 for none. */
static int find_user(struct mem_load *m, const struct load_object *o, int fd)
{
	scoped_fd int proc = m->s->procdir > 0 ?
				     openat(m->s->procdir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
				     open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	struct stat inode;
	size_t nr = 0;

	if (proc < 0 || fstat(fd, &inode) < 0 || proc_list_numbers(proc, ".", &pids, &nr, NULL) < 0)
		return 0;
	(void)close(fd); /* we use it ourselves */
	for (size_t i = 0; i < nr; i++) {
		scoped_free char *maps = NULL;
		scoped_fd int procfd = -1;
		char name[16];
		size_t len;

		(void)snprintf(name, sizeof(name), "%d", pids[i]);
		procfd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (procfd < 0)
			continue;
		if (proc_has_open(procfd, &inode) ||
		    (io_read_file_at(procfd, "maps", MAX_MAPS, &maps, &len, NULL) == 0 &&
		     strstr(maps, path_of(o))))
			return pids[i];
	}
	return 0;
}

static int look_at_survivor(struct mem_load *m, struct load_object *o, int fd, struct stasis_error *err)
{
	int user;

	if (compare(m, o, fd, err) < 0) {
		(void)close(fd);
		return -1;
	}
	if (!o->differs) {
		(void)close(fd);
		return 0;
	}
	user = find_user(m, o, fd);
	if (user == 0)
		return 0;
	o->differs = false;
	s_warn(m->s, "'%s' is used by process %d and is not what it was at the checkpoint; it stays as it is",
	       path_of(o), user);
	return 0;
}

/* ---- made again, or as it was ---- */

static int fill(struct mem_load *m, struct load_object *o, int fd, struct stasis_error *err)
{
	if (load_fill_file(m, o, fd, err) < 0)
		return -1;
	load_set_attributes(m, o->rec->file, fd);
	return 0;
}

static int make(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	int fd = open(path_of(o), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	scoped_fd int made = -1;

	if (fd >= 0)
		return look_at_survivor(m, o, fd, err);
	if (errno == ENOENT)
		made = open(path_of(o), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (made < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "shared memory '%s'", path_of(o));
	o->is_made = true;
	return fill(m, o, made, err);
}

int load_make_shm(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	if (strncmp(path_of(o), "/dev/shm/", strlen("/dev/shm/")) != 0 || strstr(path_of(o), "/../"))
		return stasis_fail(err, STASIS_E_CORRUPT, "is not in /dev/shm");
	if (session_enter(m->s, m->procs[o->holder].p->pid, err) < 0 || make(m, o, err) < 0)
		return -1;
	return session_enter(m->s, 0, err);
}

int load_finish_shm(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	scoped_fd int fd = -1;

	if (!o->differs)
		return 0;
	if (session_enter(m->s, m->procs[o->holder].p->pid, err) < 0)
		return -1;
	fd = open(path_of(o), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "shared memory '%s'", path_of(o));
	if (fill(m, o, fd, err) < 0)
		return -1;
	return session_enter(m->s, 0, err);
}

void load_undo_shm(struct mem_load *m, const struct load_object *o)
{
	if (o->is_made && session_enter(m->s, m->procs[o->holder].p->pid, NULL) == 0)
		(void)unlink(path_of(o));
}
