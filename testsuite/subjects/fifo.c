/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Named pipes with unread bytes, opened once for both directions and once for each. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	char path[PATH_MAX], path2[PATH_MAX], text[64];
	int both, r, w;
	pid_t child;

	subject_init();
	CHECK(mkfifo(subject_path(path, "both"), 0600) == 0);
	CHECK(mkfifo(subject_path(path2, "ends"), 0600) == 0);
	both = open(path, O_RDWR | O_CLOEXEC);
	r = open(path2, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	w = open(path2, O_WRONLY | O_CLOEXEC);
	CHECK(both >= 0 && r >= 0 && w >= 0);
	CHECK(fcntl(r, F_SETFL, 0) == 0);
	CHECK(write(both, "in both", 7) == 7 && write(w, "half of the ", 12) == 12);
	child = subject_fork();
	if (!child) {
		subject_wait_mark("child's turn");
		CHECK(write(w, "words", 5) == 5);
		_exit(0);
	}
	CHECK(close(w) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(read(both, text, sizeof(text)) == 7 && memcmp(text, "in both", 7) == 0);
	CHECK(!(fcntl(r, F_GETFL) & O_NONBLOCK));
	subject_mark("child's turn");
	subject_reap(child);
	CHECK(read(r, text, sizeof(text)) == 17 && memcmp(text, "half of the words", 17) == 0);
	CHECK(read(r, text, sizeof(text)) == 0);
	subject_ok();
}
