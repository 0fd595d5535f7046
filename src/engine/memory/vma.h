/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MEMORY_VMA_H
#define MEMORY_VMA_H

#include "lib/error.h"
#include "memory/vma_flags.h"
#include "session.h"

#include <stddef.h>
#include <sys/types.h>

/* One mapping as /proc/PID/smaps shows it. */
struct vma {
	tracee_addr start, end;
	uint32_t prot;	/* PROT_* */
	uint32_t flags; /* enum vma_flags */
	uint64_t pgoff; /* bytes */
	uint64_t dev, ino;
	char *path; /* NULL for none; "[heap]", "/a/b", "/a/b (deleted)"; free()d by vma_list_done() */
	uint64_t rss_kb, anon_kb, swap_kb;
	uint64_t huge_kb; /* in pages of hugetlbfs, which the others do not count */
	uint64_t page_kb;
	uint64_t pkey; /* protection key, 0: the usual one */
};

struct vma_list {
	size_t nr;
	struct vma *v; /* ascending */
};

/* Parse /proc/PID/smaps given its directory descriptor. */
int vma_list_read(int procfd, struct vma_list *ret, struct stasis_error *err);

/* The same for text that is at hand (tests, fuzzing). */
int vma_list_parse(const char *text, size_t len, struct vma_list *ret, struct stasis_error *err);
void vma_list_done(struct vma_list *l);

#endif
