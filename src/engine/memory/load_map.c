/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New mappings in the staging area. Whatever mmap() can set is set here, because mremap() carries it
 * along; what only madvise() can set follows when the children have been forked.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26) /* the binary logarithm of the size */
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA	     0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

void file_cache_done(struct file_cache *c)
{
	if (c->fd >= 0)
		(void)close(c->fd); /* mappings do not need it */
	c->fd = -1;
}

static int fail_map(const Stasis__Vma *v, struct stasis_error *err)
{
	return stasis_fail_errno(err, errno == ENOMEM ? STASIS_E_NOMEM : STASIS_E_IO,
				 "mapping %llx-%llx (%s)", (unsigned long long)v->start,
				 (unsigned long long)v->end,
				 v->file && v->file->path ? v->file->path : "anonymous");
}

/* Where a piece goes. In place it takes the room of our own reservation, or of what was the
 * parent's; elsewhere the room must be free. */
struct place {
	uint64_t at, len;
	int fixed;
};

static struct place place_of(const struct mem_load *m, uint64_t start, uint64_t end)
{
	const struct load_span *s = load_span_of(m, start);

	return (struct place){ start + s->delta, end - start,
			       s->delta == 0 && !m->is_released ? MAP_FIXED : MAP_FIXED_NOREPLACE };
}

static bool map_at(const struct place *at, uint32_t prot, int flags, int fd, uint64_t offset)
{
	void *want = (void *)(uintptr_t)at->at;
	void *got = mmap(want, at->len, (int)prot, flags | at->fixed, fd, (off_t)offset);

	if (got != MAP_FAILED && got != want) { /* before Linux 4.17 the flag is only a hint */
		(void)munmap(got, at->len);
		errno = EEXIST;
		return false;
	}
	return got != MAP_FAILED;
}

static int map_anon(const Stasis__Vma *v, const struct place *at, uint32_t prot,
		    struct stasis_error *err)
{
	int flags = MAP_ANONYMOUS | (v->flags & VMA_F_GROWSDOWN ? MAP_GROWSDOWN : 0) |
		    (v->flags & VMA_F_NORESERVE ? MAP_NORESERVE : 0) |
		    (v->flags & VMA_F_HUGETLB ? MAP_HUGETLB | MAP_HUGE_2MB : 0);

	if ((v->flags & VMA_F_DROPPABLE) && map_at(at, prot, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0))
		return 0;
	if (map_at(at, prot, flags | MAP_PRIVATE, -1, 0))
		return 0;
	/* memory that was never writable did not count until now, and will not again */
	if (errno == ENOMEM && !(v->flags & (VMA_F_ACCOUNT | VMA_F_HUGETLB)) &&
	    map_at(at, prot, flags | MAP_PRIVATE | MAP_NORESERVE, -1, 0))
		return 0;
	return fail_map(v, err);
}

static int cached_file(struct file_cache *c, const Stasis__Vma *v, struct stasis_error *err)
{
	if (c->fd >= 0 && c->v->file_flags == v->file_flags &&
	    strcmp(c->v->file->path, v->file->path) == 0)
		return c->fd;
	file_cache_done(c);
	c->fd = load_open_file(v, err);
	c->v = v;
	return c->fd;
}

/* The kernel lets a mapping become writable later exactly if its file was opened so. */
static int reopen_read_only(int fd, struct stasis_error *err)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : stasis_fail_errno(err, STASIS_E_IO, "open '%s'", name);
}

/* With a length of 0 mremap() makes a second mapping of shared memory. */
static int map_by_master(const struct load_object *o, uint64_t master, const Stasis__Vma *v,
			 uint64_t offset, const struct place *at, struct stasis_error *err)
{
	void *from = (void *)(uintptr_t)(master + offset);
	void *want = (void *)(uintptr_t)at->at;

	if (offset >= load_object_len(o))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "mapping %llx-%llx begins behind the end of a sealed memfd",
				   (unsigned long long)v->start, (unsigned long long)v->end);
	if (mremap(from, 0, at->len, MREMAP_MAYMOVE | MREMAP_FIXED, want) != want)
		return fail_map(v, err);
	return 0;
}

static int map_object(const struct load_object *o, const struct load_vma *lv, uint64_t offset,
		      const struct place *at, uint32_t prot, struct stasis_error *err)
{
	bool is_read_only = !lv->is_private && (lv->v->file_flags & O_ACCMODE) != O_RDWR;
	/* of huge pages it tells whether room in the pool is held for them */
	int flags = (lv->is_private ? MAP_PRIVATE : MAP_SHARED) |
		    ((lv->v->flags & VMA_F_HUGETLB) && (lv->v->flags & VMA_F_NORESERVE) ?
			     MAP_NORESERVE :
			     0);
	scoped_fd int reopened = -1;

	if (is_read_only) {
		reopened = reopen_read_only(o->fd, err);
		if (reopened < 0)
			return -1;
	}
	if (!map_at(at, prot, flags, is_read_only ? reopened : o->fd, offset))
		return fail_map(lv->v, err);
	return 0;
}

static int map_file(const struct load_vma *lv, struct file_cache *cache, uint64_t offset,
		    const struct place *at, uint32_t prot, struct stasis_error *err)
{
	int fd = cached_file(cache, lv->v, err);
	int flags = (lv->is_private ? MAP_PRIVATE : MAP_SHARED) |
		    (lv->v->flags & VMA_F_NORESERVE ? MAP_NORESERVE : 0);

	if (fd < 0)
		return -1;
	return map_at(at, prot, flags, fd, offset) ? 0 : fail_map(lv->v, err);
}

/* Advice that decides how the pages to be filled in are allocated, and the name; only advice: a
 * kernel built without it goes on. */
static void advise(const Stasis__Vma *v, const struct place *at)
{
	void *p = (void *)(uintptr_t)at->at;
	char name[80];

	if (v->flags & VMA_F_HUGEPAGE)
		(void)madvise(p, at->len, MADV_HUGEPAGE);
	if (v->flags & VMA_F_NOHUGEPAGE)
		(void)madvise(p, at->len, MADV_NOHUGEPAGE);
	if (v->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE &&
	    sscanf(v->name, "[anon:%79[^]]]", name) == 1)
		(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at->at, at->len, name);
}

void load_set_policy(struct mem_load *m, const Stasis__Vma *v, void *at, uint64_t len)
{
	const unsigned long nodes = v->policy_nodes;
	const unsigned long nr_nodes = 8 * sizeof(nodes) + 1; /* the kernel takes one less */

	if (syscall(SYS_mbind, at, len, v->policy_mode, nodes ? &nodes : NULL, nodes ? nr_nodes : 0, 0) ==
		    0 ||
	    m->warned_policy)
		return;
	s_warn(m->s, "NUMA policy %u for nodes 0x%lx: %s; mappings stay without", v->policy_mode, nodes,
	       strerror(errno));
	m->warned_policy = true;
}

int load_map_piece(struct mem_load *m, const struct load_vma *lv, struct file_cache *cache,
		   uint64_t start, uint64_t end, struct piece *ret, struct stasis_error *err)
{
	const Stasis__Vma *v = lv->v;
	const struct load_object *o = lv->object == NONE ? NULL : &m->objects[lv->object];
	const struct place at = place_of(m, start, end);
	uint64_t offset = v->pgoff + (start - v->start);
	uint32_t prot = load_staged_prot(v) | (lv->nr_segs ? PROT_WRITE : 0);
	int result;

	if (o && o->has_master && (v->file_flags & O_ACCMODE) == O_RDWR && !lv->is_private) {
		result = map_by_master(o, o->master, v, offset, &at, err);
		prot = PROT_READ | PROT_WRITE;
	} else if (o && o->has_reader) {
		result = map_by_master(o, o->reader, v, offset, &at, err);
		prot = PROT_READ;
	} else if (o) {
		result = map_object(o, lv, offset, &at, prot, err);
	} else if (v->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE ||
		   v->kind == STASIS__VMA_KIND__VMA_AIO) { /* keeps the place until children are forked */
		result = map_anon(v, &at, prot, err);
	} else {
		result = map_file(lv, cache, offset, &at, prot, err);
	}
	if (result < 0)
		return -1;
	advise(v, &at);
	if (v->policy_mode) /* before pages are filled in */
		load_set_policy(m, v, (void *)(uintptr_t)at.at, at.len);
	*ret = (struct piece){ .start = start, .end = end, .prot = prot, .is_private = lv->is_private };
	return 0;
}

int load_map_group(struct mem_load *m, const struct load_vma *lv, uint64_t start, uint64_t end,
		   struct stasis_error *err)
{
	const struct place at = place_of(m, start, end);

	if (map_anon(lv->v, &at, PROT_READ | PROT_WRITE, err) < 0)
		return -1;
	advise(lv->v, &at);
	return 0;
}
