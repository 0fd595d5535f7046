/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock-taker KIND FILE: somebody else, who has a lock of the whole file (flock, posix, ofd) or has it
 * open for writing (open). Makes FILE.taken when it has, and keeps it until it is killed.
 */
#include "locks.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[4096];
	int fd = argc == 3 ? open(argv[2], O_RDWR | O_CLOEXEC) : -1, got = 0;

	if (fd < 0)
		return 2;
	if (!strcmp(argv[1], "flock"))
		got = flock(fd, LOCK_EX);
	else if (!strcmp(argv[1], "posix"))
		got = range_lock(fd, F_SETLKW, F_WRLCK, 0, 0);
	else if (!strcmp(argv[1], "ofd"))
		got = range_lock(fd, F_OFD_SETLKW, F_WRLCK, 0, 0);
	(void)snprintf(path, sizeof(path), "%s.taken", argv[2]);
	if (got < 0 || close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0)
		return 1;
	for (;;)
		(void)pause();
}
