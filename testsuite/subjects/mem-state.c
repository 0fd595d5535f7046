/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of private memory beyond its content: guard pages, locked memory of each kind, a reservation of
 * terabytes, sealed memory, a guard page in the middle of what a child inherited. Every VmFlags line
 * must be as it was, and guard pages must still be fatal.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#define SYS_MSEAL 462 /* Linux 6.10 */

#define PAGE 4096ul
#define LEN  (16 * PAGE)
#define TB   (1ul << 40)

static uint8_t *map(size_t len, int prot, int flags)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	CHECK(p != MAP_FAILED);
	/* keeps neighbours from merging */
	CHECK(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return p;
}

struct area {
	uint8_t *p;
	size_t len;
	char flags[160];
	unsigned long rss_kb;
};

static void look(const struct area *a, char *flags, unsigned long *rss_kb)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	char line[512], perms[8];
	bool is_it = false;

	CHECK(f != NULL);
	*flags = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3)
			is_it = start == (unsigned long)a->p;
		if (is_it && sscanf(line, "Rss: %lu", rss_kb) == 1)
			continue;
		if (is_it && strncmp(line, "VmFlags:", 8) == 0)
			(void)snprintf(flags, 160, "%.150s", line + 8);
	}
	(void)fclose(f);
}

static struct area remember(uint8_t *p, size_t len)
{
	struct area a = {.p = p, .len = len};

	look(&a, a.flags, &a.rss_kb);
	return a;
}

static void check_same(const struct area *a, const char *what)
{
	unsigned long rss_kb = 0;
	char now[160];

	look(a, now, &rss_kb);
	if (strcmp(now, a->flags) != 0)
		subject_bad("%s: VmFlags were%.60s and are%.60s", what, a->flags, now);
	if (rss_kb < a->rss_kb)
		subject_bad("%s: %lu kB were there and %lu are", what, a->rss_kb, rss_kb);
}

/* The kernel reads memory for us: EFAULT instead of a signal. */
static bool is_readable(const uint8_t *p)
{
	struct iovec here = {.iov_len = 1}, there = {.iov_base = (void *)(uintptr_t)p, .iov_len = 1};
	uint8_t byte;

	here.iov_base = &byte;
	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

static bool has_guards;

/* A guard page before, in and behind what has content; and one in a mapping without any. */
static struct area make_guarded(bool is_touched)
{
	uint8_t *p = map(LEN, PROT_READ | PROT_WRITE, 0);

	if (is_touched)
		pattern_fill(p, LEN, 81);
	has_guards = madvise(p, PAGE, MADV_GUARD_INSTALL) == 0;
	if (has_guards) {
		CHECK(madvise(p + 5 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL) == 0);
		CHECK(madvise(p + 15 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0);
	}
	return remember(p, LEN);
}

static void check_guarded(const struct area *a, bool is_touched)
{
	static const uint8_t zero[PAGE];
	uint8_t want[LEN];

	pattern_fill(want, LEN, 81);
	for (size_t i = 0; i < LEN / PAGE; i++) {
		bool is_guard = has_guards && (i == 0 || i == 5 || i == 6 || i == 15);

		if (is_readable(a->p + i * PAGE) == is_guard)
			subject_bad("page %zu: %s", i, is_guard ? "no guard any more" : "unreadable");
		if (!is_guard && memcmp(a->p + i * PAGE, is_touched ? want + i * PAGE : zero, PAGE) != 0)
			subject_bad("page %zu beside a guard page has other bytes", i);
	}
	check_same(a, "guarded area");
}

/* A file mapping with a guard page (Linux 6.15); *ret.p NULL: not here. */
static struct area make_guarded_file(void)
{
	int fd = pattern_file("guarded", 4 * PAGE, 82);
	uint8_t *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	struct area none = {.p = NULL};

	CHECK(p != MAP_FAILED);
	(void)close(fd);
	return madvise(p + 2 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0 ? remember(p, 4 * PAGE) : none;
}

static void check_guarded_file(const struct area *a)
{
	if (!a->p)
		return;
	CHECK(is_readable(a->p + PAGE) && !is_readable(a->p + 2 * PAGE));
	check_same(a, "guarded file");
}

static struct area make_locked(unsigned flags, int prot)
{
	uint8_t *p = map(LEN, PROT_READ | PROT_WRITE, 0);

	p[3 * PAGE] = 1;
	CHECK(mprotect(p, LEN, prot) == 0);
	CHECK(mlock2(p, LEN, flags) == 0 || prot == PROT_NONE); /* locked, though without pages */
	return remember(p, LEN);
}

int main(void)
{
	struct area guarded, empty, file, locked, on_fault, no_access, sealed;
	bool can_seal;
	uint8_t *huge, *own;
	pid_t child;

	subject_init();
	guarded = make_guarded(true);
	empty = make_guarded(false);
	file = make_guarded_file();
	locked = make_locked(0, PROT_READ | PROT_WRITE);
	on_fault = make_locked(MLOCK_ONFAULT, PROT_READ | PROT_WRITE);
	no_access = make_locked(0, PROT_NONE);
	huge = map(2 * TB, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	pattern_fill(huge + TB - PAGE, 2 * PAGE, 83);
	own = map(LEN, PROT_READ, 0);
	can_seal = syscall(SYS_MSEAL, own, LEN, 0) == 0;
	sealed = remember(own, LEN);
	child = subject_fork();
	if (child == 0) {
		check_guarded(&guarded, true); /* guard pages are inherited */
		subject_mark("child");
		subject_wait_go();
		check_guarded(&guarded, true);
		_exit(0);
	}
	subject_wait_mark("child");
	subject_ready();
	subject_wait_go();

	check_guarded(&guarded, true);
	check_guarded(&empty, false);
	check_guarded_file(&file);
	check_same(&locked, "locked area");
	check_same(&on_fault, "area locked on fault");
	check_same(&no_access, "locked area without access");
	CHECK(locked.p[3 * PAGE] == 1 && on_fault.p[3 * PAGE] == 1 && on_fault.p[4 * PAGE] == 0);
	CHECK(pattern_matches(huge + TB - PAGE, 2 * PAGE, 83) && huge[0] == 0);
	if (can_seal)
		CHECK(munmap(sealed.p, LEN) < 0 && errno == EPERM);
	check_same(&sealed, "sealed area");
	subject_reap(child);
	subject_ok();
}
