/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inotify instances: watches with gaps between their numbers, of folders, files, a file without a name
 * and one that is not to be followed; one-shot; shared with a child that waits. `inotify pending` leaves
 * events in the queue and accepts them or IN_Q_OVERFLOW, which it notes in the file "overflow"; `inotify
 * quiet` does not watch for looks at its folder; `inotify later` takes its event when there is a file "take".
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_file(const char *name)
{
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), O_CREAT | O_WRONLY, 0600);

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void append(const char *name)
{
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), O_WRONLY | O_APPEND);

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void expect(int fd, int wd, uint32_t mask, const char *name)
{
	static char buf[4096] __attribute__((__aligned__(8)));
	static size_t at, len;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	const struct inotify_event *e;

	if (at == len) {
		ssize_t n;

		CHECK(poll(&p, 1, 20000) == 1);
		n = read(fd, buf, sizeof(buf));
		CHECK(n > 0);
		len = (size_t)n;
		at = 0;
	}
	e = (const void *)(buf + at);
	if (e->wd != wd || e->mask != mask || strcmp(e->len ? e->name : "", name) != 0)
		subject_bad("event of watch %d mask 0x%x name '%s', not %d 0x%x '%s'", e->wd,
			    e->mask, e->len ? e->name : "", wd, mask, name);
	at += sizeof(*e) + e->len;
}

static void expect_none(int fd)
{
	char buf[4096];

	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(read(fd, buf, sizeof(buf)) < 0 && errno == EAGAIN);
}

static int watch(int fd, const char *name, uint32_t mask)
{
	char path[PATH_MAX];
	int wd = inotify_add_watch(fd, subject_path(path, name), mask);

	CHECK(wd > 0);
	return wd;
}

static void make_dirs(void)
{
	char path[PATH_MAX], other[PATH_MAX];

	CHECK(mkdir(subject_path(path, "dir"), 0700) == 0);
	CHECK(mkdir(subject_path(path, "dir/sub"), 0700) == 0);
	CHECK(mkdir(subject_path(path, "other dir"), 0700) == 0);
	CHECK(symlink("file", subject_path(path, "link")) == 0);
	make_file("dir/open");
	make_file("file");
	make_file("once");
	make_file("gone");
	CHECK(link(subject_path(path, "gone"), subject_path(other, "name2")) == 0);
	CHECK(unlink(path) == 0);
}

/* wd 1 to 5 are used up and given back. */
static int make_instance(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct inotify_event e;

	CHECK(fd >= 0);
	for (int wd = 1; wd <= 5; wd++) {
		CHECK(watch(fd, "file", IN_MODIFY) == wd && inotify_rm_watch(fd, wd) == 0);
		CHECK(read(fd, &e, sizeof(e)) == sizeof(e) && e.mask == IN_IGNORED && e.wd == wd);
	}
	return fd;
}

static void wait_in_child(int fd, int nameless)
{
	struct inotify_event e;

	CHECK(close(nameless) == 0);
	subject_mark("waiting");
	CHECK(read(fd, &e, sizeof(e)) == sizeof(e) && e.wd == 1 && e.mask == IN_ATTRIB);
	_exit(0);
}

static void plain(uint32_t dir_mask)
{
	char path[PATH_MAX];
	int fd, dir, sub, file, once, link, nameless, nameless_wd, held, blocking;
	pid_t child;

	make_dirs();
	held = open(subject_path(path, "dir/open"), O_RDWR);
	CHECK(held >= 0 && mmap(NULL, 1, PROT_READ, MAP_PRIVATE, held, 0) != MAP_FAILED);
	make_file("nameless");
	nameless = open(subject_path(path, "nameless"), O_RDWR);
	fd = make_instance();
	dir = watch(fd, "dir", dir_mask);
	sub = watch(fd, "other dir", IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR);
	CHECK(inotify_rm_watch(fd, sub) == 0);
	sub = watch(fd, "dir/sub", IN_CREATE | IN_MOVE_SELF);
	expect(fd, sub - 1, IN_IGNORED, "");
	file = watch(fd, "file", IN_MODIFY);
	once = watch(fd, "once", IN_MODIFY | IN_ONESHOT);
	link = watch(fd, "link", IN_DELETE_SELF | IN_ATTRIB | IN_DONT_FOLLOW);
	nameless_wd = watch(fd, "nameless", IN_MODIFY | IN_DELETE_SELF);
	CHECK(unlink(subject_path(path, "nameless")) == 0);
	CHECK(dir == 6 && sub == 8 && file == 9 && once == 10 && link == 11 && nameless_wd == 12);
	blocking = inotify_init1(0);
	CHECK(watch(blocking, "name2", IN_ATTRIB) == 1);
	child = subject_fork();
	if (!child)
		wait_in_child(blocking, nameless);
	subject_wait_mark("waiting");
	subject_ready();
	subject_wait_go();

	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(blocking, F_GETFD) == 0);
	expect_none(fd);
	append("file");
	expect(fd, file, IN_MODIFY, "");
	append("once");
	expect(fd, once, IN_MODIFY, "");
	expect(fd, once, IN_IGNORED, "");
	CHECK(mkdir(subject_path(path, "dir/sub/new"), 0700) == 0);
	expect(fd, sub, IN_CREATE | IN_ISDIR, "new");
	CHECK(write(held, "y", 1) == 1);
	expect(fd, dir, IN_MODIFY, "open");
	CHECK(unlink(subject_path(path, "link")) == 0);
	expect(fd, link, IN_ATTRIB, "");
	expect(fd, link, IN_DELETE_SELF, "");
	expect(fd, link, IN_IGNORED, "");
	CHECK(write(nameless, "z", 1) == 1);
	expect(fd, nameless_wd, IN_MODIFY, "");
	CHECK(close(nameless) == 0);
	expect(fd, nameless_wd, IN_DELETE_SELF, "");
	expect(fd, nameless_wd, IN_IGNORED, "");
	CHECK(watch(fd, "other dir", IN_CREATE) == 13);
	CHECK(inotify_rm_watch(fd, dir) == 0);
	expect(fd, dir, IN_IGNORED, "");
	expect_none(fd);
	CHECK(chmod(subject_path(path, "name2"), 0640) == 0);
	subject_reap(child);
}

static bool has_overflow(int fd)
{
	union {
		struct inotify_event e;
		char bytes[4096];
	} buf;
	ssize_t n = read(fd, &buf, sizeof(buf.e) + 16);

	CHECK(n >= (ssize_t)sizeof(buf.e));
	return buf.e.mask == IN_Q_OVERFLOW && buf.e.wd == -1 && n == sizeof(buf.e);
}

/* The events are taken when the test says so. */
static void later(void)
{
	int fd = inotify_init1(IN_NONBLOCK), dir;

	make_dirs();
	dir = watch(fd, "dir", IN_CREATE);
	make_file("dir/first");
	subject_ready();
	subject_wait_mark("take");
	expect(fd, dir, IN_CREATE, "first");
	subject_mark("taken");
	subject_wait_go();
	expect_none(fd);
	make_file("dir/second");
	expect(fd, dir, IN_CREATE, "second");
}

static void pending(void)
{
	int fd = inotify_init1(IN_NONBLOCK), dir;
	char path[PATH_MAX];

	make_dirs();
	dir = watch(fd, "dir", IN_CREATE | IN_DELETE);
	make_file("dir/first");
	make_file("dir/second");
	subject_ready();
	subject_wait_go();
	if (has_overflow(fd))
		make_file("overflow");
	else
		expect(fd, dir, IN_CREATE, "second");
	expect_none(fd);
	CHECK(unlink(subject_path(path, "dir/first")) == 0);
	expect(fd, dir, IN_DELETE, "first");
	expect_none(fd);
}

int main(int argc, char **argv)
{
	subject_init();
	if (argc > 1 && !strcmp(argv[1], "pending"))
		pending();
	else if (argc > 1 && !strcmp(argv[1], "later"))
		later();
	else
		plain(argc > 1 ? IN_MODIFY | IN_CREATE | IN_DELETE : IN_ALL_EVENTS);
	subject_ok();
}
