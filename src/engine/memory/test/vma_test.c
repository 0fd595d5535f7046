/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smaps parser on text that no kernel, or a hostile program, would write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory/vma.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

static int parse(const char *text, struct vma_list *ret)
{
	struct stasis_error err;

	return vma_list_parse(text, strlen(text), ret, &err);
}

static void reads_all_fields(void **state)
{
	struct vma_list l = { 0 };

	(void)state;
	assert_int_equal(parse("00400000-00452000 r-xs 00001000 fe:02 173521      /usr/bin/a b\n"
			       "Rss:                 12 kB\n"
			       "Anonymous:            8 kB\n"
			       "Swap:                 4 kB\n"
			       "SwapPss:              9 kB\n"
			       "VmFlags: rd ex mr mw gd zz sl \n",
			       &l),
			 0);
	assert_int_equal(l.nr, 1);
	assert_int_equal(l.v[0].start, 0x400000);
	assert_int_equal(l.v[0].end, 0x452000);
	assert_int_equal(l.v[0].prot, PROT_READ | PROT_EXEC);
	assert_int_equal(l.v[0].flags, VMA_F_SHARED | VMA_F_MAYWRITE | VMA_F_GROWSDOWN | VMA_F_SEALED);
	assert_int_equal(l.v[0].pgoff, 0x1000);
	assert_int_equal(l.v[0].dev, makedev(0xfe, 2));
	assert_int_equal(l.v[0].ino, 173521);
	assert_int_equal(l.v[0].rss_kb, 12);
	assert_int_equal(l.v[0].anon_kb, 8);
	assert_int_equal(l.v[0].swap_kb, 4);
	assert_string_equal(l.v[0].path, "/usr/bin/a b");
	vma_list_done(&l);
}

/* The first entry shows where the others' keys are; one that is laid out in another way is read as well. */
static void reads_entries_of_any_layout(void **state)
{
	static const char text[] =
		"00400000-00401000 r--p 00000000 00:00 0 \n"
		"Size:                  4 kB\nRss:                   1 kB\n"
		"Anonymous:             2 kB\nVmFlags: rd mr lo \n"
		"00500000-00501000 r--p 00000000 00:00 0          /a/rather/long/name\n"
		"Size:                  4 kB\nRss:                   3 kB\n"
		"Anonymous:             4 kB\nVmFlags: rd mr gd sl \n"
		"00600000-00601000 r--p 00000000 00:00 0 \n"
		"Size:           12345678901 kB\nRss:            9876543210 kB\n"
		"Anonymous:             5 kB\nProtectionKey:         3\nVmFlags: rd hg \n"
		"00700000-00701000 r--p 00000000 00:00 0 \n"
		"Anonymous:             6 kB\n"
		"00800000-00801000 r--p 00000000 00:00 0 \n"
		"Size:                  4 kB\nRss:                   7 kB\n"
		"Anonymous:             8 kB\nVmFlags: rd nh \n";
	static const struct {
		uint64_t rss_kb, anon_kb;
		uint32_t flags;
		uint64_t pkey;
	} want[] = {
		{ 1, 2, VMA_F_LOCKED, 0 },
		{ 3, 4, VMA_F_GROWSDOWN | VMA_F_SEALED, 0 },
		{ 9876543210, 5, VMA_F_HUGEPAGE, 3 },
		{ 0, 6, 0, 0 },
		{ 7, 8, VMA_F_NOHUGEPAGE, 0 },
	};
	struct vma_list l = { 0 };

	(void)state;
	assert_int_equal(parse(text, &l), 0);
	assert_int_equal(l.nr, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < l.nr; i++) {
		assert_int_equal(l.v[i].rss_kb, want[i].rss_kb);
		assert_int_equal(l.v[i].anon_kb, want[i].anon_kb);
		assert_int_equal(l.v[i].flags, want[i].flags);
		assert_int_equal(l.v[i].pkey, want[i].pkey);
	}
	assert_string_equal(l.v[1].path, "/a/rather/long/name");
	vma_list_done(&l);
}

static void keeps_odd_paths(void **state)
{
	struct vma_list l = { 0 };

	(void)state;
	assert_int_equal(parse("1000-2000 ---p 0 00:00 0 \n"
			       "2000-3000 ---p 0 00:01 7 /a\\012VmFlags: io\\b (deleted)\n"
			       "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
			       &l),
			 0);
	assert_int_equal(l.nr, 3);
	assert_null(l.v[0].path);
	assert_string_equal(l.v[1].path, "/a\nVmFlags: io\\b (deleted)");
	assert_int_equal(l.v[1].flags, 0);
	assert_string_equal(l.v[2].path, "[vsyscall]");
	vma_list_done(&l);
}

static void rejects_malformed_text(void **state)
{
	static const char *const bad[] = {
		"Rss: 1 kB\n",
		"1000-2000 rw-p 0 00:00 0",
		"1000 2000 rw-p 0 00:00 0\n",
		"2000-1000 rw-p 0 00:00 0\n",
		"1000-1000 rw-p 0 00:00 0\n",
		"1001-2000 rw-p 0 00:00 0\n",
		"11111111111111111-2000 rw-p 0 00:00 0\n",
		"1000-2000 rw-q 0 00:00 0\n",
		"1000-2000 rw\n",
		"1000-2000 rw-p 0 100000000:00 0\n",
		"1000-2000 rw-p 0 00:00 99999999999999999999999\n",
		"1000-3000 rw-p 0 00:00 0\n2000-4000 rw-p 0 00:00 0\n",
		"2000-3000 rw-p 0 00:00 0\n1000-2000 rw-p 0 00:00 0\n",
		"1000-2000 rw-p 0 00:00 0\n\n",
	};
	struct vma_list l = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], &l), -1);
		assert_null(l.v);
	}
}

static void rejects_nul_and_endless_line(void **state)
{
	static const char nul[] = "1000-2000 rw-p 0 00:00 1 /a\0b\n";
	static char line[65536];
	struct stasis_error err;
	struct vma_list l = { 0 };

	(void)state;
	assert_int_equal(vma_list_parse(nul, sizeof(nul) - 1, &l, &err), -1);
	memset(line, 'a', sizeof(line));
	assert_int_equal(vma_list_parse(line, sizeof(line), &l, &err), -1);
	assert_int_equal(parse("", &l), 0);
	assert_int_equal(l.nr, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_all_fields),
		cmocka_unit_test(reads_entries_of_any_layout),
		cmocka_unit_test(keeps_odd_paths),
		cmocka_unit_test(rejects_malformed_text),
		cmocka_unit_test(rejects_nul_and_endless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
