/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deleted files that are still open: content, size with a hole, position; link count stays zero. One
 * never had a name (O_TMPFILE). */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN 300000

int main(void)
{
	char path[PATH_MAX], link[PATH_MAX];
	static uint8_t buf[LEN];
	struct stat st, st2;
	int fd, ro, dup1, other_name, nameless;
	pid_t child;

	subject_init();
	fd = pattern_file("scratch", LEN, 3);
	ro = open(subject_path(path, "scratch"), O_RDONLY | O_CLOEXEC);
	CHECK(ro >= 0 && pwrite(fd, "end", 3, 5 << 20) == 3);
	CHECK(unlink(path) == 0);
	other_name = pattern_file("replaced", LEN, 4);
	CHECK(rename(subject_path(link, "replaced"), subject_path(path, "moved")) == 0);
	nameless = open(getenv("STASIS_SUBJECT_DIR"), O_TMPFILE | O_RDWR | O_APPEND, 0600);
	CHECK(nameless >= 0 && write(nameless, "nameless", 8) == 8);
	CHECK(lseek(fd, 1234, SEEK_SET) == 1234 && lseek(ro, 99, SEEK_SET) == 99);
	dup1 = dup(fd);
	child = subject_fork();
	if (!child) {
		subject_wait_mark("written");
		CHECK(lseek(fd, 0, SEEK_CUR) == 1236);
		CHECK(pread(ro, buf, 2, 1234) == 2 && memcmp(buf, "!!", 2) == 0);
		_exit(0);
	}
	subject_ready();
	subject_wait_go();
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == (5 << 20) + 3);
	CHECK(fstat(ro, &st2) == 0 && st2.st_ino == st.st_ino && st2.st_nlink == 0);
	CHECK(access(subject_path(path, "scratch"), F_OK) < 0);
	CHECK(pread(ro, buf, LEN, 0) == LEN && pattern_matches(buf, LEN, 3));
	CHECK(pread(ro, buf, 4, 5 << 20) == 3 && memcmp(buf, "end", 3) == 0);
	CHECK(lseek(ro, 0, SEEK_CUR) == 99 && lseek(dup1, 0, SEEK_CUR) == 1234);
	CHECK((fcntl(ro, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(write(dup1, "!!", 2) == 2 && lseek(fd, 0, SEEK_CUR) == 1236);
	CHECK(fstat(other_name, &st) == 0 && st.st_nlink == 1);
	CHECK(pread(other_name, buf, LEN, 0) == LEN && pattern_matches(buf, LEN, 4));
	CHECK(write(nameless, "!", 1) == 1 && pread(nameless, buf, LEN, 0) == 9 &&
	      memcmp(buf, "nameless!", 9) == 0);
	subject_mark("written");
	subject_reap(child);
	subject_ok();
}
