/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Huge pages of hugetlbfs: private and shared without a file, a memfd with and without its descriptor, one
 * not touched. Content, sharing with a child, and that they are huge pages still.
 */
#include "subject.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

#define PAGE (2ul << 20)

static uint8_t *map(size_t len, int flags, int fd)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static int make_memfd(void)
{
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_HUGE_2MB);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)PAGE) == 0);
	return fd;
}

/* Size of the pages and, in huge ones, what is there. */
static void look(const void *p, unsigned long *ret_page_kb, unsigned long *ret_there_kb)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end, kb;
	char line[512], perms[8];
	bool is_it = false;

	CHECK(f != NULL);
	*ret_page_kb = *ret_there_kb = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3)
			is_it = start == (unsigned long)p;
		if (is_it && sscanf(line, "KernelPageSize: %lu", &kb) == 1)
			*ret_page_kb = kb;
		if (is_it && (sscanf(line, "Private_Hugetlb: %lu", &kb) == 1 ||
			      sscanf(line, "Shared_Hugetlb: %lu", &kb) == 1))
			*ret_there_kb += kb;
	}
	(void)fclose(f);
}

static void check_huge(const void *p, unsigned long there_kb, const char *what)
{
	unsigned long page_kb, now_kb;

	look(p, &page_kb, &now_kb);
	if (page_kb != 2048 || now_kb != there_kb)
		subject_bad("%s: %lu kB there in pages of %lu kB", what, now_kb, page_kb);
}

int main(void)
{
	uint8_t *private, *shared, *file, *lone;
	int fd, lone_fd;
	pid_t child;

	subject_init();
	private = map(2 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1);
	pattern_fill(private + PAGE, PAGE, 61);
	shared = map(2 * PAGE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1);
	pattern_fill(shared, PAGE, 62);
	fd = make_memfd();
	file = map(PAGE, MAP_SHARED, fd);
	pattern_fill(file, PAGE, 63);
	lone_fd = make_memfd();
	lone = map(PAGE, MAP_SHARED, lone_fd);
	pattern_fill(lone, PAGE, 64);
	CHECK(close(lone_fd) == 0);
	child = subject_fork();
	if (child == 0) {
		subject_wait_mark("parent");
		CHECK(pattern_matches(private + PAGE, PAGE, 61)); /* the parent's change is its own */
		CHECK(shared[5] == 7);
		shared[6] = 8;
		_exit(0);
	}
	subject_ready();
	subject_wait_go();

	check_huge(private, 2048, "private memory");
	CHECK(pattern_matches(private + PAGE, PAGE, 61) && private[0] == 0);
	CHECK(pattern_matches(shared, PAGE, 62));
	check_huge(shared, 2048, "shared memory");
	CHECK(shared[PAGE] == 0);
	CHECK(pattern_matches(file, PAGE, 63) && pattern_matches(lone, PAGE, 64));
	check_huge(lone, 2048, "memfd that is closed");
	file[9] = 99;
	CHECK(pread(fd, lone, 16, 0) == 16 && lone[9] == 99);
	shared[5] = 7;
	private[PAGE] ^= 1;
	subject_mark("parent");
	subject_reap(child);
	CHECK(shared[6] == 8);
	subject_ok();
}
