/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State of a mapping beyond its protection; seen by freestanding code too. */
#ifndef MEMORY_VMA_FLAGS_H
#define MEMORY_VMA_FLAGS_H

/* State of a mapping beyond its protection, from the VmFlags line of /proc/PID/smaps
 * (Documentation/filesystems/proc.rst). Stored in images: never renumber. */
enum vma_flags {
	VMA_F_SHARED = 1u << 0,
	VMA_F_GROWSDOWN = 1u << 1,  /* gd */
	VMA_F_NORESERVE = 1u << 2,  /* nr */
	VMA_F_DONTFORK = 1u << 3,   /* dc */
	VMA_F_DONTDUMP = 1u << 4,   /* dd */
	VMA_F_HUGEPAGE = 1u << 5,   /* hg */
	VMA_F_NOHUGEPAGE = 1u << 6, /* nh */
	VMA_F_MERGEABLE = 1u << 7,  /* mg */
	VMA_F_SEQUENTIAL = 1u << 8, /* sr */
	VMA_F_RANDOM = 1u << 9,	    /* rr */
	VMA_F_LOCKED = 1u << 10,    /* lo */
	VMA_F_WIPEONFORK = 1u << 11, /* wf */
	VMA_F_HUGETLB = 1u << 12,   /* ht */
	VMA_F_IO = 1u << 13,	    /* io */
	VMA_F_PFNMAP = 1u << 14,    /* pf */
	VMA_F_UFFD = 1u << 15,	    /* um, uw, ui */
	VMA_F_SEALED = 1u << 16,    /* sl */
	VMA_F_SHADOW_STACK = 1u << 17, /* ss */
	VMA_F_MAYSHARE = 1u << 18,  /* ms: a shared file mapping made read-only shows 'p' nowhere else */
	VMA_F_MAYWRITE = 1u << 19,  /* mw */
	VMA_F_ACCOUNT = 1u << 20,   /* ac */
	VMA_F_DROPPABLE = 1u << 21, /* dp */
	VMA_F_GUARD = 1u << 22,	    /* gu: may have guard pages */
	VMA_F_LOCKONFAULT = 1u << 23, /* lf */
};

#endif
