/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records whose bytes somebody made by hand. */
#include "image/test/image_test.h"

/* An image with one record of these bytes; the record, or NULL with s->err. */
static const void *load(struct scratch *s, enum image_tag tag,
			const ProtobufCMessageDescriptor *desc, const void *bytes, size_t len,
			struct image **ret)
{
	struct image_writer *w;

	assert_int_equal(image_create(s->dirfd, "r", true, &w, &s->err), 0);
	assert_int_equal(image_put_note(w, "STASIS", tag, bytes, len, &s->err), 0);
	assert_int_equal(image_seal(w, &s->err), 0);
	assert_int_equal(image_commit_all(&w, 1, s->dirfd, &s->err), 0);
	image_discard(w);
	memset(&s->err, 0, sizeof(s->err));
	assert_int_equal(image_open(s->dirfd, "r", ret, &s->err), 0);
	return image_record(*ret, tag, 0, desc, &s->err);
}

static void expect_fail(struct scratch *s, const void *bytes, size_t len, const char *text)
{
	struct image *img;

	assert_null(load(s, IMAGE_TAG_PROCESS, &stasis__process__descriptor, bytes, len, &img));
	if (!strstr(s->err.text, text))
		fail_msg("'%s' does not say '%s'", s->err.text, text);
	image_close(img);
}

/* A literal without its NUL. */
#define BYTES(text) (text), sizeof(text) - 1

static void rejects_malformed_bytes(void **state)
{
	struct scratch *s = *state;

	expect_fail(s, BYTES("\x08"), "malformed");
	expect_fail(s, BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "malformed");
	expect_fail(s, BYTES("\x2a\x05zz"), "malformed");
	expect_fail(s, BYTES("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "malformed");
	expect_fail(s, BYTES("\x00\x01"), "malformed");
	expect_fail(s, BYTES("\x0b\x0c"), "malformed"); /* groups */
	expect_fail(s, BYTES("\x0f"), "malformed");
	expect_fail(s, BYTES("\x2d\x01\x02\x03\x04"), "wrong type");
	expect_fail(s, BYTES("\x0a\x01z"), "wrong type");
	expect_fail(s, BYTES("\x82\x01\x03\x11zz"), "field handler: malformed");
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
}

static void rejects_what_the_parser_would_bend(void **state)
{
	struct scratch *s = *state;

	expect_fail(s, BYTES("\x08\x01\x08\x02"), "field pid: twice");
	expect_fail(s, BYTES("\x2a\x03"
			     "a\0b"), "field comm: a NUL inside");
	expect_fail(s, BYTES("\x30\x03"), "field state: unknown value");
	expect_fail(s, BYTES("\x30\x80\x80\x80\x80\x10"), "field state: unknown value");
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
}

static void refuses_unknown_fields_below_1000(void **state)
{
	struct scratch *s = *state;
	struct image *img;
	const Stasis__Process *p;

	expect_fail(s, BYTES("\xb8\x3e\x01"), "field 999 that this Stasis does not know");
	assert_int_equal(s->err.cls, STASIS_E_UNSUPPORTED);
	p = load(s, IMAGE_TAG_PROCESS, &stasis__process__descriptor,
		 BYTES("\x08\x05\xc0\x3e\x01\xc2\x3e\x02zz"), &img);
	assert_non_null(p);
	assert_int_equal(p->pid, 5);
	image_close(img);
}

static void takes_an_empty_record(void **state)
{
	struct scratch *s = *state;
	struct image *img;
	const Stasis__Process *p = load(s, IMAGE_TAG_PROCESS, &stasis__process__descriptor, "", 0,
					&img);

	assert_non_null(p);
	assert_string_equal(p->comm, "");
	image_close(img);
}

static void bounds_the_memory_of_a_record(void **state)
{
	enum { NR = 4 << 20 };
	struct scratch *s = *state;
	unsigned char *bomb = malloc(NR * 2);
	struct image *img;

	for (size_t i = 0; i < NR; i++) /* Mm.vmas, each an empty message */
		memcpy(bomb + 2 * i, "\x72", 2);
	assert_null(load(s, IMAGE_TAG_MM, &stasis__mm__descriptor, bomb, NR * 2, &img));
	assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
	assert_non_null(strstr(s->err.text, "too much memory"));
	image_close(img);
	free(bomb);
}

/* The densest list of real use must not reach that bound. */
static void takes_a_million_descriptors(void **state)
{
	enum { NR = 1 << 20 };
	struct scratch *s = *state;
	unsigned char *bytes = malloc(NR * 4);
	const Stasis__FdTable *table;
	struct image *img;

	for (size_t i = 0; i < NR; i++)
		memcpy(bytes + 4 * i, "\x0a\x02\x18\x01", 4);
	table = load(s, IMAGE_TAG_FDTABLE, &stasis__fd_table__descriptor, bytes, NR * 4, &img);
	assert_non_null(table);
	assert_int_equal(table->n_fds, NR);
	image_close(img);
	free(bytes);
}

/* ---- ImageInfo */

struct sample_info {
	Stasis__ImageInfo info;
	Stasis__Member members[3], *list[3];
	uint8_t id[16];
	char names[3][16];
};

static void info_init(struct sample_info *si)
{
	memset(si, 0, sizeof(*si));
	stasis__image_info__init(&si->info);
	for (int i = 0; i < 3; i++) {
		stasis__member__init(&si->members[i]);
		(void)snprintf(si->names[i], sizeof(si->names[i]), "file%d", i);
		si->members[i].pid = (uint32_t)(10 + i);
		si->members[i].name = si->names[i];
		si->list[i] = &si->members[i];
	}
	si->info.version = 1;
	si->info.dump_id.data = si->id;
	si->info.dump_id.len = sizeof(si->id);
	si->info.pid = 11;
	si->info.root_pid = 10;
	si->info.members = si->list;
	si->info.n_members = 3;
}

static void expect_info(struct scratch *s, struct sample_info *si, const char *text)
{
	uint8_t buf[1024];
	size_t len = stasis__image_info__pack(&si->info, buf);
	struct image *img;
	const void *record = load(s, IMAGE_TAG_INFO, &stasis__image_info__descriptor, buf, len,
				  &img);

	if (!text) {
		assert_non_null(record);
	} else {
		assert_null(record);
		assert_int_equal(s->err.cls, STASIS_E_CORRUPT);
		if (!strstr(s->err.text, text))
			fail_msg("'%s' does not say '%s'", s->err.text, text);
	}
	image_close(img);
	info_init(si);
}

static void checks_the_list_of_processes(void **state)
{
	struct scratch *s = *state;
	struct sample_info si;

	info_init(&si);
	expect_info(s, &si, NULL);
	si.members[2].name = si.names[0] + 5; /* "" */
	expect_info(s, &si, NULL);
	si.members[1].pid = 0;
	expect_info(s, &si, "impossible pid 0");
	si.members[1].pid = 1u << 22;
	expect_info(s, &si, "impossible pid");
	si.members[1].ppid = UINT32_MAX;
	expect_info(s, &si, "impossible pid");
	si.members[2].pid = 10;
	expect_info(s, &si, "twice");
	(void)snprintf(si.names[2], sizeof(si.names[2]), "../x");
	expect_info(s, &si, "'../x' is no file name");
	(void)snprintf(si.names[2], sizeof(si.names[2]), "..");
	expect_info(s, &si, "is no file name");
	si.info.pid = 9;
	expect_info(s, &si, "not listed");
	si.info.root_pid = 11;
	expect_info(s, &si, "not listed");
	si.info.n_members = 0;
	expect_info(s, &si, "lists 0 processes");
	si.info.dump_id.len = 15;
	expect_info(s, &si, "dump id has 15 bytes");
	si.info.version = 2;
	expect_info(s, &si, "versions of header and ImageInfo differ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rejects_malformed_bytes),
		TEST(rejects_what_the_parser_would_bend),
		TEST(refuses_unknown_fields_below_1000),
		TEST(takes_an_empty_record),
		TEST(bounds_the_memory_of_a_record),
		TEST(takes_a_million_descriptors),
		TEST(checks_the_list_of_processes),
	};

	return cmocka_run_group_tests_name("image/record", tests, NULL, NULL);
}
