/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are mapped and then deleted: by the mapping alone, and by a descriptor too. */
#include "subject.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
#define NR   32ul

static uint8_t *map_deleted(const char *name, int flags, uint64_t seed, int *ret_fd)
{
	char path[PATH_MAX];
	int fd = pattern_file(name, NR * PAGE, seed);
	uint8_t *p = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	CHECK(unlink(subject_path(path, name)) == 0);
	if (ret_fd)
		*ret_fd = fd;
	else
		CHECK(close(fd) == 0);
	return p;
}

int main(void)
{
	uint8_t *priv, *shared, *held, page[PAGE];
	struct stat st;
	pid_t child;
	int fd;

	subject_init();
	priv = map_deleted("priv", MAP_PRIVATE, 1, NULL);
	shared = map_deleted("shared", MAP_SHARED, 2, NULL);
	held = map_deleted("held", MAP_SHARED, 3, &fd);
	pattern_fill(priv + 5 * PAGE, PAGE, 50);
	child = subject_fork();
	if (!child) {
		subject_wait_mark("written");
		CHECK(pattern_matches(shared + 7 * PAGE, PAGE, 60));
		CHECK(pattern_matches(held + 8 * PAGE, PAGE, 61));
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(pattern_matches(priv + 5 * PAGE, PAGE, 50));
	CHECK(pattern_matches(priv, 5 * PAGE, 1));
	CHECK(pattern_matches(shared, NR * PAGE, 2));
	CHECK(pattern_matches(held, NR * PAGE, 3));
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == (off_t)(NR * PAGE));
	pattern_fill(shared + 7 * PAGE, PAGE, 60);
	CHECK(pread(fd, page, PAGE, 0) == (ssize_t)PAGE && pattern_matches(page, PAGE, 3));
	pattern_fill(page, PAGE, 61);
	CHECK(pwrite(fd, page, PAGE, 8 * PAGE) == (ssize_t)PAGE);
	CHECK(pattern_matches(held + 8 * PAGE, PAGE, 61)); /* mapping and descriptor: one file */
	subject_mark("written");
	subject_reap(child);
	subject_ok();
}
