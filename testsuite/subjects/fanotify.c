/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fanotify groups: marks of a file with an ignored mask, of a folder's children, of a mount and of a file
 * system; `fanotify user` has what an ordinary user may have (Linux 5.13); `fanotify unread` leaves an
 * event in the queue.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARK_FILESYSTEM = 0x100, REPORT_FID = 0x200 };

static void touch(const char *name)
{
	char path[PATH_MAX];
	int fd = open(subject_path(path, name), O_CREAT | O_WRONLY | O_APPEND, 0600);

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void mark(int fd, const char *name, unsigned flags, uint64_t mask)
{
	char path[PATH_MAX];

	CHECK(fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, subject_path(path, name)) == 0);
}

/* The next event must be this. Descriptors of events lead to the file. */
static void expect(int fd, uint64_t mask, const char *name)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct fanotify_event_metadata e[8];
	struct stat want, got;
	char path[PATH_MAX];

	/* one; those without a descriptor are longer */
	CHECK(poll(&p, 1, 20000) == 1);
	CHECK(read(fd, e, name ? FAN_EVENT_METADATA_LEN : sizeof(e)) >= (ssize_t)FAN_EVENT_METADATA_LEN);
	if (e[0].mask != mask)
		subject_bad("event 0x%llx, not 0x%llx", (unsigned long long)e[0].mask,
			    (unsigned long long)mask);
	if (!name)
		return;
	CHECK(stat(subject_path(path, name), &want) == 0 && fstat(e[0].fd, &got) == 0);
	CHECK(want.st_ino == got.st_ino && close(e[0].fd) == 0);
}

static void expect_none(int fd)
{
	char buf[4096];

	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(read(fd, buf, sizeof(buf)) < 0 && errno == EAGAIN);
}

static void privileged(void)
{
	const unsigned flags = FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC;
	int files = fanotify_init(flags, O_RDONLY | O_CLOEXEC), wide = fanotify_init(flags, O_RDONLY);

	CHECK(files >= 0 && wide >= 0);
	mark(files, "file", 0, FAN_MODIFY);
	mark(files, "dir", 0, FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD);
	mark(files, "quiet", 0, FAN_MODIFY | FAN_CLOSE_WRITE);
	mark(files, "quiet", FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY);
	/* events that nobody else here causes */
	mark(wide, "mnt", FAN_MARK_MOUNT, FAN_CLOSE_WRITE);
	mark(wide, "mnt", MARK_FILESYSTEM, FAN_MODIFY);
	subject_ready();
	subject_wait_go();
	expect_none(files);
	expect_none(wide);
	CHECK(fcntl(files, F_GETFD) == FD_CLOEXEC);
	touch("file");
	expect(files, FAN_MODIFY, "file");
	touch("dir/child");
	expect(files, FAN_CLOSE_WRITE, "dir/child");
	touch("quiet");
	expect(files, FAN_CLOSE_WRITE, "quiet");
	expect_none(files);
	touch("mnt/new");
	expect(wide, FAN_MODIFY | FAN_CLOSE_WRITE, "mnt/new");
	expect_none(wide);
}

static void unprivileged(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | REPORT_FID, O_RDONLY);

	CHECK(fd >= 0);
	mark(fd, "file", 0, FAN_MODIFY);
	subject_ready();
	subject_wait_go();
	expect_none(fd);
	touch("file");
	expect(fd, FAN_MODIFY, NULL);
}

static void unread(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);

	CHECK(fd >= 0);
	mark(fd, "file", 0, FAN_MODIFY);
	touch("file");
	subject_ready();
	subject_wait_go();
	expect(fd, FAN_MODIFY, "file");
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	char path[PATH_MAX];

	subject_init();
	touch("file");
	touch("quiet");
	CHECK(mkdir(subject_path(path, "dir"), 0700) == 0);
	CHECK(symlink("../mnt", subject_path(path, "mnt")) == 0); /* a mount of the test's */
	if (!strcmp(how, "user"))
		unprivileged();
	else if (!strcmp(how, "unread"))
		unread();
	else
		privileged();
	subject_ok();
}
