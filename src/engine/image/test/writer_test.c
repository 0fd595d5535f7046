/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drafts: their names and life, large files, many segments, and callers who break the contract. */
#include "image/test/image_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

static struct image_writer *create(struct scratch *s, const char *name)
{
	struct image_writer *w = NULL;

	assert_int_equal(image_create(s->dirfd, name, false, &w, &s->err), 0);
	return w;
}

static void finish(struct scratch *s, struct image_writer *w)
{
	if (image_seal(w, &s->err) < 0 || image_commit_all(&w, 1, s->dirfd, &s->err) < 0)
		fail_msg("%s", s->err.text);
	image_discard(w);
}

static void hides_and_protects_the_draft(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w = create(s, "name"), *second = create(s, "name");
	char want[64];
	struct stat st;

	(void)snprintf(want, sizeof(want), ".name.%d.0.draft", (int)getpid());
	assert_int_equal(fstatat(s->dirfd, want, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fcntl(image_draft_fd(w), F_GETFD), FD_CLOEXEC);
	assert_int_equal(scratch_count(s), 2);
	image_discard(w);
	image_discard(second);
	image_discard(NULL);
	assert_int_equal(scratch_count(s), 0);
}

static void refuses_names_that_are_none(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w = NULL;
	char longest[257];

	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(image_create(s->dirfd, "a/b", false, &w, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_USAGE);
	assert_int_equal(image_create(s->dirfd, "", false, &w, &s->err), -1);
	assert_int_equal(image_create(s->dirfd, "..", true, &w, &s->err), -1);
	assert_int_equal(image_create(s->dirfd, longest, true, &w, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_USAGE);
	assert_null(w);
	assert_int_equal(scratch_count(s), 0);
}

static void takes_the_longest_names(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w[40];
	char name[256];

	memset(name, 'n', 255);
	name[255] = '\0';
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name + 250, 6, "%05d", i);
		w[i] = create(s, name);
		assert_true(strlen(w[i]->draft) <= 255);
		assert_int_equal(image_seal(w[i], &s->err), 0);
	}
	assert_int_equal(image_commit_all(w, 40, s->dirfd, &s->err), 0);
	for (int i = 0; i < 40; i++)
		image_discard(w[i]);
	assert_int_equal(scratch_count(s), 40);
}

static void refuses_an_existing_file(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w = NULL;

	put_file(s, "there", "x", 1);
	assert_int_equal(symlinkat("nowhere", s->dirfd, "link"), 0);
	assert_int_equal(mkdirat(s->dirfd, "folder", 0700), 0);
	assert_int_equal(image_create(s->dirfd, "there", false, &w, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_BUSY);
	assert_string_equal(s->err.text, "there: file exists");
	assert_int_equal(image_create(s->dirfd, "link", false, &w, &s->err), -1);
	assert_string_equal(s->err.text, "link: file exists");
	assert_int_equal(image_create(s->dirfd, "folder", true, &w, &s->err), -1);
	assert_string_equal(s->err.text, "folder: is a directory");
	assert_int_equal(image_create(s->dirfd, "there", true, &w, &s->err), 0);
	image_discard(w);
	assert_int_equal(scratch_count(s), 3);
}

static void reports_a_missing_folder(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w = NULL;

	assert_int_equal(image_create(-1, "x", false, &w, &s->err), -1);
	assert_int_equal(s->err.sys_errno, EBADF);
}

static void refuses_broken_segments(void **state)
{
	static const struct image_segment bad[] = {
		{.memsz = 4096, .filesz = 8192},
		{.vaddr = UINT64_MAX - 4095, .memsz = 8192, .filesz = 4096},
		{.vaddr = 1, .memsz = 4096, .filesz = 4096},
		{.vaddr = 0, .memsz = 4096, .filesz = 100},
		{.vaddr = 0, .memsz = 0, .filesz = 0},
		{.vaddr = 0, .memsz = 4096, .prot = 0x1000000},
		{.type = IMAGE_SEG_BULK, .memsz = 4096, .filesz = 100},
		{.memsz = 1ULL << 63, .filesz = 1ULL << 63},
	};
	struct scratch *s = *state;
	struct image_writer *w = create(s, "x");

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct image_segment seg = bad[i];

		assert_int_equal(image_add_segment(w, &seg, &s->err), -1);
		assert_true(s->err.cls == STASIS_E_INTERNAL || s->err.cls == STASIS_E_UNSUPPORTED);
	}
	image_discard(w);
}

static void refuses_to_seal_unwritten_segments(void **state)
{
	struct image_segment seg = {.memsz = 4096, .filesz = 4096};
	struct scratch *s = *state;
	struct image_writer *w = create(s, "x");

	assert_int_equal(image_add_segment(w, &seg, &s->err), 0);
	image_set_digest(w, 7, 1); /* no such segment */
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_INTERNAL);
	assert_int_equal(image_seal(w, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_INTERNAL);
	image_discard(w);
	assert_int_equal(scratch_count(s), 0);
}

static void refuses_additions_after_sealing(void **state)
{
	struct image_segment seg = {.memsz = 4096};
	struct scratch *s = *state;
	struct image_writer *w = create(s, "x");
	uint64_t size;

	assert_int_equal(image_file_size(w), 4096);
	assert_int_equal(image_seal(w, &s->err), 0);
	size = image_file_size(w);
	assert_true(size > 4096);
	assert_int_equal(image_seal(w, &s->err), -1);
	assert_int_equal(image_add_segment(w, &seg, &s->err), -1);
	assert_int_equal(image_put_note(w, "CORE", 1, "", 0, &s->err), -1);
	assert_int_equal(image_put_bulk(w, 1, 0, "x", 1, &s->err), -1);
	assert_int_equal(image_put_bulk(w, 1, 0, "", 0, &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_INTERNAL);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	assert_int_equal(image_file_size(w), size);
	image_discard(w);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* That many segments, each other one with a page in the file. */
static void many_segments(struct scratch *s, size_t nr)
{
	struct image_writer *w = create(s, "many");
	struct image *img;

	for (size_t i = 0; i < nr; i++)
		put_load(w, 0x10000 + i * 0x3000, i % 64 == 0, 0x2000, (unsigned char)i);
	finish(s, w);
	assert_int_equal(image_open(s->dirfd, "many", &img, &s->err), 0);
	assert_int_equal(image_nr_segments(img), nr);
	for (size_t i = 0; i < nr; i += 97)
		assert_int_equal(image_segment(img, i)->vaddr, 0x10000 + i * 0x3000);
	assert_int_equal(image_verify_data(img, 2, &s->err), 0);
	image_close(img);
	(void)unlinkat(s->dirfd, "many", 0);
}

static void counts_more_headers_than_16_bits(void **state)
{
	static const size_t edges[] = {0, 1, 65532, 65533, 65534, 65535, 65536};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		many_segments(s, edges[i]);
}

static void takes_100000_segments_quickly(void **state)
{
	struct scratch *s = *state;
	uint64_t start = now_ms();

	many_segments(s, 100000);
	print_message("# 100,000 segments: %llu ms\n", (unsigned long long)(now_ms() - start));
	assert_true(now_ms() - start < 20000); /* quadratic work would take minutes */
}

static void goes_beyond_4_gib(void **state)
{
	struct image_segment hole = {.vaddr = 0x100000, .memsz = 5ULL << 30, .filesz = 5ULL << 30};
	struct scratch *s = *state;
	struct image_writer *w = create(s, "large");
	struct image *img;
	ssize_t index = image_add_segment(w, &hole, &s->err);

	image_set_digest(w, (size_t)index, 1);
	put_load(w, 0x7000000000, 1, 4096, 5);
	finish(s, w);
	assert_int_equal(image_open(s->dirfd, "large", &img, &s->err), 0);
	assert_int_equal(image_segment(img, 1)->offset, (5ULL << 30) + 4096);
	assert_int_equal(image_segment(img, 0)->filesz, 5ULL << 30);
	if (getenv("STASIS_TEST_LARGE")) { /* reads 5 GiB */
		assert_int_equal(image_verify_data(img, 2, &s->err), -1);
		assert_non_null(strstr(s->err.text, "segment 0 (address 0x100000): checksum"));
	}
	image_close(img);
}

static void reports_a_full_disk(void **state)
{
	struct rlimit old, limit;
	struct scratch *s = *state;
	struct image_writer *w = create(s, "x");
	char bytes[8192] = "x";

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 6000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(image_put_bulk(w, 1, 0, bytes, sizeof(bytes), &s->err), -1);
	assert_int_equal(s->err.cls, STASIS_E_IO);
	assert_non_null(strstr(s->err.text, "image 'x': "));
	assert_int_equal(image_put_note(w, "CORE", 1, bytes, sizeof(bytes), &s->err), 0);
	assert_int_equal(image_seal(w, &s->err), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	image_discard(w);
	assert_int_equal(scratch_count(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hides_and_protects_the_draft),
		TEST(refuses_names_that_are_none),
		TEST(takes_the_longest_names),
		TEST(refuses_an_existing_file),
		TEST(reports_a_missing_folder),
		TEST(refuses_broken_segments),
		TEST(refuses_to_seal_unwritten_segments),
		TEST(refuses_additions_after_sealing),
		TEST(counts_more_headers_than_16_bits),
		TEST(takes_100000_segments_quickly),
		TEST(goes_beyond_4_gib),
		TEST(reports_a_full_disk),
	};

	return cmocka_run_group_tests_name("image/writer", tests, NULL, NULL);
}
