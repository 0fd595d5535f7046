/* SPDX-License-Identifier: GPL-2.0-or-later */
/* argv[1] descriptors (default 2,000): files with a position each, pipes with a byte each. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned nr = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2000, i;
	char path[PATH_MAX];
	struct rlimit r;
	uint8_t c;
	int *fd;

	subject_init();
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
	r.rlim_cur = r.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
	fd = calloc(nr, sizeof(*fd));
	CHECK(fd != NULL);
	(void)close(pattern_file("data", 1 << 16, 1));
	(void)subject_path(path, "data");
	for (i = 0; i + 2 < nr; i += 3) {
		fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(fd[i] >= 0 && lseek(fd[i], i, SEEK_SET) == (off_t)i);
		CHECK(pipe(&fd[i + 1]) == 0);
		c = (uint8_t)i;
		CHECK(write(fd[i + 2], &c, 1) == 1);
	}
	subject_ready();
	subject_wait_go();
	for (i = 0; i + 2 < nr; i += 3) {
		CHECK(lseek(fd[i], 0, SEEK_CUR) == (off_t)i);
		CHECK(read(fd[i + 1], &c, 1) == 1 && c == (uint8_t)i);
	}
	subject_ok();
}
