/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A package upgrade under a running program: the executable and a library are replaced by rename, so that what is
 * mapped has no name any more, and a file that is mapped is overwritten in place. Code and data that
 * were not touched before must come from the old files, and paths lead to the new ones.
 */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, NR = 64 };

/* Part of the executable: each page says which one it is. */
#define WORD(n)	  (n), (n) ^ 0x5a5a5a5a
#define W16(n)	  WORD(n), WORD(n + 1), WORD(n + 2), WORD(n + 3), WORD(n + 4), WORD(n + 5), WORD(n + 6), WORD(n + 7)
#define W256(n)	  W16(n), W16(n + 8), W16(n + 16), W16(n + 24), W16(n + 32), W16(n + 40), W16(n + 48), W16(n + 56)
#define W2048(n)  W256(n), W256(n + 64), W256(n + 128), W256(n + 192), W256(n + 256), W256(n + 320), W256(n + 384), W256(n + 448)
#define W16384(n) W2048(n), W2048(n + 512), W2048(n + 1024), W2048(n + 1536), W2048(n + 2048), W2048(n + 2560), W2048(n + 3072), W2048(n + 3584)

static const uint32_t big[] __attribute__((aligned(4096))) = {W16384(0u), W16384(4096u), W16384(8192u)};
static uint32_t big_data[] __attribute__((aligned(4096))) = {W16384(7u), W16384(4103u)};

static void check_big(const volatile uint32_t *v, size_t nr, uint32_t first)
{
	for (size_t i = 0; i < nr; i += 2)
		CHECK(v[i] == first + i / 2 && v[i + 1] == (v[i] ^ 0x5a5a5a5a));
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
	static char buf[1 << 16];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, mode);
	ssize_t n;

	CHECK(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		CHECK(write(out, buf, (size_t)n) == n);
	CHECK(n == 0 && close(in) == 0 && close(out) == 0);
}

/* Another file under that name, as dpkg and rpm do it. */
static void replace(const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	int fd = pattern_file("new", NR * PAGE, 99);

	CHECK(fd >= 0 && close(fd) == 0);
	CHECK(rename(subject_path(from, "new"), subject_path(to, name)) == 0);
}

static void check_replaced(const char *name)
{
	static uint8_t bytes[NR * PAGE];
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), O_RDONLY);

	CHECK(fd >= 0 && read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && close(fd) == 0);
	CHECK(pattern_matches(bytes, sizeof(bytes), 99));
}

static uint8_t *map_file(const char *name, uint64_t seed, int prot)
{
	int fd = pattern_file(name, NR * PAGE, seed);
	uint8_t *p = mmap(NULL, NR * PAGE, prot, MAP_PRIVATE, fd, 0);

	CHECK(p != MAP_FAILED && close(fd) == 0);
	return p;
}

static void overwrite(const char *name, uint64_t seed)
{
	static uint8_t bytes[NR * PAGE];
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), O_WRONLY);

	pattern_fill(bytes, sizeof(bytes), seed);
	CHECK(fd >= 0 && write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && close(fd) == 0);
}

static _Noreturn void upgraded(void)
{
	uint8_t *library = map_file("library", 1, PROT_READ | PROT_EXEC);
	uint8_t *data = map_file("library-data", 2, PROT_READ | PROT_WRITE);
	uint8_t *changed = map_file("changed", 3, PROT_READ | PROT_WRITE);

	pattern_fill(data + 5 * PAGE, PAGE, 50);
	pattern_fill(changed + 5 * PAGE, PAGE, 51);
	big_data[2048] ^= 1;
	replace("program");
	replace("library");
	replace("library-data");
	overwrite("changed", 4);
	subject_ready();
	subject_wait_go();
	check_big(big, sizeof(big) / sizeof(big[0]), 0);
	big_data[2048] ^= 1;
	check_big(big_data, sizeof(big_data) / sizeof(big_data[0]), 7);
	CHECK(pattern_matches(library, NR * PAGE, 1));
	CHECK(pattern_matches(data, 5 * PAGE, 2) && pattern_matches(data + 5 * PAGE, PAGE, 50));
	/* what is not written to shows the file as it is; pattern of whole file, page by page */
	CHECK(pattern_matches(changed, 5 * PAGE, 4) && pattern_matches(changed + 5 * PAGE, PAGE, 51));
	check_replaced("program");
	check_replaced("library");
	check_replaced("library-data");
	subject_ok();
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];

	subject_init();
	if (argc > 1 && !strcmp(argv[1], "upgraded"))
		upgraded();
	copy_file("/proc/self/exe", subject_path(path, "program"), 0755);
	CHECK(execl(path, path, "upgraded", NULL) == 0);
}
