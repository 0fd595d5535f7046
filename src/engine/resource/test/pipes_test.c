/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pipes and FIFOs: content, size, packets, ends in several processes, ends that are elsewhere. */
#include "resource/test/round.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static bool reads(int fd, const char *text)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

static int queued(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) < 0 ? -1 : n;
}

/* ---- */

static void close_write_end(struct round *r)
{
	(void)r;
	NEED(close(4) == 0);
}

static void close_read_end(struct round *r)
{
	(void)r;
	NEED(close(3) == 0);
}

static void build_pipe(struct round *r)
{
	int fds[2];

	NEED(pipe(fds) == 0 && fds[0] == 3 && fds[1] == 4);
	NEED(fcntl(3, F_SETPIPE_SZ, 131072) == 131072);
	NEED(write(4, "hello, ", 7) == 7 && write(4, "pipe", 4) == 4);
	NEED(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0 && fds[0] == 5 && fds[1] == 6);
	round_member(r, close_write_end);
	round_member(r, close_read_end);
}

static void check_pipe(struct round *r, size_t index)
{
	struct stat a, b;

	(void)r;
	switch (index) {
	case 0:
		NEED(queued(3) == 11 && fcntl(3, F_GETPIPE_SZ) == 131072);
		NEED(fstat(3, &a) == 0 && fstat(4, &b) == 0 && a.st_ino == b.st_ino);
		NEED((fcntl(4, F_GETFL) & O_ACCMODE) == O_WRONLY && write(4, "!", 1) == 1);
		NEED(fcntl(5, F_GETFL) & O_NONBLOCK && fcntl(5, F_GETFD) == FD_CLOEXEC);
		NEED(read(5, &a, 1) < 0 && errno == EAGAIN);
		break;
	case 1:
		NEED(fcntl(4, F_GETFD) < 0 && reads(3, "hello, pipe!"));
		break;
	default:
		NEED(fcntl(3, F_GETFD) < 0 && write(4, "x", 1) == 1 && write(6, "y", 1) == 1);
	}
}

static void pipes_keep_content_size_and_ends(void **state)
{
	round_all(*state, build_pipe, check_pipe);
}

/* ---- */

static void build_full(struct round *r)
{
	char block[4096];
	int fds[2];

	(void)r;
	NEED(pipe2(fds, O_NONBLOCK) == 0);
	for (int i = 0; i < 16; i++) {
		memset(block, 'a' + i, sizeof(block));
		NEED(write(fds[1], block, sizeof(block)) == sizeof(block));
	}
	NEED(write(fds[1], block, 1) < 0 && errno == EAGAIN);
}

static void check_full(struct round *r, size_t index)
{
	char block[4096] = "";

	(void)r;
	(void)index;
	NEED(write(4, block, 1) < 0 && errno == EAGAIN);
	for (int i = 0; i < 16; i++) {
		NEED(read(3, block, sizeof(block)) == sizeof(block));
		for (size_t k = 0; k < sizeof(block); k++)
			NEED(block[k] == 'a' + i);
	}
	NEED(queued(3) == 0);
}

static void a_full_pipe_stays_full(void **state)
{
	round_all(*state, build_full, check_full);
}

/* ---- */

static void build_closed(struct round *r)
{
	int fds[2];

	(void)r;
	NEED(pipe(fds) == 0 && write(4, "last", 4) == 4 && close(4) == 0);
	NEED(pipe(fds) == 0 && fds[0] == 4 && fds[1] == 5 && close(4) == 0);
}

static void check_closed(struct round *r, size_t index)
{
	struct pollfd p = {.fd = 5, .events = POLLOUT};

	(void)r;
	(void)index;
	NEED(reads(3, "last") && reads(3, ""));
	NEED(poll(&p, 1, 0) == 1 && p.revents & POLLERR);
}

static void closed_ends_stay_closed(void **state)
{
	round_all(*state, build_closed, check_closed);
}

/* ---- */

static void build_packets(struct round *r)
{
	int fds[2];

	(void)r;
	NEED(pipe2(fds, O_DIRECT) == 0);
	NEED(write(4, "one", 3) == 3 && write(4, "two22", 5) == 5 && write(4, "3", 1) == 1);
	NEED(pipe2(fds, O_DIRECT) == 0 && write(6, "only", 4) == 4);
}

static void check_packets(struct round *r, size_t index)
{
	(void)r;
	(void)index;
	NEED(fcntl(4, F_GETFL) & O_DIRECT);
	NEED(reads(3, "one") && reads(3, "two22") && reads(3, "3"));
	NEED(write(6, "more", 4) == 4 && reads(5, "only") && reads(5, "more"));
}

static void packets_stay_apart(void **state)
{
	round_all(*state, build_packets, check_packets);
}

/* ---- */

static void build_reopened(struct round *r)
{
	int fds[2];

	(void)r;
	NEED(pipe(fds) == 0 && write(4, "abc", 3) == 3);
	NEED(open("/proc/self/fd/3", O_RDWR | O_NONBLOCK) == 5);
	NEED(open("/proc/self/fd/3", O_RDONLY | O_NONBLOCK) == 6);
	NEED(dup(4) == 7);
	NEED(close(3) == 0 && close(4) == 0);
}

static void check_reopened(struct round *r, size_t index)
{
	(void)r;
	(void)index;
	NEED((fcntl(5, F_GETFL) & O_ACCMODE) == O_RDWR && (fcntl(6, F_GETFL) & O_ACCMODE) == 0);
	NEED(write(5, "d", 1) == 1 && write(7, "e", 1) == 1 && reads(6, "abcde"));
	NEED(!(fcntl(7, F_GETFL) & O_NONBLOCK) && fcntl(6, F_GETFL) & O_NONBLOCK);
}

static void ends_opened_through_proc_stay_descriptions_of_their_own(void **state)
{
	round_all(*state, build_reopened, check_reopened);
}

/* ---- */

static int outside[2];

static void build_outside_reader(struct round *r)
{
	(void)r;
	NEED(dup2(3200, 1) == 1 && close(3200) == 0);
}

static void check_outside(struct round *r, size_t index)
{
	struct pollfd p = {.fd = 1, .events = POLLOUT};

	(void)r;
	(void)index;
	NEED(poll(&p, 1, 0) == 1 && p.revents & POLLERR);
}

static void subject_with(struct round *r, int fd, void (*build)(struct round *))
{
	assert_int_equal(dup2(fd, 3200), 3200);
	round_keep_fd = 3200;
	round_subject(r, build);
	round_keep_fd = -1;
	(void)close(3200);
}

static void ends_outside_of_the_tree_are_obstacles(void **state)
{
	struct round *r = *state;

	assert_int_equal(pipe2(outside, O_CLOEXEC), 0);
	subject_with(r, outside[1], build_outside_reader);
	assert_int_equal(round_collect(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_UNSUPPORTED);
	assert_true(round_obstacle(r, "fd 1: pipe destination is outside of selected processes; "));
	r->s.is_forced = true;
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	round_check(r, check_outside);
	r->s.is_forced = false;
	round_end(r);
	r->tree.nr_tasks = 0;
	subject_with(r, outside[0], build_outside_reader);
	assert_int_equal(round_collect(r), -1);
	assert_true(round_obstacle(r, "fd 1: pipe source is outside of selected processes; "));
	(void)close(outside[1]);
	assert_ok(r, round_collect(r)); /* nobody is there any more */
	(void)close(outside[0]);
}

/* ---- */

static void a_subtree_with_half_a_pipe_is_refused(void **state)
{
	struct round *r = *state;

	round_subject(r, build_pipe);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	r->first_proc = 2; /* has the write end only, and the content is in the first one's file */
	assert_int_equal(round_plan(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_UNSUPPORTED);
	assert_non_null(strstr(r->err.text, "pipe:["));
	assert_non_null(strstr(r->err.text, "restart the hierarchy from its root"));
}

/* ---- */

static void fifo_path(const struct round *r, const char *name, char path[300])
{
	(void)snprintf(path, 300, "%s/%s", r->dir, name);
}

static void build_fifo(struct round *r)
{
	char path[300];

	fifo_path(r, "fifo", path);
	NEED(mkfifo(path, 0600) == 0);
	NEED(open(path, O_RDONLY | O_NONBLOCK) == 3 && fcntl(3, F_SETFL, 0) == 0);
	NEED(open(path, O_WRONLY) == 4 && write(4, "queued", 6) == 6);
	fifo_path(r, "lonely", path);
	NEED(mkfifo(path, 0600) == 0 && open(path, O_RDONLY | O_NONBLOCK) == 5);
	fifo_path(r, "both", path);
	NEED(mkfifo(path, 0600) == 0 && open(path, O_RDWR) == 6 && write(6, "rw", 2) == 2);
	NEED(unlink(path) == 0);
}

static void check_fifo(struct round *r, size_t index)
{
	struct pollfd p = {.fd = 5, .events = POLLIN};
	char path[300];

	(void)index;
	NEED(!(fcntl(3, F_GETFL) & O_NONBLOCK) && reads(3, "queued"));
	NEED(write(4, "new", 3) == 3 && reads(3, "new"));
	NEED(poll(&p, 1, 0) == 0); /* has not yet had a writer: no hang-up */
	fifo_path(r, "lonely", path);
	NEED(open(path, O_WRONLY | O_NONBLOCK) >= 0);
	NEED(reads(6, "rw") && write(6, "z", 1) == 1 && reads(6, "z"));
}

static void fifos_keep_content_and_ends(void **state)
{
	round_all(*state, build_fifo, check_fifo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(pipes_keep_content_size_and_ends),
		ROUND_TEST(a_full_pipe_stays_full),
		ROUND_TEST(closed_ends_stay_closed),
		ROUND_TEST(packets_stay_apart),
		ROUND_TEST(ends_opened_through_proc_stay_descriptions_of_their_own),
		ROUND_TEST(ends_outside_of_the_tree_are_obstacles),
		ROUND_TEST(a_subtree_with_half_a_pipe_is_refused),
		ROUND_TEST(fifos_keep_content_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
