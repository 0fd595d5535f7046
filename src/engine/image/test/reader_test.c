/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reader against what the writer made, and against every kind of damage to it. */
#include "image/test/image_test.h"

/* Open and, when that works, check the data. */
static int check(struct scratch *s, const char *name)
{
	struct image *img = NULL;
	int result;

	memset(&s->err, 0, sizeof(s->err));
	if (image_open(s->dirfd, name, &img, &s->err) < 0) {
		assert_null(img);
		assert_true(s->err.text[0] && !strchr(s->err.text, '\n'));
		return -1;
	}
	result = image_verify_data(img, 2, &s->err);
	image_close(img);
	return result;
}

static void check_is(struct scratch *s, const unsigned char *bytes, size_t len,
		     enum stasis_errclass cls, const char *text)
{
	put_file(s, "changed", bytes, len);
	assert_int_equal(check(s, "changed"), -1);
	assert_int_equal(s->err.cls, cls);
	if (!strstr(s->err.text, text))
		fail_msg("'%s' does not say '%s'", s->err.text, text);
}

/* The sample with `len` bytes at `offset` changed and all digests made right. */
static void forge(struct scratch *s, uint64_t offset, const void *bytes, size_t len,
		  const char *text)
{
	size_t file_len;
	unsigned char *file = get_file(s, "sample", &file_len);

	memcpy(file + offset, bytes, len);
	fix_digests(file, file_len);
	check_is(s, file, file_len, STASIS_E_CORRUPT, text);
	free(file);
}

static struct image_trailer sample_trailer(struct scratch *s)
{
	size_t len;
	unsigned char *file = get_file(s, "sample", &len);
	struct image_page page;

	memcpy(&page, file, sizeof(page));
	free(file);
	return page.trailer;
}

static void reads_back_what_was_written(void **state)
{
	struct scratch *s = *state;
	const Stasis__FdTable *table;
	const struct image_segment *seg;
	struct image *img;
	size_t len;

	put_sample(s, "sample");
	assert_int_equal(image_open(s->dirfd, "sample", &img, &s->err), 0);
	assert_int_equal(image_nr_segments(img), 4);
	seg = image_segment(img, 0);
	assert_true(seg->type == IMAGE_SEG_LOAD && seg->vaddr == 0x400000);
	assert_true(seg->memsz == 0x5000 && seg->filesz == 0x2000 && seg->prot == 3);
	seg = image_segment(img, 2);
	assert_true(seg->type == IMAGE_SEG_BULK && seg->object == 42 && seg->vaddr == 10);
	assert_true(seg->filesz == 5 && seg->digest == image_digest("hello", 5));
	assert_null(image_segment(img, 4));
	assert_string_equal(image_note(img, "CORE", 1, 0, &len), "five");
	assert_int_equal(len, 5);
	assert_null(image_note(img, "CORE", 1, 1, &len));
	assert_null(image_note(img, "CORE", 2, 0, &len));
	table = image_record(img, IMAGE_TAG_FDTABLE, 0, &stasis__fd_table__descriptor, &s->err);
	assert_non_null(table);
	assert_true(table->n_fds == 2 && table->fds[1]->fd == 3 && table->fds[1]->desc == 9);
	assert_ptr_equal(table, image_record(img, IMAGE_TAG_FDTABLE, 0,
					     &stasis__fd_table__descriptor, &s->err));
	assert_non_null(image_record(img, IMAGE_TAG_INFO, 0, &stasis__image_info__descriptor,
				     &s->err));
	assert_null(image_record(img, IMAGE_TAG_FDTABLE, 0, &stasis__mm__descriptor, &s->err));
	assert_int_equal(s->err.cls, STASIS_E_INTERNAL);
	assert_null(image_record(img, IMAGE_TAG_MM, 0, &stasis__mm__descriptor, &s->err));
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
	assert_int_equal(image_verify_data(img, 3, &s->err), 0);
	image_close(img);
}

static void keeps_the_order_of_equal_notes(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w;
	struct image *img;
	size_t len;

	assert_int_equal(image_create(s->dirfd, "many", false, &w, &s->err), 0);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(image_put_note(w, "CORE", 1, &i, sizeof(i), &s->err), 0);
		assert_int_equal(image_put_note(w, "LINUX", 0x202, &i, i % 5, &s->err), 0);
		assert_int_equal(image_put_note(w, "STASIS", 5000, &i, sizeof(i), &s->err), 0);
	}
	assert_int_equal(image_seal(w, &s->err), 0);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	image_discard(w);
	assert_int_equal(image_open(s->dirfd, "many", &img, &s->err), 0);
	for (int i = 0; i < 5000; i++) {
		assert_memory_equal(image_note(img, "CORE", 1, i, &len), &i, sizeof(i));
		assert_non_null(image_note(img, "LINUX", 0x202, i, &len));
		assert_int_equal(len, i % 5);
		assert_memory_equal(image_note(img, "STASIS", 5000, i, &len), &i, sizeof(i));
	}
	assert_int_equal(image_nr_records(img, IMAGE_TAG_THREAD), 0);
	image_close(img);
}

static void rejects_each_flipped_byte_of_page_0(void **state)
{
	struct scratch *s = *state;
	size_t len;
	unsigned char *file;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	for (size_t i = 0; i < IMAGE_ALIGN; i++) {
		file[i] ^= (unsigned char)(1u << i % 8);
		check_is(s, file, len, STASIS_E_CORRUPT, "changed'");
		file[i] ^= (unsigned char)(1u << i % 8);
	}
	free(file);
}

static void rejects_every_truncation(void **state)
{
	struct scratch *s = *state;
	size_t len;
	unsigned char *file;
	int fd;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	put_file(s, "changed", file, len);
	fd = openat(s->dirfd, "changed", O_WRONLY | O_CLOEXEC);
	for (size_t cut = len; cut-- > 0;) {
		assert_int_equal(ftruncate(fd, (off_t)cut), 0);
		assert_int_equal(check(s, "changed"), -1);
		assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
	}
	(void)close(fd);
	free(file);
}

static void rejects_appended_bytes(void **state)
{
	struct scratch *s = *state;
	size_t len;
	unsigned char *file;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	check_is(s, file, len + 1, STASIS_E_CORRUPT, "but its header says"); /* io's own NUL */
	free(file);
}

static void finds_any_flipped_bit(void **state)
{
	struct scratch *s = *state;
	size_t len;
	unsigned char *file;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	srandom(1);
	for (int i = 0; i < 6000; i++) {
		size_t at = (size_t)random() % len;
		unsigned char bit = (unsigned char)(1u << random() % 8);

		file[at] ^= bit;
		put_file(s, "changed", file, len);
		if (check(s, "changed") == 0)
			fail_msg("byte %zu, mask %d: not noticed", at, bit);
		assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
		file[at] ^= bit;
	}
	free(file);
}

static void names_the_first_bad_segment(void **state)
{
	struct scratch *s = *state;
	size_t len;
	unsigned char *file;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	file[0x1100] ^= 1;
	file[0x3001] ^= 1;
	check_is(s, file, len, STASIS_E_CORRUPT,
		 "image 'changed': segment 0 (address 0x400000): checksum mismatch");
	file[0x1100] ^= 1;
	check_is(s, file, len, STASIS_E_CORRUPT, "segment 2 (object offset 0xa): checksum");
	file[0x3001] ^= 1;
	file[0x3fff] ^= 1;
	check_is(s, file, len, STASIS_E_CORRUPT, "segment 2 (object offset 0xa): not zero behind");
	free(file);
}

static void rejects_foreign_files(void **state)
{
	struct scratch *s = *state;
	static unsigned char zeros[3 * 4096];
	static const unsigned char elf[8192] = "\177ELF\2\1\1";

	check_is(s, zeros, 0, STASIS_E_CORRUPT, "'changed' is not a Stasis image");
	check_is(s, zeros, 100, STASIS_E_CORRUPT, "is not a Stasis image");
	check_is(s, zeros, sizeof(zeros), STASIS_E_CORRUPT, "is not a Stasis image");
	check_is(s, elf, sizeof(elf), STASIS_E_CORRUPT, "is not a Stasis image");
	assert_int_equal(mkfifoat(s->dirfd, "fifo", 0600), 0);
	assert_int_equal(check(s, "fifo"), -1);
	assert_string_equal(s->err.text, "image 'fifo': not a regular file");
	assert_int_equal(check(s, "."), -1);
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
	assert_int_equal(check(s, "/dev/zero"), -1);
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
	assert_int_equal(check(s, "missing"), -1);
	assert_int_equal(s->err.cls, STASIS_E_GONE);
}

static void rejects_an_unsealed_draft(void **state)
{
	struct scratch *s = *state;
	struct image_writer *w;

	assert_int_equal(image_create(s->dirfd, "x", false, &w, &s->err), 0);
	put_load(w, 0x1000, 3, 0x3000, 1);
	assert_int_equal(check(s, w->draft), -1);
	assert_non_null(strstr(s->err.text, "is not a Stasis image"));
	image_discard(w);
}

#define TRAILER(field) (sizeof(Elf64_Ehdr) + offsetof(struct image_trailer, field))

static void rejects_impossible_tables(void **state)
{
	static const uint64_t evil[] = {0, 1, 4, 4095, 4096, 1ULL << 31, 1ULL << 32, 1ULL << 62,
					1ULL << 63, (1ULL << 63) + 4096, UINT64_MAX - 4095,
					UINT64_MAX};
	static const size_t fields[] = {TRAILER(file_len), TRAILER(notes_off), TRAILER(notes_len),
					TRAILER(phdrs_off), TRAILER(nr_phdrs)};
	struct scratch *s = *state;

	put_sample(s, "sample");
	for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++)
		for (size_t i = 0; i < sizeof(evil) / sizeof(*evil); i++)
			forge(s, fields[f], &evil[i], sizeof(evil[i]), "image 'changed'");
}

/* Change a field of program header i. */
static void forge_phdr(struct scratch *s, size_t i, size_t field, uint64_t value, size_t len,
		       const char *text)
{
	struct image_trailer t = sample_trailer(s);

	forge(s, t.phdrs_off + i * sizeof(Elf64_Phdr) + field, &value, len, text);
}

#define PHDR(field) offsetof(Elf64_Phdr, field)

static void rejects_impossible_segments(void **state)
{
	struct scratch *s = *state;

	put_sample(s, "sample");
	forge_phdr(s, 0, PHDR(p_filesz), 4, 8, "not the notes'");
	forge_phdr(s, 1, PHDR(p_type), PT_INTERP, 4, "segment 0: unknown kind");
	forge_phdr(s, 1, PHDR(p_flags), 8, 4, "segment 0: unknown kind");
	forge_phdr(s, 1, PHDR(p_offset), 0, 8, "segment 0: not in its place");
	forge_phdr(s, 1, PHDR(p_offset), 0x2000, 8, "segment 0: not in its place");
	forge_phdr(s, 1, PHDR(p_filesz), 0x6000, 8, "segment 0: more bytes in the file");
	forge_phdr(s, 1, PHDR(p_filesz), 0x5000, 8, "not in its place");
	forge_phdr(s, 1, PHDR(p_memsz), 0, 8, "segment 0: more bytes in the file");
	forge_phdr(s, 1, PHDR(p_memsz), UINT64_MAX - 4095, 8, "past the end of the address space");
	forge_phdr(s, 1, PHDR(p_vaddr), 0x400001, 8, "not page aligned");
	forge_phdr(s, 2, PHDR(p_memsz), 0, 8, "segment 1: has no length");
	forge_phdr(s, 3, PHDR(p_memsz), 6, 8, "segment 2: bulk bytes are missing");
	forge_phdr(s, 3, PHDR(p_vaddr), UINT64_MAX, 8, "past the end");
	forge_phdr(s, 4, PHDR(p_filesz), 0, 8, "do not fill the data area");
}

static void rejects_malformed_notes(void **state)
{
	static const uint32_t evil[] = {0x7fffffff, 0xffffffff, 0xfffffffc, 0x10000};
	struct scratch *s = *state;
	uint64_t notes;
	uint32_t zero = 0, len = 4;

	put_sample(s, "sample");
	notes = sample_trailer(s).notes_off;
	for (size_t i = 0; i < sizeof(evil) / sizeof(*evil); i++) {
		forge(s, notes, &evil[i], 4, "note at byte 0: out of bounds");
		forge(s, notes + 4, &evil[i], 4, "note at byte 0: out of bounds");
	}
	forge(s, notes, &zero, 4, "note at byte 0: out of bounds");
	forge(s, notes, &len, 4, "note at byte 0: out of bounds"); /* "CORE" without its NUL */
	forge(s, notes + 12, &zero, 1, "note at byte 0: out of bounds");
}

static void needs_one_list_of_digests(void **state)
{
	struct scratch *s = *state;
	struct image_trailer t;
	uint64_t at, one = 1;
	uint32_t tag = 1001, len = 32;

	put_sample(s, "sample");
	t = sample_trailer(s);
	at = t.notes_off + t.notes_len - 5 * 8 - 20; /* its head: 5 digests behind a name of 8 */
	forge(s, at + 8, &tag, 4, "has 0 lists of checksums");
	forge(s, at + 4, &len, 4, "out of bounds");
	forge(s, at + 20 + 2 * 8, &one, 8, "segment 1: checksum of no bytes");
}

static void refuses_other_versions_and_machines(void **state)
{
	struct scratch *s = *state;
	struct image_page page;
	size_t len;
	unsigned char *file;

	put_sample(s, "sample");
	file = get_file(s, "sample", &len);
	memcpy(&page, file, sizeof(page));
	page.trailer.version = 77;
	memcpy(file, &page, sizeof(page));
	fix_digests(file, len);
	check_is(s, file, len, STASIS_E_UNSUPPORTED,
		 "image 'changed' has format version 77, this Stasis reads 1");
	page.trailer.version = 1;
	page.ehdr.e_machine = EM_S390;
	memcpy(file, &page, sizeof(page));
	fix_digests(file, len);
	check_is(s, file, len, STASIS_E_UNSUPPORTED, "another architecture");
	free(file);
}

static void put_tagged(struct scratch *s, const char *name, uint32_t tag)
{
	struct image_writer *w;

	assert_int_equal(image_create(s->dirfd, name, false, &w, &s->err), 0);
	assert_int_equal(image_put_note(w, "STASIS", tag, "x", 1, &s->err), 0);
	assert_int_equal(image_seal(w, &s->err), 0);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	image_discard(w);
}

static void refuses_unknown_tags_below_1000(void **state)
{
	struct scratch *s = *state;

	put_tagged(s, "low", 999);
	put_tagged(s, "zero", 0);
	put_tagged(s, "high", 1000);
	assert_int_equal(check(s, "low"), -1);
	assert_int_equal(s->err.cls, STASIS_E_UNSUPPORTED);
	assert_non_null(strstr(s->err.text, "record of kind 999"));
	assert_int_equal(check(s, "zero"), -1);
	assert_int_equal(check(s, "high"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_back_what_was_written),
		TEST(keeps_the_order_of_equal_notes),
		TEST(rejects_each_flipped_byte_of_page_0),
		TEST(rejects_every_truncation),
		TEST(rejects_appended_bytes),
		TEST(finds_any_flipped_bit),
		TEST(names_the_first_bad_segment),
		TEST(rejects_foreign_files),
		TEST(rejects_an_unsealed_draft),
		TEST(rejects_impossible_tables),
		TEST(rejects_impossible_segments),
		TEST(rejects_malformed_notes),
		TEST(needs_one_list_of_digests),
		TEST(refuses_other_versions_and_machines),
		TEST(refuses_unknown_tags_below_1000),
	};

	return cmocka_run_group_tests_name("image/reader", tests, NULL, NULL);
}
