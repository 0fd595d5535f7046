/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the unit tests of image/ share: a scratch folder, whole files in memory, and images whose
 * digests are made right again after a change, so that the checks behind them are reached. */
#ifndef IMAGE_TEST_IMAGE_TEST_H
#define IMAGE_TEST_IMAGE_TEST_H

#include "image/image_priv.h"
#include "lib/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"

/* One test's folder; its path for programs, its descriptor for everything else. */
struct scratch {
	char path[256];
	int dirfd;
	struct stasis_error err;
};

static inline int scratch_setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));
	const char *base = getenv("TMPDIR");

	(void)snprintf(s->path, sizeof(s->path), "%s/image-test.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(s->path))
		return -1;
	s->dirfd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = s;
	return s->dirfd < 0 ? -1 : 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	DIR *dir = fdopendir(s->dirfd);
	struct dirent *e;

	while ((e = readdir(dir)))
		if (unlinkat(dirfd(dir), e->d_name, 0) < 0 && errno == EISDIR)
			(void)unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	(void)closedir(dir);
	(void)rmdir(s->path);
	free(s);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, scratch_setup, scratch_teardown)

/* How many files the folder has. */
static inline int scratch_count(struct scratch *s)
{
	int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), nr = 0;
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	while ((e = readdir(dir)))
		nr += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	(void)closedir(dir);
	return nr;
}

static inline void put_file(struct scratch *s, const char *name, const void *bytes, size_t len)
{
	int fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, bytes, len, NULL), 0);
	(void)close(fd);
}

static inline unsigned char *get_file(struct scratch *s, const char *name, size_t *ret_len)
{
	char *buf = NULL;

	assert_int_equal(io_read_file_at(s->dirfd, name, 64 << 20, &buf, ret_len, &s->err), 0);
	return (unsigned char *)buf;
}

/* A valid ImageInfo of one process. */
static inline void put_info(struct image_writer *w)
{
	static char name[] = "sleep.7", comm[] = "sleep";
	static uint8_t id[16];
	Stasis__Member member = STASIS__MEMBER__INIT, *members[] = {&member};
	Stasis__ImageInfo info = STASIS__IMAGE_INFO__INIT;

	member.pid = 7;
	member.ppid = 1;
	member.name = name;
	member.comm = comm;
	info.version = IMAGE_FORMAT_VERSION;
	info.dump_id.data = id;
	info.dump_id.len = sizeof(id);
	info.pid = info.root_pid = 7;
	info.members = members;
	info.n_members = 1;
	assert_int_equal(image_put_record(w, IMAGE_TAG_INFO, &info.base, NULL), 0);
}

static inline void put_load(struct image_writer *w, uint64_t vaddr, size_t pages, uint64_t memsz,
			    unsigned char fill)
{
	struct image_segment seg = {.type = IMAGE_SEG_LOAD, .vaddr = vaddr, .memsz = memsz,
				    .filesz = pages * IMAGE_ALIGN, .prot = 3};
	unsigned char *bytes = malloc(seg.filesz + 1);
	ssize_t i = image_add_segment(w, &seg, NULL);

	assert_true(i >= 0);
	for (size_t k = 0; k < seg.filesz; k++)
		bytes[k] = (unsigned char)(fill + k * 7 + k / 251);
	assert_int_equal(io_pwrite_full(image_draft_fd(w), bytes, seg.filesz, seg.offset, NULL), 0);
	image_set_digest(w, (size_t)i, image_digest(bytes, seg.filesz));
	free(bytes);
}

/* A small image with one of everything. */
static inline void put_sample(struct scratch *s, const char *name)
{
	static const char note[] = "five";
	Stasis__FdTable table = STASIS__FD_TABLE__INIT;
	Stasis__Fd fd = STASIS__FD__INIT, *fds[] = {&fd, &fd};
	struct image_writer *w;

	assert_int_equal(image_create(s->dirfd, name, false, &w, &s->err), 0);
	assert_int_equal(image_put_note(w, "CORE", 1, note, sizeof(note), &s->err), 0);
	put_info(w);
	put_load(w, 0x400000, 2, 0x5000, 1);
	put_load(w, 0x7fff00000000, 0, 0x1000, 0);
	assert_int_equal(image_put_bulk(w, 42, 10, "hello", 5, &s->err), 0);
	put_load(w, 0xffffffffff600000, 1, 0x1000, 99);
	fd.fd = 3;
	fd.desc = 9;
	table.fds = fds;
	table.n_fds = 2;
	assert_int_equal(image_put_record(w, IMAGE_TAG_FDTABLE, &table.base, &s->err), 0);
	assert_int_equal(image_seal(w, &s->err), 0);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	image_discard(w);
}

#include "image/test/fixup.h"

#endif
