/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared objects are made once, in the restoring master: memfds and deleted files as descriptors,
 * shared anonymous memory as a mapping, which forked processes inherit and duplicate (there is no
 * other way to hand it on without privilege).
 */
#include "memory/load_priv.h"

#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

uint64_t load_object_len(const struct load_object *o)
{
	return (o->rec->size + MEM_PAGE - 1) / MEM_PAGE * MEM_PAGE;
}

static int image_of(const struct mem_load *m, const struct load_object *o)
{
	return image_fd(m->procs[o->holder].p->image);
}

int load_fill_object(struct mem_load *m, const struct load_object *o, void *at, struct stasis_error *err)
{
	const struct bulk_seg *b = m->bulk + o->first_bulk;

	for (size_t i = 0; i < o->nr_bulk; i++)
		if (io_pread_full(image_of(m, o), (char *)at + b[i].at, b[i].len, b[i].offset, err) < 0)
			return -1;
	return 0;
}

/* Files of hugetlbfs cannot be written to. The mapping holds no room: the pages that are there do. */
static int fill_hugetlb(struct mem_load *m, struct load_object *o, int fd, struct stasis_error *err)
{
	const struct bulk_seg *b = m->bulk + o->first_bulk;
	int result = 0;
	char *at;

	if (ftruncate(fd, (off_t)o->rec->size) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set size %llu",
					 (unsigned long long)o->rec->size);
	if (o->rec->size == 0)
		return 0;
	at = mmap(NULL, o->rec->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "map %llu bytes of huge pages",
					 (unsigned long long)o->rec->size);
	for (size_t i = 0; i < o->nr_bulk && result == 0; i++)
		result = io_pread_full(image_of(m, o), at + b[i].at, b[i].len, b[i].offset, err);
	(void)munmap(at, o->rec->size); /* the pages are the file's */
	return result;
}

int load_fill_file(struct mem_load *m, const struct load_object *o, int fd, struct stasis_error *err)
{
	const struct bulk_seg *b = m->bulk + o->first_bulk;

	if (ftruncate(fd, (off_t)o->rec->size) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set size %llu",
					 (unsigned long long)o->rec->size);
	for (size_t i = 0; i < o->nr_bulk; i++)
		if (io_copy_range(image_of(m, o), b[i].offset, fd, b[i].at, b[i].len, err) < 0)
			return -1;
	return 0;
}

static int map_master(struct load_object *o, int fd, struct stasis_error *err)
{
	int flags = MAP_SHARED | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_ANONYMOUS : 0) |
		    (o->is_reserved ? 0 : MAP_NORESERVE);
	void *at = (void *)(uintptr_t)o->master;

	if (load_object_len(o) == 0)
		return 0;
	if (mmap(at, load_object_len(o), PROT_READ | PROT_WRITE, flags, fd, 0) != at)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "map %llu bytes of shared memory",
					 (unsigned long long)load_object_len(o));
	return 0;
}

static int make_anon(struct mem_load *m, struct load_object *o, struct stasis_error *err)
{
	if (!o->is_mapped_shared)
		return stasis_fail(err, STASIS_E_CORRUPT, "shared memory that nobody maps");
	return map_master(o, -1, err) < 0 ? -1 :
					    load_fill_object(m, o, (void *)(uintptr_t)o->master, err);
}

/* The owner and mode that a file had; without privilege the owner stays the caller, as everywhere. */
void load_set_attributes(const struct mem_load *m, const Stasis__FileId *id, int fd)
{
	const struct timespec times[2] = {
		{ 0, UTIME_OMIT },
		{ id->mtime_ns / 1000000000, id->mtime_ns % 1000000000 },
	};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	if (m->s->caps.is_root && (st.st_uid != id->uid || st.st_gid != id->gid) &&
	    fchown(fd, id->uid, id->gid) < 0)
		s_debug(m->s, "owner of '%s': %s", id->path, strerror(errno));
	if ((st.st_mode & 07777) != (id->mode & 07777) && fchmod(fd, id->mode & 07777) < 0)
		s_debug(m->s, "mode of '%s': %s", id->path, strerror(errno));
	if (id->mtime_ns >= 0 && futimens(fd, times) < 0)
		s_debug(m->s, "time of '%s': %s", id->path, strerror(errno));
}

static int create_memfd(const char *name, uint32_t seals, bool is_huge, struct stasis_error *err)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (is_huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int fd;

	if (strncmp(name, "/memfd:", 7) == 0)
		name += 7;
	/* saying which is meant keeps the kernel from warning; older ones know neither */
	fd = memfd_create(name, flags | (seals & 0x20 ? MFD_NOEXEC_SEAL : MFD_EXEC));
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "memfd_create");
	return fd;
}

/* A file without a name in the folder where it was, so that it counts there, or else in /tmp. */
static int create_deleted(struct mem_load *m, const char *path, struct stasis_error *err)
{
	const char *slash = strrchr(path, '/');
	scoped_free char *folder = NULL;
	int fd;

	if (!slash)
		return stasis_fail(err, STASIS_E_CORRUPT, "deleted file without a path");
	folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!folder)
		return stasis_fail(err, STASIS_E_NOMEM, "folder of a deleted file");
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	s_info(m->s, "deleted file '%s' is made again in /tmp: '%s': %s", path, folder,
	       strerror(errno));
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : stasis_fail_errno(err, STASIS_E_IO, "file without a name in /tmp");
}

static int raise_fd(int fd, int base, struct stasis_error *err)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, base);

	if (high < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "descriptor %d or above", base);
	return high;
}

/* Seals go on last: they forbid what was just done. F_SEAL_SEAL alone means "may not be sealed". */
static int add_seals(const struct load_object *o, struct stasis_error *err)
{
	int now = fcntl(o->fd, F_GET_SEALS);

	if ((o->rec->type != STASIS__OBJECT_TYPE__OBJECT_MEMFD &&
	     o->rec->type != STASIS__OBJECT_TYPE__OBJECT_HUGETLB) ||
	    o->rec->seals == 0 ||
	    (now >= 0 && (uint32_t)now == o->rec->seals))
		return 0;
	if (fcntl(o->fd, F_ADD_SEALS, (int)o->rec->seals) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "seals 0x%x", o->rec->seals);
	return 0;
}

static int make_file(struct mem_load *m, struct load_object *o, int fd_base, struct stasis_error *err)
{
	const Stasis__FileId *id = o->rec->file;
	bool is_huge = o->rec->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB;
	bool is_memfd = is_huge || o->rec->type == STASIS__OBJECT_TYPE__OBJECT_MEMFD;
	scoped_fd int fd = -1;

	if (!id || !id->path)
		return stasis_fail(err, STASIS_E_CORRUPT, "no name");
	fd = is_memfd ? create_memfd(id->path, o->rec->seals, is_huge, err) :
			create_deleted(m, id->path, err);
	if (fd < 0 || (is_huge ? fill_hugetlb(m, o, fd, err) : load_fill_file(m, o, fd, err)) < 0)
		return -1;
	load_set_attributes(m, id, fd);
	if (o->has_master && map_master(o, fd, err) < 0)
		return -1;
	o->fd = raise_fd(fd, fd_base, err);
	if (o->fd < 0)
		return -1;
	return add_seals(o, err);
}

static int make_object(struct mem_load *m, struct load_object *o, int fd_base, struct stasis_error *err)
{
	switch (o->rec->type) {
	case STASIS__OBJECT_TYPE__OBJECT_SHARED_ANON:
		return make_anon(m, o, err);
	case STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM:
		return load_make_sysv(m, o, err);
	case STASIS__OBJECT_TYPE__OBJECT_SHM_FILE:
		return load_make_shm(m, o, err);
	default:
		return make_file(m, o, fd_base, err);
	}
}

int mem_load_objects(struct mem_load *m, int fd_base, struct stasis_error *err)
{
	for (size_t i = 0; i < m->nr_objects; i++) {
		struct load_object *o = &m->objects[i];

		if (make_object(m, o, fd_base, err) < 0)
			return stasis_fail_prefix(err, "object %llu ('%s')",
						  (unsigned long long)o->rec->id,
						  o->rec->file && o->rec->file->path ?
							  o->rec->file->path :
							  "");
	}
	return 0;
}

int mem_load_object_fd(const struct mem_load *m, uint64_t object)
{
	size_t i = load_object_index(m, object);

	return i == NONE ? -1 : m->objects[i].fd;
}

int mem_load_finish(struct mem_load *m, struct stasis_error *err)
{
	for (size_t i = 0; i < m->nr_objects; i++) {
		struct load_object *o = &m->objects[i];

		if (o->rec->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM && load_finish_sysv(m, o, err) < 0)
			return -1;
		if (o->rec->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE && load_finish_shm(m, o, err) < 0)
			return -1;
	}
	return 0;
}

void mem_load_undo(struct mem_load *m)
{
	for (size_t i = 0; m && i < m->nr_objects; i++) {
		if (m->objects[i].rec->type == STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM)
			load_undo_sysv(m, &m->objects[i]);
		if (m->objects[i].rec->type == STASIS__OBJECT_TYPE__OBJECT_SHM_FILE)
			load_undo_shm(m, &m->objects[i]);
	}
}
