/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages between clients and daemons: what is put in comes out, and nothing else is taken. */
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct wire_msg *m, const char *text, size_t len, struct stasis_error *err)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->text, text, len);
	m->len = len;
	return wire_parse(m, err);
}

static void fields_come_back(void **state)
{
	static struct wire_msg m;
	struct wire_msg *got = &m;
	uint64_t n;

	(void)state;
	memset(&m, 0, sizeof(m));
	assert_int_equal(wire_put(&m, "op", "create", NULL), 0);
	assert_int_equal(wire_put_number(&m, "job", 4294967295u, NULL), 0);
	assert_int_equal(wire_put(&m, "image_dir", "/a b=c\xc3\xa4", NULL), 0);
	assert_int_equal(wire_put(&m, "message", "", NULL), 0);
	assert_int_equal(wire_parse(got, NULL), 0);
	assert_string_equal(wire_get(got, "op"), "create");
	assert_string_equal(wire_get(got, "image_dir"), "/a b=c\xc3\xa4");
	assert_string_equal(wire_get(got, "message"), "");
	assert_null(wire_get(got, "step"));
	assert_int_equal(wire_get_number(got, "job", UINT32_MAX, 0, &n, NULL), 0);
	assert_int_equal(n, 4294967295u);
	assert_int_equal(wire_get_number(got, "step", 10, 7, &n, NULL), 0);
	assert_int_equal(n, 7);
}

static void refuses_control_characters_and_what_is_too_long(void **state)
{
	static struct wire_msg m;
	static char long_text[WIRE_MAX_TEXT + 1];
	struct stasis_error err;
	size_t before;

	(void)state;
	memset(&m, 0, sizeof(m));
	memset(long_text, 'x', sizeof(long_text) - 1);
	assert_int_equal(wire_put(&m, "a", "1\njob=2", &err), -1);
	assert_int_equal(err.cls, STASIS_E_USAGE);
	assert_int_equal(wire_put(&m, "a", "\x7f", &err), -1);
	assert_int_equal(wire_put(&m, "a", "b", &err), 0);
	before = m.len;
	assert_int_equal(wire_put(&m, "b", long_text, &err), -1);
	assert_int_equal(m.len, before);
	assert_int_equal(wire_parse(&m, &err), 0);
	assert_int_equal(m.nr_fields, 1);
}

static void refuses_malformed_text(void **state)
{
	static const char *const bad[] = {
		"op",	   "op=create", "=x\n",	      "op\n",	      "Op=x\n",	 "op=x\nop=y\n",
		"\n",	   "a=b\n\n",	"a=\x01\n", "a=b\nc",       "a b=c\n", "a-b=c\n",
		"1=2\n", "abcdefghijklmnopqrstuvwxy=1\n",
	};
	static struct wire_msg m;
	struct stasis_error err;
	char many[512] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&m, bad[i], strlen(bad[i]), &err), -1);
		assert_int_equal(err.cls, STASIS_E_CORRUPT);
	}
	assert_int_equal(parse(&m, "a=b\0c\n", 6, &err), -1);
	for (int i = 0; i <= WIRE_MAX_FIELDS; i++) { /* as many as there may be, then one more */
		char line[8] = {(char)('a' + i % 26), (char)('a' + i / 26), '=', '1', '\n', '\0'};

		assert_int_equal(parse(&m, many, strlen(many), &err), 0);
		(void)strcat(many, line);
	}
	assert_int_equal(parse(&m, many, strlen(many), &err), -1);
	assert_int_equal(parse(&m, "", 0, &err), 0);
}

static void numbers_are_numbers(void **state)
{
	static const char *const bad[] = {"n=\n",    "n=-1\n", "n=+1\n",   "n= 1\n",
					  "n=1 \n", "n=1x\n", "n=0x1\n", "n=18446744073709551616\n",
					  "n=101\n"};
	static struct wire_msg m;
	struct stasis_error err;
	uint64_t n = 5;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&m, bad[i], strlen(bad[i]), &err), 0);
		assert_int_equal(wire_get_number(&m, "n", 100, 0, &n, &err), -1);
		assert_int_equal(err.cls, STASIS_E_CORRUPT);
		assert_int_equal(n, 5);
	}
}

static void frames_are_bounded(void **state)
{
	static const unsigned char none[4] = {0, 0, 0, 0}, small[4] = {0, 0, 1, 2},
				   large[4] = {0, 0, 0x80, 1}, huge[4] = {255, 255, 255, 255};

	(void)state;
	assert_int_equal(wire_frame_len(none), 0);
	assert_int_equal(wire_frame_len(small), 258);
	assert_int_equal(wire_frame_len(large), 0);
	assert_int_equal(wire_frame_len(huge), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_back),
		cmocka_unit_test(refuses_control_characters_and_what_is_too_long),
		cmocka_unit_test(refuses_malformed_text),
		cmocka_unit_test(numbers_are_numbers),
		cmocka_unit_test(frames_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
