/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regular files and harmless devices: position, flags, who shares an offset with whom. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN 100000

static int reopen(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), flags, 0600);

	CHECK(fd >= 0);
	return fd;
}

static int move_to(int fd, int to, int cloexec)
{
	CHECK(dup3(fd, to, cloexec) == to);
	CHECK(close(fd) == 0);
	return to;
}

static void check_devices(int null, int zero, int full, int urandom)
{
	char buf[16];

	memset(buf, 7, sizeof(buf));
	CHECK(read(null, buf, 16) == 0 && write(null, buf, 16) == 16);
	CHECK(read(zero, buf, 16) == 16 && buf[0] == 0 && buf[15] == 0);
	CHECK(write(full, buf, 1) < 0);
	CHECK(read(urandom, buf, 16) == 16);
}

static int child_main(int shared, int dup)
{
	subject_wait_mark("child's turn");
	CHECK(lseek(shared, 0, SEEK_CUR) == 5000); /* the parent moved our offset too */
	CHECK(lseek(dup, 0, SEEK_CUR) == 5000);
	CHECK(lseek(dup, 6000, SEEK_SET) == 6000);
	return 0;
}

int main(void)
{
	int rw, ro, wo, append, shared, dup1, other, path_only, nonblock, gone_high;
	int null, zero, full, urandom;
	struct stat st;
	char buf[64];
	pid_t child;

	subject_init();
	rw = pattern_file("rw", LEN, 1);
	(void)close(pattern_file("other", LEN, 2));
	ro = reopen("rw", O_RDONLY | O_CLOEXEC);
	wo = reopen("wo", O_WRONLY | O_CREAT | O_SYNC);
	append = reopen("append", O_RDWR | O_CREAT | O_APPEND);
	shared = reopen("other", O_RDWR);
	dup1 = fcntl(shared, F_DUPFD_CLOEXEC, 200);
	other = reopen("other", O_RDWR); /* same file, own offset */
	path_only = reopen("other", O_PATH);
	nonblock = reopen("other", O_RDONLY | O_NONBLOCK | O_NOATIME);
	gone_high = move_to(reopen("rw", O_RDONLY | O_LARGEFILE), 900, O_CLOEXEC);
	null = reopen("../../../../../../../../../../dev/null", O_RDWR);
	zero = reopen("../../../../../../../../../../dev/zero", O_RDWR);
	full = reopen("../../../../../../../../../../dev/full", O_RDWR);
	urandom = reopen("../../../../../../../../../../dev/urandom", O_RDONLY);
	CHECK(lseek(rw, 777, SEEK_SET) == 777 && lseek(ro, LEN + 50, SEEK_SET) == LEN + 50);
	CHECK(write(wo, "abc", 3) == 3 && write(append, "first ", 6) == 6);
	CHECK(lseek(shared, 4000, SEEK_SET) == 4000 && lseek(other, 100, SEEK_SET) == 100);
	CHECK(lseek(gone_high, 31, SEEK_SET) == 31);
	child = subject_fork();
	if (!child)
		_exit(child_main(shared, dup1));
	subject_ready();
	subject_wait_go();

	CHECK(lseek(rw, 0, SEEK_CUR) == 777 && lseek(ro, 0, SEEK_CUR) == LEN + 50);
	CHECK(lseek(wo, 0, SEEK_CUR) == 3 && lseek(gone_high, 0, SEEK_CUR) == 31);
	CHECK(lseek(other, 0, SEEK_CUR) == 100);
	CHECK((fcntl(rw, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == O_RDWR);
	CHECK((fcntl(ro, F_GETFL) & O_ACCMODE) == O_RDONLY && fcntl(ro, F_GETFD) == FD_CLOEXEC);
	CHECK((fcntl(wo, F_GETFL) & (O_ACCMODE | O_SYNC)) == (O_WRONLY | O_SYNC));
	CHECK((fcntl(append, F_GETFL) & O_APPEND) && fcntl(append, F_GETFD) == 0);
	CHECK((fcntl(nonblock, F_GETFL) & (O_NONBLOCK | O_NOATIME)) == (O_NONBLOCK | O_NOATIME));
	CHECK(fcntl(gone_high, F_GETFD) == FD_CLOEXEC && fcntl(dup1, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(path_only, F_GETFL) & O_PATH);
	CHECK(fstat(path_only, &st) == 0 && st.st_size == LEN);
	CHECK(fcntl(901, F_GETFD) < 0); /* nothing of the restarter is left behind */
	CHECK(lseek(append, 0, SEEK_SET) == 0 && write(append, "second", 6) == 6);
	CHECK(pread(append, buf, sizeof(buf), 0) == 12 && memcmp(buf, "first second", 12) == 0);
	CHECK(lseek(dup1, 5000, SEEK_SET) == 5000 && lseek(shared, 0, SEEK_CUR) == 5000);
	subject_mark("child's turn");
	subject_reap(child);
	CHECK(lseek(shared, 0, SEEK_CUR) == 6000);
	CHECK(lseek(other, 0, SEEK_CUR) == 100);
	check_devices(null, zero, full, urandom);
	subject_ok();
}
