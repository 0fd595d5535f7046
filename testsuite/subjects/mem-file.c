/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File mappings: private with some pages modified, shared, read-only, at an offset, past the end. */
#include "subject.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define NR   64ul

int main(void)
{
	uint8_t *priv, *shared, *ro, *tail;
	uint8_t page[PAGE];
	int fd, fd2;
	size_t i;

	subject_init();
	fd = pattern_file("private.data", NR * PAGE, 5);
	fd2 = pattern_file("shared.data", NR * PAGE + 100, 6);
	priv = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	shared = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd2, 0);
	ro = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE, fd, (off_t)(16 * PAGE));
	tail = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd2, (off_t)(NR * PAGE));
	CHECK(priv != MAP_FAILED && shared != MAP_FAILED && ro != MAP_FAILED && tail != MAP_FAILED);
	CHECK(close(fd) == 0); /* the mapping alone holds the file */
	for (i = 1; i < NR; i += 5)
		pattern_fill(priv + i * PAGE, PAGE, 1000 + i);
	pattern_fill(shared + 3 * PAGE, PAGE, 2000);
	tail[200] = 77; /* behind the end of the file, in its last page */
	subject_ready();
	subject_wait_go();
	fd = pattern_file("compare.data", NR * PAGE, 5);
	for (i = 0; i < NR; i++) {
		CHECK(pread(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
		if (i % 5 == 1 ? !pattern_matches(priv + i * PAGE, PAGE, 1000 + i)
			       : __builtin_memcmp(priv + i * PAGE, page, PAGE) != 0)
			subject_bad("page %zu of the private mapping is wrong", i);
	}
	CHECK(__builtin_memcmp(ro, "", 0) == 0 && pread(fd, page, PAGE, 16 * PAGE) == (ssize_t)PAGE);
	CHECK(__builtin_memcmp(ro, page, PAGE) == 0);
	CHECK(tail[200] == 77);
	CHECK(pattern_matches(shared + 3 * PAGE, PAGE, 2000));
	pattern_fill(shared + 4 * PAGE, PAGE, 2001);
	CHECK(pread(fd2, page, PAGE, 4 * PAGE) == (ssize_t)PAGE); /* shared means: in the file */
	CHECK(pattern_matches(page, PAGE, 2001));
	subject_ok();
}
