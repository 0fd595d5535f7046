/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages hold data, from /proc/PID/pagemap: the bits of an entry, the PAGEMAP_SCAN request
 * (whose definitions are newer than many installed headers) and how the zero page is recognised are
 * known here only.
 */
#include "memory/pagemap.h"
#include "memory/vma.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PAGE 4096u

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

#define PM_PFN_MASK ((1ull << 55) - 1) /* frame number; for swapped pages type and offset */
#define PM_GUARD    (1ull << 58)       /* Linux 6.15 */
#define PM_FILE	    (1ull << 61)       /* page of a file or of shared memory */
#define PM_SWAPPED  (1ull << 62)
#define PM_PRESENT  (1ull << 63)

#define SCAN_IS_FILE	(1u << 2)
#define SCAN_IS_PRESENT (1u << 3)
#define SCAN_IS_SWAPPED (1u << 4)
#define SCAN_IS_PFNZERO (1u << 5)
#define SCAN_IS_GUARD	(1u << 8)

#define SCAN_NR_REGIONS 1024u

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
_Static_assert(sizeof(struct scan_arg) == 96, "struct pm_scan_arg of linux/fs.h");

#define SCAN_REQUEST _IOWR('f', 16, struct scan_arg)

int run_list_add(struct run_list *l, tracee_addr addr, uint64_t len, struct stasis_error *err)
{
	struct run *last = l->nr > l->barrier ? &l->v[l->nr - 1] : NULL;
	size_t cap = l->cap ? 2 * l->cap : 16;
	struct run *v;

	if (last && last->addr + last->len == addr) {
		last->len += len;
		return 0;
	}
	if (l->nr == l->cap) {
		v = reallocarray(l->v, cap, sizeof(*v));
		if (!v)
			return stasis_fail(err, STASIS_E_NOMEM, "list of page runs");
		l->v = v;
		l->cap = cap;
	}
	l->v[l->nr++] = (struct run){ addr, len };
	return 0;
}

void run_list_done(struct run_list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}

static int read_entries(int fd, tracee_addr addr, size_t nr, uint64_t *ret, struct stasis_error *err)
{
	size_t want = nr * sizeof(*ret);
	size_t have = 0;
	ssize_t n;

	while (have < want) {
		n = pread(fd, (char *)ret + have, want - have, (off_t)(addr / PAGE * 8 + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read pagemap");
		if (n == 0)
			return stasis_fail(err, STASIS_E_GONE, "read pagemap: the task has exited");
		have += (size_t)n;
	}
	return 0;
}

/* Frame of the zero page: of a page of our own that was read and never written. */
static void find_zero_pfn(struct pagemap *pm)
{
	scoped_fd int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0;

	if (page == MAP_FAILED)
		return;
	(void)*(volatile char *)page;
	if (fd >= 0 && read_entries(fd, (uintptr_t)page, 1, &entry, NULL) == 0 &&
	    (entry & PM_PRESENT))
		pm->zero_pfn = entry & PM_PFN_MASK;
	pm->has_pfn = pm->zero_pfn != 0;
	(void)munmap(page, PAGE); /* only a page of our own; nothing depends on it */
}

/* A kernel that does not know a category refuses the whole request. */
static bool probe_guard(void)
{
	scoped_fd int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t page = (uintptr_t)&probe_guard & ~(uint64_t)(PAGE - 1);
	struct scan_region region;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = page,
		.end = page + PAGE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_anyof_mask = SCAN_IS_PRESENT,
		.return_mask = SCAN_IS_GUARD,
	};

	return fd >= 0 && ioctl(fd, SCAN_REQUEST, &arg) >= 0;
}

/* Does smaps mark the mapping of a guard page of our own ("gu")? */
static bool probe_guard_flag(void)
{
	scoped_fd int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vma_list list = { 0 };
	bool is_marked = false;

	if (page == MAP_FAILED)
		return false;
	if (self >= 0 && madvise(page, PAGE, MADV_GUARD_INSTALL) == 0 &&
	    vma_list_read(self, &list, NULL) == 0)
		for (size_t i = 0; i < list.nr; i++)
			is_marked = is_marked || list.v[i].flags & VMA_F_GUARD;
	vma_list_done(&list);
	(void)munmap(page, PAGE); /* only a page of our own; nothing depends on it */
	return is_marked;
}

int pagemap_init(const struct session *s, struct pagemap *ret, struct stasis_error *err)
{
	memset(ret, 0, sizeof(*ret));
	ret->entries = malloc(2 * PAGEMAP_CHUNK * sizeof(*ret->entries));
	if (!ret->entries)
		return stasis_fail(err, STASIS_E_NOMEM, "buffer for pagemap");
	ret->has_scan = s->caps.has_pagemap_scan;
	ret->has_guard = ret->has_scan && probe_guard();
	ret->has_guard_flag = ret->has_guard && probe_guard_flag();
	find_zero_pfn(ret);
	return 0;
}

void pagemap_done(struct pagemap *pm)
{
	free(pm->entries);
	pm->entries = NULL;
}

static int add_regions(const struct scan_region *r, size_t nr, struct run_list *ret,
		       struct run_list *ret_guard, struct stasis_error *err)
{
	struct run_list *to;

	for (size_t i = 0; i < nr; i++) {
		to = r[i].categories & SCAN_IS_GUARD ? ret_guard : ret;
		if (run_list_add(to, r[i].start, r[i].end - r[i].start, err) < 0)
			return -1;
	}
	return 0;
}

static int collect_by_scan(struct pagemap *pm, int fd, tracee_addr start, tracee_addr end,
			   struct run_list *ret, struct run_list *ret_guard,
			   struct stasis_error *err)
{
	struct scan_region regions[SCAN_NR_REGIONS];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = SCAN_NR_REGIONS,
		.category_inverted = SCAN_IS_FILE | SCAN_IS_PFNZERO,
		.category_mask = SCAN_IS_FILE | SCAN_IS_PFNZERO,
		.category_anyof_mask = SCAN_IS_PRESENT | SCAN_IS_SWAPPED,
		/* the mask must not be empty; that no page is of a file was asked for */
		.return_mask = pm->has_guard ? SCAN_IS_GUARD : SCAN_IS_FILE,
	};
	int n;

	while (arg.start < end) {
		n = ioctl(fd, SCAN_REQUEST, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "PAGEMAP_SCAN");
		if (add_regions(regions, (size_t)n, ret, ret_guard, err) < 0)
			return -1;
		if (arg.walk_end <= arg.start)
			return stasis_fail(err, STASIS_E_GONE, "PAGEMAP_SCAN: the task has exited");
		arg.start = arg.walk_end;
	}
	return 0;
}

static bool is_own_page(const struct pagemap *pm, uint64_t entry)
{
	if (entry & PM_FILE)
		return false;
	if (entry & PM_SWAPPED)
		return true;
	return (entry & PM_PRESENT) && !(pm->zero_pfn && (entry & PM_PFN_MASK) == pm->zero_pfn);
}

static int collect_by_reading(struct pagemap *pm, int fd, tracee_addr start, tracee_addr end,
			      struct run_list *ret, struct run_list *ret_guard,
			      struct stasis_error *err)
{
	struct run_list *to;
	size_t nr;

	for (; start < end; start += nr * PAGE) {
		nr = (end - start) / PAGE;
		if (nr > PAGEMAP_CHUNK)
			nr = PAGEMAP_CHUNK;
		if (read_entries(fd, start, nr, pm->entries, err) < 0)
			return -1;
		for (size_t i = 0; i < nr; i++) {
			if (!is_own_page(pm, pm->entries[i]))
				continue;
			to = pm->entries[i] & PM_GUARD ? ret_guard : ret;
			if (run_list_add(to, start + i * PAGE, PAGE, err) < 0)
				return -1;
		}
	}
	return 0;
}

int pagemap_collect(struct pagemap *pm, int fd, tracee_addr start, tracee_addr end,
		    struct run_list *ret, struct run_list *ret_guard, struct stasis_error *err)
{
	if (pm->has_scan)
		return collect_by_scan(pm, fd, start, end, ret, ret_guard, err);
	return collect_by_reading(pm, fd, start, end, ret, ret_guard, err);
}

/* Entries of unprivileged readers have no frame number: then nothing is the same. */
static bool is_same_page(uint64_t a, uint64_t b)
{
	const uint64_t mask = PM_PFN_MASK | PM_SWAPPED | PM_PRESENT | PM_FILE;

	return (a & PM_PFN_MASK) != 0 && (a & mask) == (b & mask);
}

int pagemap_split(struct pagemap *pm, int fd, int parent_fd, const struct run *run,
		  struct run_list *ret_own, struct run_list *ret_same, struct stasis_error *err)
{
	uint64_t *child = pm->entries;
	uint64_t *parent = pm->entries + PAGEMAP_CHUNK;
	tracee_addr end = run->addr + run->len;
	struct run_list *to;
	size_t nr;

	for (tracee_addr at = run->addr; at < end; at += nr * PAGE) {
		nr = (end - at) / PAGE;
		if (nr > PAGEMAP_CHUNK)
			nr = PAGEMAP_CHUNK;
		if (read_entries(fd, at, nr, child, err) < 0 ||
		    read_entries(parent_fd, at, nr, parent, err) < 0)
			return -1;
		for (size_t i = 0; i < nr; i++) {
			to = is_same_page(child[i], parent[i]) ? ret_same : ret_own;
			if (run_list_add(to, at + i * PAGE, PAGE, err) < 0)
				return -1;
		}
	}
	return 0;
}
