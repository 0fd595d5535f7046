/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From drafts to final names: all or none, on file systems with and without the flags of
 * renameat2(), and what is left behind when it fails. */
#include "image/test/image_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { MAX_DRAFTS = 128 };

struct drafts {
	struct image_writer *w[MAX_DRAFTS];
	int nr;
};

/* nr sealed drafts "f0", "f1", ...; the last one is the root. */
static void drafts_make(struct scratch *s, struct drafts *d, int nr, bool overwrite)
{
	char name[16];

	for (d->nr = 0; d->nr < nr; d->nr++) {
		(void)snprintf(name, sizeof(name), "f%d", d->nr);
		assert_int_equal(image_create(s->dirfd, name, overwrite, &d->w[d->nr], &s->err), 0);
		put_info(d->w[d->nr]);
		put_load(d->w[d->nr], 0x1000, 16, 0x10000, (unsigned char)d->nr);
		assert_int_equal(image_seal(d->w[d->nr], &s->err), 0);
	}
}

static int drafts_commit(struct scratch *s, struct drafts *d)
{
	return image_commit_all(d->w, (size_t)d->nr, s->dirfd, &s->err);
}

static void drafts_discard(struct drafts *d)
{
	for (int i = 0; i < d->nr; i++)
		image_discard(d->w[i]);
}

static bool is_image(struct scratch *s, const char *name)
{
	struct image *img;

	if (image_open(s->dirfd, name, &img, NULL) < 0)
		return false;
	image_close(img);
	return true;
}

static bool exists(struct scratch *s, const char *name)
{
	return faccessat(s->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_old(struct scratch *s, const char *name)
{
	char buf[4] = "";
	int fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)close(fd);
	return n == 3 && memcmp(buf, "old", 3) == 0;
}

static void commits_many_files(void **state)
{
	struct scratch *s = *state;
	struct timespec a, b;
	struct drafts d;

	drafts_make(s, &d, 100, false);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(drafts_commit(s, &d), 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("# 100 files: %ld us\n",
		      (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
	drafts_discard(&d);
	assert_int_equal(scratch_count(s), 100);
	assert_true(is_image(s, "f0") && is_image(s, "f99"));
}

static void commits_one_and_none(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	assert_int_equal(image_commit_all(NULL, 0, s->dirfd, &s->err), 0);
	drafts_make(s, &d, 1, false);
	assert_int_equal(drafts_commit(s, &d), 0);
	assert_int_equal(drafts_commit(s, &d), -1); /* only once */
	assert_int_equal(s->err.cls, STASIS_E_INTERNAL);
	drafts_discard(&d);
	assert_true(is_image(s, "f0"));
}

static void undoes_all_when_a_name_is_taken(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	drafts_make(s, &d, 5, false);
	put_file(s, "f3", "old", 3);
	assert_int_equal(drafts_commit(s, &d), -1);
	assert_int_equal(s->err.cls, STASIS_E_BUSY);
	assert_string_equal(s->err.text, "f3: file exists");
	assert_false(exists(s, "f0") || exists(s, "f2") || exists(s, "f4"));
	assert_true(is_old(s, "f3"));
	assert_int_equal(scratch_count(s), 6); /* and the drafts */
	assert_int_equal(unlinkat(s->dirfd, "f3", 0), 0);
	assert_int_equal(drafts_commit(s, &d), 0); /* they still are drafts */
	drafts_discard(&d);
	assert_int_equal(scratch_count(s), 5);
	assert_true(is_image(s, "f0") && is_image(s, "f4"));
}

static void discards_after_a_failure(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	drafts_make(s, &d, 5, false);
	put_file(s, "f4", "old", 3);
	assert_int_equal(drafts_commit(s, &d), -1);
	drafts_discard(&d);
	assert_int_equal(scratch_count(s), 1);
}

static void put_old(struct scratch *s, int nr)
{
	char name[16];

	for (int i = 0; i < nr; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		put_file(s, name, "old", 3);
	}
}

static void replaces_older_files(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	put_old(s, 2); /* the third is new */
	drafts_make(s, &d, 3, true);
	assert_int_equal(drafts_commit(s, &d), 0);
	drafts_discard(&d);
	assert_int_equal(scratch_count(s), 3);
	assert_true(is_image(s, "f0") && is_image(s, "f1") && is_image(s, "f2"));
}

static void brings_older_files_back(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	put_old(s, 3);
	drafts_make(s, &d, 5, true);
	assert_int_equal(mkdirat(s->dirfd, "f4", 0700), 0);
	assert_int_equal(drafts_commit(s, &d), -1);
	assert_string_equal(s->err.text, "f4: is a directory");
	drafts_discard(&d);
	assert_true(is_old(s, "f0") && is_old(s, "f1") && is_old(s, "f2"));
	assert_int_equal(scratch_count(s), 4);
}

static void replaces_a_link_not_its_target(void **state)
{
	struct scratch *s = *state;
	struct drafts d;

	put_file(s, "target", "old", 3);
	assert_int_equal(symlinkat("target", s->dirfd, "f0"), 0);
	drafts_make(s, &d, 1, true);
	assert_int_equal(drafts_commit(s, &d), 0);
	drafts_discard(&d);
	assert_true(is_old(s, "target") && is_image(s, "f0"));
	assert_int_equal(scratch_count(s), 2);
}

/* From here on renameat2() with a flag fails with EINVAL, as on NFS. */
static bool lose_rename_flags(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(*code), .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}

/* The checks that fail in the child, as bits; 0 when it is all right. */
static int without_flags(struct scratch *s, bool (*fn)(struct scratch *s))
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(!lose_rename_flags() ? 77 : fn(s) ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool child_commits(struct scratch *s)
{
	struct drafts d;
	bool ok;

	drafts_make(s, &d, 4, false);
	ok = drafts_commit(s, &d) == 0;
	drafts_discard(&d);
	return ok && scratch_count(s) == 4 && is_image(s, "f0") && is_image(s, "f3");
}

static bool child_is_refused(struct scratch *s)
{
	struct drafts d;
	bool ok;

	drafts_make(s, &d, 4, false);
	put_file(s, "f2", "old", 3);
	ok = drafts_commit(s, &d) == -1 && strcmp(s->err.text, "f2: file exists") == 0;
	drafts_discard(&d);
	return ok && scratch_count(s) == 1 && is_old(s, "f2");
}

static bool child_replaces(struct scratch *s)
{
	struct drafts d;
	bool ok;

	put_old(s, 2);
	drafts_make(s, &d, 3, true);
	ok = drafts_commit(s, &d) == 0;
	drafts_discard(&d);
	return ok && scratch_count(s) == 3 && is_image(s, "f0") && is_image(s, "f2");
}

static void needs_no_rename_flags(void **state)
{
	int result = without_flags(*state, child_commits);

	if (result == 77)
		skip();
	assert_int_equal(result, 0);
}

static void never_replaces_without_rename_flags(void **state)
{
	int result = without_flags(*state, child_is_refused);

	if (result == 77)
		skip();
	assert_int_equal(result, 0);
}

static void replaces_without_rename_flags(void **state)
{
	int result = without_flags(*state, child_replaces);

	if (result == 77)
		skip();
	assert_int_equal(result, 0);
}

static void commits_into_a_folder_it_cannot_read(void **state)
{
	struct scratch *s = *state;
	pid_t child = fork();
	struct drafts d;
	int status;

	if (child == 0) {
		if (getuid() == 0 && (fchown(s->dirfd, 65534, (gid_t)-1) < 0 || setuid(65534) < 0))
			_exit(77);
		drafts_make(s, &d, 2, false);
		if (fchmod(s->dirfd, 0300) < 0)
			_exit(77);
		_exit(drafts_commit(s, &d) == 0 && is_image(s, "f1") ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)fchmod(s->dirfd, 0700);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commits_many_files),
		TEST(commits_one_and_none),
		TEST(undoes_all_when_a_name_is_taken),
		TEST(discards_after_a_failure),
		TEST(replaces_older_files),
		TEST(brings_older_files_back),
		TEST(replaces_a_link_not_its_target),
		TEST(needs_no_rename_flags),
		TEST(never_replaces_without_rename_flags),
		TEST(replaces_without_rename_flags),
		TEST(commits_into_a_folder_it_cannot_read),
	};

	return cmocka_run_group_tests_name("image/commit", tests, NULL, NULL);
}
