/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memfds: content, size, position, seals, name; mapped and not; shared with a child. */
#include "subject.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define LEN  (64 * PAGE)

static int make(const char *name, uint64_t seed, int seals)
{
	static uint8_t buf[LEN];
	int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC);

	CHECK(fd >= 0);
	pattern_fill(buf, sizeof(buf), seed);
	CHECK(pwrite(fd, buf, sizeof(buf), 0) == (ssize_t)sizeof(buf));
	if (seals)
		CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

static void check_name(int fd, const char *want)
{
	char link[64], text[256];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, text, sizeof(text) - 1);
	CHECK(n > 0);
	text[n] = 0;
	if (strcmp(text, want) != 0)
		subject_bad("memfd is called '%s', not '%s'", text, want);
}

int main(void)
{
	int sealed, mapped, sparse;
	uint8_t *m, byte;
	pid_t child;

	subject_init();
	sealed = make("sealed one", 1, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	mapped = make("mapped", 2, 0);
	sparse = memfd_create("sparse", 0);
	CHECK(sparse >= 0 && ftruncate(sparse, 1 << 30) == 0);
	CHECK(pwrite(sparse, "x", 1, 700 << 20) == 1);
	CHECK(lseek(sealed, 12345, SEEK_SET) == 12345);
	m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	CHECK(m != MAP_FAILED);
	child = subject_fork();
	if (!child) {
		subject_wait_mark("written");
		CHECK(pattern_matches(m + PAGE, PAGE, 33));
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(lseek(sealed, 0, SEEK_CUR) == 12345);
	CHECK(fcntl(sealed, F_GET_SEALS) ==
	      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL));
	CHECK(fcntl(sealed, F_GETFD) == FD_CLOEXEC && fcntl(sparse, F_GETFD) == 0);
	check_name(sealed, "/memfd:sealed one (deleted)");
	CHECK(pattern_matches(m, LEN, 2));
	pattern_fill(m + PAGE, PAGE, 33);
	CHECK(pread(mapped, &byte, 1, PAGE) == 1 && byte == m[PAGE]);
	CHECK(lseek(sparse, 0, SEEK_END) == 1 << 30);
	CHECK(pread(sparse, &byte, 1, 700 << 20) == 1 && byte == 'x');
	CHECK(pread(sparse, &byte, 1, 300 << 20) == 1 && byte == 0);
	m = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, sealed, 0);
	CHECK(m != MAP_FAILED && pattern_matches(m, LEN, 1));
	subject_mark("written");
	subject_reap(child);
	subject_ok();
}
