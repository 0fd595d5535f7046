/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory read half-way: the rest comes, each name once. */
#include "subject.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR 400u

static unsigned char seen[NR];

/* The system call with a small buffer, so that nothing is read ahead in user space. */
static bool read_some(int fd)
{
	char buf[512] __attribute__((aligned(8)));
	long n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
	long at;

	CHECK(n >= 0);
	for (at = 0; at < n;) {
		struct dirent64 *d = (struct dirent64 *)(void *)(buf + at);

		if (d->d_name[0] == 'f')
			seen[atoi(d->d_name + 1) % (int)NR]++;
		at += d->d_reclen;
	}
	return n > 0;
}

int main(void)
{
	char path[PATH_MAX], name[32];
	unsigned i;
	int dir;

	subject_init();
	CHECK(mkdir(subject_path(path, "dir"), 0755) == 0);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir >= 0);
	for (i = 0; i < NR; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		CHECK(close(openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) == 0);
	}
	for (i = 0; i < 10; i++)
		CHECK(read_some(dir));
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(dir, F_GETFD) == FD_CLOEXEC);
	while (read_some(dir))
		;
	for (i = 0; i < NR; i++) {
		if (seen[i] != 1)
			subject_bad("entry f%u was seen %u times", i, seen[i]);
	}
	subject_ok();
}
