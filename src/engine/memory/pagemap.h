/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MEMORY_PAGEMAP_H
#define MEMORY_PAGEMAP_H

#include "lib/error.h"
#include "session.h"

#include <stddef.h>

/* A run of pages: address and length in bytes. */
struct run {
	tracee_addr addr;
	uint64_t len;
};

struct run_list {
	size_t nr, cap;
	size_t barrier; /* runs before this one are not continued: they belong to another mapping */
	struct run *v;	/* ascending */
};

/* Append; a run that continues the last one is joined with it, unless the barrier is between. */
int run_list_add(struct run_list *l, tracee_addr addr, uint64_t len, struct stasis_error *err);
void run_list_done(struct run_list *l);

/* What a look at page tables needs, kept for the whole dump. */
struct pagemap {
	bool has_scan;	    /* ioctl PAGEMAP_SCAN */
	bool has_guard;	    /* it knows PAGE_IS_GUARD (Linux 6.15) */
	bool has_guard_flag; /* smaps tells where they may be: no need to look elsewhere */
	bool has_pfn;	    /* root: entries show page frame numbers */
	uint64_t zero_pfn;  /* 0 when not known */
	uint64_t *entries;  /* two buffers of PAGEMAP_CHUNK entries */
};
#define PAGEMAP_CHUNK 32768u

int pagemap_init(const struct session *s, struct pagemap *ret, struct stasis_error *err);
void pagemap_done(struct pagemap *pm);

/*
 * Find the pages of [start, end) that belong to the process alone or to its relatives by copy on
 * write: present or swapped, anonymous, and not the zero page.
 *
 *   fd         open /proc/PID/pagemap of a stopped task
 *   ret        gets the runs appended, ascending; one may reach over several mappings
 *   ret_guard  gets the runs of guard pages (MADV_GUARD_INSTALL), where the kernel shows them
 *
 * Source: kernel Documentation/admin-guide/mm/pagemap.rst; PAGEMAP_SCAN since 6.7.
 */
int pagemap_collect(struct pagemap *pm, int fd, tracee_addr start, tracee_addr end,
		    struct run_list *ret, struct run_list *ret_guard, struct stasis_error *err);

/*
 * Split a run of anonymous pages of a child into those that are the very pages of the parent at the
 * same addresses (same frame, or same place in swap) and the others.
 */
int pagemap_split(struct pagemap *pm, int fd, int parent_fd, const struct run *run,
		  struct run_list *ret_own, struct run_list *ret_same, struct stasis_error *err);

#endif
