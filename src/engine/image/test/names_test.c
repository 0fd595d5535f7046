/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File names of a tree's images, beginning with the CONVEX guide's own example. */
#include "image/names.h"
#include "image/test/image_test.h"

static const struct image_name_proc guide[] = {
	{.pid = 123, .comm = "csh"},
	{.pid = 124, .comm = "myprog", .parent = 0},
	{.pid = 125, .comm = "vi", .parent = 0},
	{.pid = 126, .comm = "spell", .parent = 2},
};

static void follows_the_guide(void **state)
{
	char names[4][IMAGE_NAME_SIZE];

	(void)state;
	assert_int_equal(image_names(NULL, guide, 4, names, NULL), 0);
	assert_string_equal(names[0], "csh.123");
	assert_string_equal(names[1], "csh.myprog.124");
	assert_string_equal(names[2], "csh.vi.125");
	assert_string_equal(names[3], "csh.vi.spell.126");
}

static void follows_the_guide_for_a_given_name(void **state)
{
	char names[4][IMAGE_NAME_SIZE];

	(void)state;
	assert_int_equal(image_names("abc", guide, 4, names, NULL), 0);
	assert_string_equal(names[0], "abc");
	assert_string_equal(names[1], "abc.myprog.124");
	assert_string_equal(names[2], "abc.vi.125");
	assert_string_equal(names[3], "abc.vi.spell.126");
}

enum { CHAIN = 100000 };

/* A chain of `nr` shells below the root csh, the last of them spell. */
static struct image_name_proc *chain(size_t nr)
{
	struct image_name_proc *procs = calloc(nr, sizeof(*procs));

	for (size_t i = 0; i < nr; i++) {
		procs[i].pid = (pid_t)(100 + i);
		procs[i].comm = i == nr - 1 ? "spell" : i == 0 ? "csh" : "sh";
		procs[i].parent = i ? i - 1 : 0;
	}
	return procs;
}

static void abbreviates_long_lineages(void **state)
{
	struct image_name_proc *procs = chain(CHAIN);
	char (*names)[IMAGE_NAME_SIZE] = calloc(CHAIN, sizeof(*names));

	(void)state;
	assert_int_equal(image_names(NULL, procs, CHAIN, names, NULL), 0);
	assert_string_equal(names[3], "csh.sh.sh.sh.103");
	assert_string_equal(names[CHAIN - 1], "csh...spell.100099");
	for (size_t i = 0; i < CHAIN; i++)
		assert_true(strlen(names[i]) <= 255);
	assert_int_equal(strlen(names[82]), 3 + 82 * 3 + 4); /* 253: the longest that fits */
	assert_string_equal(names[83], "csh...sh.183");
	assert_int_equal(image_names("abc", procs, CHAIN, names, NULL), 0);
	assert_string_equal(names[CHAIN - 1], "abc...spell.100099");
	free(names);
	free(procs);
}

static void uses_every_byte_of_a_name(void **state)
{
	struct image_name_proc procs[2] = {{.pid = 1, .comm = "a"}, {.pid = 2, .comm = "b"}};
	char names[2][IMAGE_NAME_SIZE], given[300];
	struct stasis_error err;

	(void)state;
	memset(given, 'x', sizeof(given));
	given[251] = '\0';
	assert_int_equal(image_names(given, procs, 2, names, &err), 0);
	assert_int_equal(strlen(names[1]), 255);
	assert_string_equal(names[1] + 251, ".b.2");
	given[251] = 'x';
	given[252] = '\0';
	assert_int_equal(image_names(given, procs, 2, names, &err), -1);
	assert_int_equal(err.cls, STASIS_E_USAGE);
	given[252] = 'x';
	given[255] = '\0';
	assert_int_equal(image_names(given, procs, 1, names, &err), 0);
	given[255] = 'x';
	given[256] = '\0';
	assert_int_equal(image_names(given, procs, 1, names, &err), -1);
	assert_int_equal(err.cls, STASIS_E_USAGE);
}

static void expect_comm(const char *comm, const char *want)
{
	struct image_name_proc proc = {.pid = 9, .comm = comm};
	char names[1][IMAGE_NAME_SIZE];

	assert_int_equal(image_names(NULL, &proc, 1, names, NULL), 0);
	assert_string_equal(names[0], want);
}

static void makes_hostile_names_harmless(void **state)
{
	(void)state;
	expect_comm("kworker/0:1", "kworker_0:1.9");
	expect_comm("../../etc/pass", "_._.._etc_pass.9");
	expect_comm(".hidden", "_hidden.9");
	expect_comm("-bash", "_bash.9");
	expect_comm("a-b.c d", "a-b.c d.9");
	expect_comm("\033[31m\n\t\177", "_[31m___.9");
	expect_comm("\xc3\xa4\x9b", "___.9");
	expect_comm("", "_.9");
	expect_comm("12345678901234567", "1234567890123456.9");
}

static void refuses_paths(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "/tmp"};
	char names[1][IMAGE_NAME_SIZE];
	struct stasis_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(image_names(bad[i], guide, 1, names, &err), -1);
		assert_int_equal(err.cls, STASIS_E_USAGE);
	}
}

static void refuses_a_parent_that_comes_later(void **state)
{
	struct image_name_proc procs[2] = {{.pid = 1, .comm = "a"},
					   {.pid = 2, .comm = "b", .parent = 1}};
	char names[2][IMAGE_NAME_SIZE];
	struct stasis_error err;

	(void)state;
	assert_int_equal(image_names(NULL, procs, 2, names, &err), -1);
	assert_int_equal(err.cls, STASIS_E_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_guide),
		cmocka_unit_test(follows_the_guide_for_a_given_name),
		cmocka_unit_test(abbreviates_long_lineages),
		cmocka_unit_test(uses_every_byte_of_a_name),
		cmocka_unit_test(makes_hostile_names_harmless),
		cmocka_unit_test(refuses_paths),
		cmocka_unit_test(refuses_a_parent_that_comes_later),
	};

	return cmocka_run_group_tests_name("image/names", tests, NULL, NULL);
}
