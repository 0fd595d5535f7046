/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Regular files, folders, sharing of descriptions, copies, and what a restart says of changed files. */
#include "resource/test/round.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static void put_text(struct round *r, const char *name, const char *text)
{
	int fd = openat(r->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void path_in(const struct round *r, const char *name, char path[300])
{
	(void)snprintf(path, 300, "%s/%s", r->dir, name);
}

static int open_in(const struct round *r, const char *name, int flags)
{
	char path[300];

	path_in(r, name, path);
	return open(path, flags, 0600);
}

static off_t pos_of(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

/* ---- */

static void build_flags(struct round *r)
{
	NEED(open_in(r, "a", O_RDONLY) == 3 && lseek(3, 5, SEEK_SET) == 5);
	NEED(open_in(r, "a", O_RDWR | O_APPEND | O_CLOEXEC) == 4 && lseek(4, 2, SEEK_SET) == 2);
	NEED(open_in(r, "a", O_WRONLY | O_SYNC) == 5);
	NEED(open_in(r, "a", O_PATH) == 6);
	NEED(open_in(r, "b", O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_NONBLOCK) == 7);
	NEED(write(7, "xyz", 3) == 3);
	NEED(dup2(3, 100) == 100);
}

static void check_flags(struct round *r, size_t index)
{
	char c;

	(void)r;
	(void)index;
	NEED(pos_of(3) == 5 && read(3, &c, 1) == 1 && c == '5');
	NEED((fcntl(3, F_GETFL) & ~O_LARGEFILE & 077777) == O_RDONLY);
	NEED(pos_of(4) == 2 && (fcntl(4, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_RDWR | O_APPEND));
	NEED(fcntl(4, F_GETFD) == FD_CLOEXEC && fcntl(3, F_GETFD) == 0);
	NEED((fcntl(5, F_GETFL) & (O_ACCMODE | O_SYNC)) == (O_WRONLY | O_SYNC));
	NEED(fcntl(6, F_GETFL) & O_PATH && read(6, &c, 1) < 0 && errno == EBADF);
	NEED(fcntl(7, F_GETFL) & O_NONBLOCK && pos_of(7) == 3 && pread(7, &c, 1, 0) == 1 && c == 'x');
	NEED(pos_of(100) == 6); /* shared with 3, which has read a byte */
	NEED(fcntl(8, F_GETFD) < 0 && fcntl(99, F_GETFD) < 0);
}

static void keeps_positions_flags_and_dups(void **state)
{
	struct round *r = *state;

	put_text(r, "a", "0123456789");
	round_all(r, build_flags, check_flags);
	assert_int_equal(r->nr_warnings, 0);
}

/* ---- */

static void member_opens(struct round *r)
{
	NEED(open_in(r, "a", O_RDONLY) == 5);
	NEED(close(0) == 0);
}

static void build_shared(struct round *r)
{
	NEED(open_in(r, "a", O_RDONLY) == 3); /* shared with the member */
	NEED(open_in(r, "a", O_RDONLY) == 4); /* same file, flags and position, but its own */
	round_member(r, member_opens);
	round_member(r, NULL);
}

static void check_shared(struct round *r, size_t index)
{
	char c;

	(void)r;
	NEED(pos_of(3) == (off_t)index && read(3, &c, 1) == 1);
	NEED(pos_of(4) == 5 * (off_t)index && lseek(4, 5, SEEK_CUR) > 0);
	if (index == 1)
		NEED(pos_of(5) == 0 && fcntl(0, F_GETFD) < 0);
	else
		NEED(fcntl(5, F_GETFD) < 0 && fcntl(0, F_GETFD) == 0);
}

static void processes_share_what_they_shared(void **state)
{
	struct round *r = *state;

	put_text(r, "a", "0123456789abcdefghij");
	round_all(r, build_shared, check_shared);
}

/* ---- */

static void build_deleted(struct round *r)
{
	char path[300];

	path_in(r, "gone", path);
	NEED(open_in(r, "gone", O_WRONLY | O_CREAT) == 3 && write(3, "deleted", 7) == 7);
	NEED(open_in(r, "gone", O_RDONLY) == 4 && lseek(4, 3, SEEK_SET) == 3);
	NEED(unlink(path) == 0);
	NEED(memfd_create("mem", 0) == 5 && write(5, "memory", 6) == 6);
	NEED(open("/proc/self/fd/5", O_RDONLY) == 6);
}

static void check_deleted(struct round *r, size_t index)
{
	char buf[8] = "";
	struct stat st;

	(void)r;
	(void)index;
	NEED(fstat(3, &st) == 0 && st.st_nlink == 0 && pos_of(3) == 7);
	NEED(read(4, buf, 8) == 4 && !memcmp(buf, "eted", 4));
	NEED(write(3, "!", 1) == 1 && read(4, buf, 1) == 1 && buf[0] == '!');
	NEED(pos_of(5) == 6 && pread(5, buf, 6, 0) == 6 && !memcmp(buf, "memory", 6));
	NEED(pos_of(6) == 0 && write(6, "x", 1) < 0);
}

static void deleted_files_and_memfds_keep_their_content(void **state)
{
	round_all(*state, build_deleted, check_deleted);
}

/* ---- */

static void build_directory(struct round *r)
{
	char path[300];
	DIR *d;

	path_in(r, "dir", path);
	d = opendir(path);
	NEED(d && dirfd(d) == 3);
	for (int i = 0; i < 4; i++)
		NEED(readdir(d));
	seekdir(d, telldir(d)); /* makes the descriptor's position that of the stream */
	path_in(r, "removed", path);
	NEED(mkdir(path, 0700) == 0 && open(path, O_RDONLY | O_DIRECTORY) == 4 && rmdir(path) == 0);
}

static void check_directory(struct round *r, size_t index)
{
	DIR *d = fdopendir(3);
	struct stat st;
	int nr = 0;

	(void)r;
	(void)index;
	NEED(d);
	while (readdir(d))
		nr++;
	NEED(nr == 8); /* "." and ".." and ten files, four of them read before */
	NEED(fstat(4, &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink == 0);
}

static void folders_keep_their_read_position(void **state)
{
	struct round *r = *state;
	char name[32];

	assert_int_equal(mkdirat(r->dirfd, "dir", 0700), 0);
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "dir/%d", i);
		put_text(r, name, "");
	}
	round_all(r, build_directory, check_directory);
}

/* ---- */

static void build_two(struct round *r)
{
	NEED(open_in(r, "a", O_RDONLY) == 3);
	NEED(open_in(r, "b", O_RDWR) == 4 && lseek(4, 1, SEEK_SET) == 1);
}

static void save_two(struct round *r)
{
	put_text(r, "a", "aaa");
	put_text(r, "b", "bbb");
	round_subject(r, build_two);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
}

static void warns_of_changed_files(void **state)
{
	struct round *r = *state;

	save_two(r);
	put_text(r, "a", "longer");
	assert_ok(r, round_plan(r));
	assert_true(round_warned(r, "file changed since the checkpoint"));
	assert_int_equal(r->nr_warnings, 1);
	r->nr_warnings = 0;
	r->restore.flags = STASIS_RESTORE_QUIET_FILES;
	assert_ok(r, round_plan(r));
	assert_int_equal(r->nr_warnings, 0);
}

static void check_null(struct round *r, size_t index)
{
	struct stat st;
	char c;

	(void)r;
	(void)index;
	NEED(fstat(3, &st) == 0 && S_ISCHR(st.st_mode) && read(3, &c, 1) == 0);
	NEED(read(4, &c, 1) == 1 && c == 'b');
}

static void missing_files_are_all_named_before_anything_changes(void **state)
{
	struct round *r = *state;

	save_two(r);
	assert_int_equal(unlinkat(r->dirfd, "a", 0), 0);
	assert_int_equal(round_plan(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_GONE);
	assert_non_null(strstr(r->err.text, "fd 3: "));
	assert_non_null(strstr(r->err.text, "/a'"));
	assert_int_equal(unlinkat(r->dirfd, "b", 0), 0);
	assert_int_equal(round_plan(r), -1);
	assert_true(round_warned(r, "fd 4: "));
	put_text(r, "b", "bbb");
	r->s.is_forced = true;
	assert_ok(r, round_plan(r));
	assert_true(round_warned(r, "/dev/null takes its place"));
	round_check(r, check_null);
}

static void check_choices(struct round *r, size_t index)
{
	char c;

	(void)r;
	(void)index;
	NEED(fcntl(3, F_GETFD) < 0 && errno == EBADF);
	NEED(read(4, &c, 1) == 1 && c == 'd' && read(4, &c, 1) == 1 && c == 'e');
}

static void restart_ignores_and_modifies_as_told(void **state)
{
	struct round *r = *state;
	char path[300];
	struct stasis_fd_choice choices[2];

	save_two(r);
	put_text(r, "other", "cdefg");
	path_in(r, "other", path);
	choices[0] = (struct stasis_fd_choice){r->tasks[0].pid, 3, STASIS_FD_IGNORE, NULL};
	choices[1] = (struct stasis_fd_choice){r->tasks[0].pid, 4, STASIS_FD_MODIFY, path};
	r->restore.choices = choices;
	r->restore.nr_choices = 2;
	assert_ok(r, round_plan(r));
	round_check(r, check_choices);
}

static void check_ignored(struct round *r, size_t index)
{
	(void)r;
	(void)index;
	NEED(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) == 0);
}

static void checkpoint_ignores_as_told(void **state)
{
	struct round *r = *state;
	struct stasis_fd_choice choice = {.fd = 3, .action = STASIS_FD_IGNORE};

	put_text(r, "a", "aaa");
	put_text(r, "b", "bbb");
	round_subject(r, build_two);
	choice.pid = r->tasks[0].pid;
	r->dump.choices = &choice;
	r->dump.nr_choices = 1;
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	round_check(r, check_ignored);
}

/* ---- */

static const struct flock some_byte = {
	.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 7, .l_len = 1};

static void build_locks(struct round *r)
{
	struct flock range = some_byte;

	NEED(open_in(r, "a", O_RDWR) == 3 && flock(3, LOCK_EX) == 0);
	NEED(fcntl(3, F_OFD_SETLK, &range) == 0);
	NEED(open_in(r, "b", O_RDWR) == 4 && fcntl(4, F_SETLK, &range) == 0);
	NEED(dup(4) == 5);
}

/* Those of the description are there; that of the process is to be taken by it, through one descriptor. */
static void check_locks(struct round *r, size_t index)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int a = open_in(r, "a", O_RDWR);
	struct fd_lock lock;

	NEED(a >= 0 && flock(a, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	NEED(fcntl(a, F_OFD_GETLK, &range) == 0);
	NEED(range.l_type == F_RDLCK && range.l_start == 7 && range.l_len == 1);
	NEED(fd_load_next_lock(r->load, -r->tasks[index].pid, 0, &lock) == 1);
	NEED(lock.fd == 4 && lock.range.l_type == some_byte.l_type && lock.range.l_whence == SEEK_SET &&
	     lock.range.l_start == some_byte.l_start && lock.range.l_len == some_byte.l_len);
	NEED(fd_load_next_lock(r->load, -r->tasks[index].pid, 1, &lock) == 0);
}

static void locks_are_held_again(void **state)
{
	struct round *r = *state;

	put_text(r, "a", "");
	put_text(r, "b", "");
	round_all(r, build_locks, check_locks);
}

static void build_two_leases(struct round *r)
{
	char path[300];

	NEED(open_in(r, "a", O_RDWR) == 3 && fcntl(3, F_SETLEASE, F_WRLCK) == 0);
	NEED(mmap(NULL, 1, PROT_READ, MAP_SHARED, 3, 0) != MAP_FAILED);
	NEED(open_in(r, "b", O_RDONLY) == 4 && fcntl(4, F_SETLEASE, F_RDLCK) == 0);
	(void)snprintf(path, sizeof(path), "%s/b", r->dir);
	NEED(unlink(path) == 0);
}

static void leases_that_a_restart_could_not_take_are_obstacles(void **state)
{
	struct round *r = *state;

	put_text(r, "a", "x");
	put_text(r, "b", "x");
	round_subject(r, build_two_leases);
	assert_int_equal(round_collect(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_UNSUPPORTED);
	assert_true(round_obstacle(r, "write lease on a file that is mapped"));
	assert_true(round_obstacle(r, "lease on a file without a path"));
	assert_int_equal(r->nr_obstacles, 2);
}

/* ---- */

static bool has_content(struct round *r, const char *name, const char *text)
{
	char buf[64] = "";
	int fd = openat(r->dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		(void)close(fd);
	return n == (ssize_t)strlen(text) && !strcmp(buf, text);
}

static void check_nothing(struct round *r, size_t index)
{
	(void)r;
	(void)index;
}

static void copies_go_back_and_are_put_aside_until_the_end(void **state)
{
	struct round *r = *state;
	char name[300];

	put_text(r, "a", "aaa");
	put_text(r, "b", "bbb");
	round_subject(r, build_two);
	assert_ok(r, round_collect(r));
	assert_ok(r, fd_save_copy_files(r->save, r->dirfd, true, &r->err));
	(void)snprintf(name, sizeof(name), "%s.%d.b.4", r->tasks[0].comm, r->tasks[0].pid);
	assert_true(has_content(r, name, "bbb"));
	assert_ok(r, round_write(r));
	assert_int_equal(unlinkat(r->dirfd, "a", 0), 0);
	put_text(r, "b", "changed");
	r->restore.flags = STASIS_RESTORE_COPY_BACK;
	assert_ok(r, round_plan(r));
	assert_ok(r, fd_load_open_all(r->load, &r->err)); /* and then it fails */
	assert_true(has_content(r, "a", "aaa") && has_content(r, "b", "bbb"));
	assert_ok(r, round_plan(r)); /* frees the first, which undoes it */
	assert_true(has_content(r, "b", "changed"));
	assert_int_equal(faccessat(r->dirfd, "a", F_OK, 0), -1);
	round_check(r, check_nothing);
	assert_true(has_content(r, "a", "aaa") && has_content(r, "b", "bbb"));
}

static void files_that_grew_are_cut_back_on_demand(void **state)
{
	struct round *r = *state;

	save_two(r);
	put_text(r, "b", "bbb and more");
	assert_ok(r, round_plan(r));
	fd_load_set_rollback(r->load);
	assert_ok(r, fd_load_open_all(r->load, &r->err));
	assert_true(has_content(r, "b", "bbb") && has_content(r, "b.after-checkpoint", " and more"));
	assert_ok(r, round_plan(r));
	assert_true(has_content(r, "b", "bbb and more"));
	fd_load_set_rollback(r->load);
	round_check(r, check_nothing);
	assert_true(has_content(r, "b", "bbb") && has_content(r, "b.after-checkpoint", " and more"));
}

/* ---- */

enum { MANY = 2000 };

static void build_many(struct round *r)
{
	char name[32];

	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "many%d", i % 100);
		NEED(open_in(r, name, O_RDWR | O_CREAT) == 3 + i);
	}
}

static void check_many(struct round *r, size_t index)
{
	(void)r;
	(void)index;
	for (int i = 0; i < MANY; i++)
		NEED(fcntl(3 + i, F_GETFD) == 0);
	NEED(fcntl(3 + MANY, F_GETFD) < 0);
}

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void two_thousand_descriptors_take_no_time(void **state)
{
	struct round *r = *state;
	double start, saved, written, planned;

	round_subject(r, build_many);
	start = now_ms();
	assert_ok(r, round_collect(r));
	saved = now_ms();
	assert_ok(r, round_write(r));
	written = now_ms();
	assert_ok(r, round_plan(r));
	planned = now_ms();
	round_check(r, check_many);
	print_message("# collect %.1f ms, write %.1f, plan %.1f, open, install and check %.1f\n",
		      saved - start, written - saved, planned - written, now_ms() - planned);
	assert_true(now_ms() - start < 2000); /* nothing quadratic, also on a busy machine */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(keeps_positions_flags_and_dups),
		ROUND_TEST(processes_share_what_they_shared),
		ROUND_TEST(deleted_files_and_memfds_keep_their_content),
		ROUND_TEST(folders_keep_their_read_position),
		ROUND_TEST(warns_of_changed_files),
		ROUND_TEST(missing_files_are_all_named_before_anything_changes),
		ROUND_TEST(restart_ignores_and_modifies_as_told),
		ROUND_TEST(checkpoint_ignores_as_told),
		ROUND_TEST(locks_are_held_again),
		ROUND_TEST(leases_that_a_restart_could_not_take_are_obstacles),
		ROUND_TEST(copies_go_back_and_are_put_aside_until_the_end),
		ROUND_TEST(files_that_grew_are_cut_back_on_demand),
		ROUND_TEST(two_thousand_descriptors_take_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
