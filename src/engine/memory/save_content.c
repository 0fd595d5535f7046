/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of shared objects. Through a descriptor, where one can be had (registered by the
 * descriptors' side, or as root through map_files), else through the mappings of the tasks. Others
 * may be writing to shared memory at this moment, so every byte goes through a buffer: what is
 * hashed is what is stored.
 */
#include "memory/save_priv.h"

#include "inject/inject.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define PIECE (4u << 20) /* one segment: few enough of them, and a small buffer */

/* Cut a read at the end of the file, which may have moved since the size was asked for. */
static int read_piece(int fd, void *buf, size_t len, uint64_t offset, size_t *ret_len,
		      struct stasis_error *err)
{
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = pread(fd, (char *)buf + have, len - have, (off_t)(offset + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read at %llu",
						 (unsigned long long)(offset + have));
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret_len = have;
	return 0;
}

/* hugetlbfs tells of no holes, and mincore() only of what this process has touched. */
static bool is_hole(const struct save_object *o, const char *buf, size_t len)
{
	return o->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB && buf[0] == 0 &&
	       memcmp(buf, buf + 1, len - 1) == 0;
}

static int copy_data(const struct save_object *o, int fd, uint64_t from, uint64_t to, void *buf,
		     struct image_writer *w, struct stasis_error *err)
{
	size_t max = o->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB ? HUGETLB_BYTES : PIECE;
	size_t len, got = 0;

	for (; from < to; from += len) {
		len = to - from < max ? to - from : max;
		if (read_piece(fd, buf, len, from, &got, err) < 0)
			return -1;
		if (got && !is_hole(o, buf, got) &&
		    image_put_bulk(w, o->id, from, buf, got, err) < 0)
			return -1;
		if (got < len)
			return 0;
	}
	return 0;
}

/* Holes stay holes. A file system that knows none shows one run of data. */
static int copy_sparse(const struct save_object *o, int fd, void *buf, struct image_writer *w,
		       struct stasis_error *err)
{
	off_t from, to;

	for (uint64_t at = 0; at < o->size; at = (uint64_t)to) {
		from = lseek(fd, (off_t)at, SEEK_DATA);
		if (from < 0 && errno == ENXIO)
			return 0;
		if (from < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "SEEK_DATA");
		to = lseek(fd, from, SEEK_HOLE);
		if (to <= from)
			return stasis_fail_errno(err, STASIS_E_IO, "SEEK_HOLE");
		if ((uint64_t)to > o->size)
			to = (off_t)o->size;
		if (copy_data(o, fd, (uint64_t)from, (uint64_t)to, buf, w, err) < 0)
			return -1;
	}
	return 0;
}

static int open_object(struct mem_save *m, const struct save_object *o)
{
	const struct object_map *map;
	int fd = -1;

	for (size_t i = 0; i < o->nr_maps && fd < 0 && m->s->caps.has_map_files; i++) {
		map = &o->maps[i];
		fd = save_open_mapped(m->tasks[map->task].t, &m->tasks[map->task].vmas.v[map->vma]);
	}
	return fd;
}

/* ---- through the mappings ---- */

static const struct vma *vma_of(const struct mem_save *m, const struct object_map *map)
{
	return &m->tasks[map->task].vmas.v[map->vma];
}

static int by_offset(const void *a, const void *b, void *arg)
{
	const struct vma *x = vma_of(arg, a), *y = vma_of(arg, b);

	if (x->pgoff != y->pgoff)
		return x->pgoff < y->pgoff ? -1 : 1;
	/* a shared mapping shows the object, a private one what the task made of it */
	return (int)(y->flags & VMA_F_SHARED) - (int)(x->flags & VMA_F_SHARED);
}

/* Read task memory whatever its protection is; what lies behind the end of the file reads as
 * nothing. */
static int read_mapped(int mem, tracee_addr addr, void *buf, size_t len, size_t *ret_len,
		       struct stasis_error *err)
{
	ssize_t n;
	size_t have = 0;

	while (have < len) {
		n = pread(mem, (char *)buf + have, len - have, (off_t)(addr + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && (n == 0 || errno == EIO || errno == EFAULT))
			break;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read memory of the task");
		have += (size_t)n;
	}
	*ret_len = have;
	return 0;
}

static int copy_piece(const struct save_object *o, int mem, const struct vma *v, uint64_t offset,
		      size_t len, void *buf, struct image_writer *w, struct stasis_error *err)
{
	size_t got = 0;

	if (read_mapped(mem, v->start + (offset - v->pgoff), buf, len, &got, err) < 0)
		return -1;
	if (offset + got > o->size)
		got = offset < o->size ? o->size - offset : 0;
	return got ? image_put_bulk(w, o->id, offset, buf, got, err) : 0;
}

/* The pages in core of at most PIECE bytes; the others of a shared anonymous object were never
 * touched, unless there is swap. */
static int copy_resident(struct mem_save *m, const struct save_object *o,
			 const struct object_map *map, int mem, uint64_t offset, size_t len,
			 void *buf, struct image_writer *w, struct stasis_error *err)
{
	const struct vma *v = vma_of(m, map);
	struct task *t = m->tasks[map->task].t;
	uint8_t core[PIECE / MEM_PAGE];
	size_t nr = len / MEM_PAGE, end;

	if (o->has_swap || !t->inject || o->type == STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE)
		return copy_piece(o, mem, v, offset, len, buf, w, err);
	if (inject_mincore(t, v->start + (offset - v->pgoff), len, core, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i = end) {
		for (end = i + 1; end < nr && (core[end] & 1) == (core[i] & 1); end++)
			;
		if ((core[i] & 1) && copy_piece(o, mem, v, offset + i * MEM_PAGE,
						(end - i) * MEM_PAGE, buf, w, err) < 0)
			return -1;
	}
	return 0;
}

static int copy_through(struct mem_save *m, const struct save_object *o,
			const struct object_map *map, uint64_t from, uint64_t to, void *buf,
			struct image_writer *w, struct stasis_error *err)
{
	scoped_fd int mem = openat(m->tasks[map->task].t->procfd, "mem", O_RDONLY | O_CLOEXEC);
	size_t len;

	if (mem < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open mem");
	for (; from < to; from += len) {
		len = to - from < PIECE ? to - from : PIECE;
		if (copy_resident(m, o, map, mem, from, len, buf, w, err) < 0)
			return -1;
	}
	return 0;
}

/* Every part of the object that anybody maps, once. */
static int copy_mapped(struct mem_save *m, struct save_object *o, void *buf,
		       struct image_writer *w, struct stasis_error *err)
{
	uint64_t done = 0, from, end;
	const struct vma *v;

	qsort_r(o->maps, o->nr_maps, sizeof(*o->maps), by_offset, m);
	for (size_t i = 0; i < o->nr_maps; i++) {
		v = vma_of(m, &o->maps[i]);
		end = v->pgoff + (v->end - v->start);
		from = v->pgoff > done ? v->pgoff : done;
		if (from >= end)
			continue;
		if (copy_through(m, o, &o->maps[i], from, end, buf, w, err) < 0)
			return -1;
		done = end;
	}
	return 0;
}

int save_object_content(struct mem_save *m, struct save_object *o, struct image_writer *w,
			struct stasis_error *err)
{
	scoped_fd int opened = o->fd >= 0 ? -1 : open_object(m, o);
	scoped_free void *buf = malloc(PIECE);
	int fd = o->fd >= 0 ? o->fd : opened;
	int result;

	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "buffer for shared memory");
	if (o->sysv && o->sysv->is_outside)
		return 0;
	if (fd >= 0)
		result = copy_sparse(o, fd, buf, w, err);
	else if (o->nr_maps)
		result = copy_mapped(m, o, buf, w, err);
	else
		result = stasis_fail(err, STASIS_E_DENIED, "no way to read it");
	if (result < 0)
		return stasis_fail_prefix(err, "object '%s'", o->file.path);
	return 0;
}
