/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices, terminals, eventfds, owners; kinds that are refused; tables that nobody may believe. */
#include "resource/test/round.h"

#include <asm/termbits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static void build_eventfd(struct round *r)
{
	uint64_t two = 2;

	(void)r;
	NEED(eventfd(7, EFD_NONBLOCK) == 3);
	NEED(eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC) == 4 && write(4, &two, 8) == 8);
}

static void check_eventfd(struct round *r, size_t index)
{
	uint64_t count;

	(void)r;
	(void)index;
	NEED(fcntl(3, F_GETFL) & O_NONBLOCK && read(3, &count, 8) == 8 && count == 7);
	NEED(read(3, &count, 8) < 0 && errno == EAGAIN);
	NEED(!(fcntl(4, F_GETFL) & O_NONBLOCK) && fcntl(4, F_GETFD) == FD_CLOEXEC);
	NEED(read(4, &count, 8) == 8 && count == 1 && read(4, &count, 8) == 8 && count == 1);
}

static void eventfds_keep_counter_and_mode(void **state)
{
	round_all(*state, build_eventfd, check_eventfd);
}

/* ---- */

static void build_devices(struct round *r)
{
	char path[300];

	NEED(open("/dev/zero", O_RDONLY) == 3 && open("/dev/full", O_WRONLY | O_APPEND) == 4);
	NEED(open("/dev/urandom", O_RDONLY) == 5 && open("/dev/random", O_RDONLY) == 6);
	(void)snprintf(path, sizeof(path), "%s/null", r->dir);
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0 && open(path, O_RDWR) == 7)
		(void)unlink(path);
}

static void check_devices(struct round *r, size_t index)
{
	static const unsigned minors[] = {3, 3, 3, 5, 7, 9, 8, 3};
	struct stat st;

	(void)r;
	(void)index;
	for (int fd = 0; fd < 7; fd++)
		NEED(fstat(fd, &st) == 0 && st.st_rdev == makedev(1, minors[fd]));
	NEED(fcntl(4, F_GETFL) & O_APPEND);
	if (fcntl(7, F_GETFD) == 0)
		NEED(fstat(7, &st) == 0 && st.st_rdev == makedev(1, 3));
}

static void devices_without_state_are_opened_again(void **state)
{
	round_all(*state, build_devices, check_devices);
}

/* ---- terminals ---- */

static int open_pty(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;

	if (master >= 0 && ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -1;
	return master;
}

/* The child's new session gets the other side of the terminal as its control terminal. */
static void build_tty(struct round *r)
{
	struct winsize window = {.ws_row = 33, .ws_col = 99};
	struct termios2 t;
	int slave;

	(void)r;
	NEED(setsid() > 0);
	slave = ioctl(3200, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	NEED(slave >= 0 && close(3200) == 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
	NEED(dup2(slave, 0) == 0 && dup2(slave, 1) == 1 && dup2(slave, 2) == 2);
	NEED(close(slave) == 0);
	NEED(open("/dev/tty", O_RDWR | O_NONBLOCK) == 3);
	NEED(ioctl(0, TCGETS2, &t) == 0);
	t.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
	t.c_cc[VINTR] = 7;
	NEED(ioctl(0, TCSETS2, &t) == 0 && ioctl(0, TIOCSWINSZ, &window) == 0);
}

static void subject_on_tty(struct round *r, int master)
{
	assert_int_equal(dup2(master, 3200), 3200);
	round_keep_fd = 3200;
	round_subject(r, build_tty);
	round_keep_fd = -1;
	(void)close(3200);
}


static void without_terminal(struct round *r)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct stat st;

		(void)setsid();
		NEED(round_plan(r) < 0 && r->err.cls == STASIS_E_GONE);
		NEED(strstr(r->err.text, "process has a control terminal but restart has none"));
		r->s.is_forced = true;
		NEED(round_plan(r) == 0 && fd_load_open_all(r->load, &r->err) == 0);
		NEED(fstat(fd_load_base(r->load), &st) == 0 && st.st_rdev == makedev(1, 3));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static volatile sig_atomic_t got_winch;

static void take_winch(int sig)
{
	(void)sig;
	got_winch = 1;
}

/* A new session with another terminal restarts the program: settings come over, speeds and window
 * size do not, and the foreground group is told of the window. */
static void with_other_terminal(struct round *r)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct termios2 t;
		struct winsize w;
		int master = open_pty(), slave;

		NEED(setsid() > 0 && master >= 0);
		slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
		NEED(slave >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
		NEED(ioctl(slave, TCGETS2, &t) == 0);
		t.c_cflag = (t.c_cflag & ~(tcflag_t)CBAUD) | B9600;
		NEED(ioctl(slave, TCSETS2, &t) == 0);
		(void)signal(SIGWINCH, take_winch);
		NEED(round_plan(r) == 0);
		NEED(fd_load_open_all(r->load, &r->err) == 0);
		fd_load_set_foreground(r->load, getpgrp());
		NEED(fd_load_finish(r->load, &r->err) == 0);
		NEED(ioctl(slave, TCGETS2, &t) == 0 && !(t.c_lflag & (ECHO | ICANON)));
		NEED(t.c_cc[VINTR] == 7 && (t.c_cflag & CBAUD) == B9600);
		NEED(ioctl(slave, TIOCGWINSZ, &w) == 0 && w.ws_row == 0 && got_winch);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void the_terminal_of_restart_takes_the_place_of_the_control_terminal(void **state)
{
	struct round *r = *state;
	int master = open_pty();

	if (master < 0)
		skip();
	subject_on_tty(r, master);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	(void)close(master);
	without_terminal(r);
	with_other_terminal(r);
}

static void build_other_tty(struct round *r)
{
	int slave = ioctl(3200, TIOCGPTPEER, O_RDWR | O_NOCTTY);

	(void)r;
	NEED(setsid() > 0 && slave == 3 && close(3200) == 0);
}

static void check_other_tty(struct round *r, size_t index)
{
	struct termios2 t;

	(void)r;
	(void)index;
	NEED(ioctl(3, TCGETS2, &t) == 0);
}

static void other_terminals_are_opened_by_path(void **state)
{
	struct round *r = *state;
	int master = open_pty();

	if (master < 0)
		skip();
	assert_int_equal(dup2(master, 3200), 3200);
	round_keep_fd = 3200;
	round_subject(r, build_other_tty);
	round_keep_fd = -1;
	(void)close(3200);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	round_check(r, check_other_tty);
	(void)close(master); /* takes the other side's path away */
	assert_int_equal(round_plan(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_GONE);
}

/* ---- owners ---- */

static void build_owner(struct round *r)
{
	int fds[2];

	(void)r;
	NEED(pipe(fds) == 0 && fcntl(3, F_SETOWN, getpid()) == 0);
	NEED(fcntl(3, F_SETSIG, SIGUSR1) == 0 && fcntl(3, F_SETFL, O_ASYNC) == 0);
}

static void check_owner(struct round *r, size_t index)
{
	(void)r;
	(void)index;
	NEED(fcntl(3, F_GETSIG) == SIGUSR1 && fcntl(3, F_GETFL) & O_ASYNC);
}

static void owners_are_saved_and_strangers_get_no_signals(void **state)
{
	struct round *r = *state;
	const Stasis__Description *d;

	round_subject(r, build_owner);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	d = image_record(r->images[0], IMAGE_TAG_DESCRIPTION, 1, &stasis__description__descriptor,
			 &r->err);
	assert_non_null(d);
	assert_int_equal(d->owner_pid, -r->tasks[0].pid);
	assert_int_equal(d->owner_sig, SIGUSR1);
	round_check(r, check_owner);
}

/* ---- refused ---- */

static void build_refused(struct round *r)
{
	(void)r;
	NEED(syscall(SYS_userfaultfd, 1) == 3 && socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) == 4);
	NEED(syscall(SYS_pidfd_open, getppid(), 0) == 5);
	NEED(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) == 6 && fcntl(6, F_DUPFD, 7) == 7);
	NEED(open("/proc/1/status", O_RDONLY) == 8 && fcntl(6, F_DUPFD, 9) == 9);
}

static void check_refused(struct round *r, size_t index)
{
	struct stat st;

	(void)r;
	(void)index;
	for (int fd = 3; fd < 10; fd++)
		NEED(fstat(fd, &st) == 0 && st.st_rdev == makedev(1, 3));
}

static void other_kinds_are_all_named_with_the_way_out(void **state)
{
	struct round *r = *state;

	round_subject(r, build_refused);
	assert_int_equal(round_collect(r), -1);
	assert_int_equal(r->err.cls, STASIS_E_UNSUPPORTED);
	assert_non_null(strstr(r->err.text, "fd 3: userfaultfd is not supported yet; close it"));
	assert_int_equal(r->nr_obstacles, 5);
	assert_true(round_obstacle(r, "fd 4: stream socket that is not TCP") && round_obstacle(r, "fd 5: pidfd of process"));
	assert_true(round_obstacle(r, "fd 6: stream socket that is not TCP"));
	assert_true(round_obstacle(r, "/status' tells of a process outside"));
	r->s.is_forced = true;
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	assert_true(round_warned(r, "becomes /dev/null, the checkpoint was forced: userfaultfd"));
	round_check(r, check_refused);
}

static void descriptors_are_described(void **state)
{
	struct round *r = *state;
	struct stasis_proc_info live = {.pid = 0}, saved = {.pid = 0};

	r->s.is_forced = true;
	round_subject(r, build_refused);
	assert_ok(r, round_collect(r));
	assert_ok(r, fd_save_describe(r->save, &r->tasks[0], &live, &r->err));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	assert_ok(r, fd_describe_image(r->images[0], &saved, &r->err));
	assert_int_equal(live.nr_fds, 10);
	assert_int_equal(saved.nr_fds, 10);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(live.fds[i].fd, saved.fds[i].fd);
		assert_int_equal(live.fds[i].is_supported, saved.fds[i].is_supported);
		assert_int_equal(live.fds[i].is_supported, i < 3);
		free(live.fds[i].path);
		free(live.fds[i].obstacle);
		free(saved.fds[i].path);
		free(saved.fds[i].obstacle);
	}
	free(live.fds);
	free(saved.fds);
}

/* ---- untrusted tables ---- */

static void damaged_tables_are_refused(void **state)
{
	struct round *r = *state;
	Stasis__Fd a = STASIS__FD__INIT, b = STASIS__FD__INIT;
	Stasis__Fd *fds[] = {&a, &b};
	Stasis__FdTable table = STASIS__FD_TABLE__INIT;
	Stasis__EventFd event = STASIS__EVENT_FD__INIT;
	Stasis__RegularFile file;
	Stasis__Pipe pipe = STASIS__PIPE__INIT;
	Stasis__Description d;

	stasis__description__init(&d);
	stasis__regular_file__init(&file);
	table.fds = fds;
	table.n_fds = 2;
	d.id = a.desc = b.desc = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_EVENTFD;
	d.eventfd = &event;
	b.fd = 5;
	assert_ok(r, round_plan_records(r, &table, &d));
	a.fd = 5; /* twice */
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	a.fd = 1u << 31;
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	a.fd = 1;
	b.desc = 10; /* not there */
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	b.desc = 9;
	d.kind_case = STASIS__DESCRIPTION__KIND_REGULAR; /* without a file */
	d.regular = &file;
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	d.kind_case = STASIS__DESCRIPTION__KIND_PIPE; /* without an object */
	d.pipe = &pipe;
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	d.kind_case = STASIS__DESCRIPTION__KIND__NOT_SET;
	assert_int_equal(round_plan_records(r, &table, &d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
}

/* A table of one descriptor with one lock of the process, and a description with two of its own. */
struct locked {
	Stasis__Fd fd, *fds[1];
	Stasis__FdTable table;
	Stasis__FileLock posix, *of_table[1], a, b, *of_desc[2];
	Stasis__EventFd event;
	Stasis__Description d;
};

static void init_locked(struct locked *l)
{
	memset(l, 0, sizeof(*l));
	stasis__fd__init(&l->fd);
	stasis__fd_table__init(&l->table);
	stasis__file_lock__init(&l->posix);
	stasis__file_lock__init(&l->a);
	stasis__file_lock__init(&l->b);
	stasis__event_fd__init(&l->event);
	stasis__description__init(&l->d);
	l->fds[0] = &l->fd;
	l->of_table[0] = &l->posix;
	l->of_desc[0] = &l->a;
	l->of_desc[1] = &l->b;
	l->table.fds = l->fds;
	l->table.locks = l->of_table;
	l->d.locks = l->of_desc;
	l->table.n_fds = l->table.n_locks = 1;
	l->d.n_locks = 2;
	l->fd.desc = l->d.id = 9;
	l->fd.fd = l->posix.fd = 5;
	l->d.flags = O_RDWR;
	l->d.kind_case = STASIS__DESCRIPTION__KIND_EVENTFD;
	l->d.eventfd = &l->event;
	l->posix.type = STASIS__LOCK_TYPE__LOCK_POSIX;
	l->a.type = STASIS__LOCK_TYPE__LOCK_OFD;
	l->a.start = 10;
	l->b.type = STASIS__LOCK_TYPE__LOCK_FLOCK;
}

static void assert_corrupt(struct round *r, struct locked *l)
{
	assert_int_equal(round_plan_records(r, &l->table, &l->d), -1);
	assert_int_equal(r->err.cls, STASIS_E_CORRUPT);
	init_locked(l);
}

static void damaged_locks_are_refused(void **state)
{
	struct round *r = *state;
	struct locked l;

	init_locked(&l);
	assert_ok(r, round_plan_records(r, &l.table, &l.d));
	l.posix.fd = 6; /* not there */
	assert_corrupt(r, &l);
	l.posix.type = STASIS__LOCK_TYPE__LOCK_OFD; /* none of a process's */
	assert_corrupt(r, &l);
	l.posix.start = 1ull << 63;
	assert_corrupt(r, &l);
	l.posix.start = 10;
	l.posix.len = INT64_MAX - 8;
	assert_corrupt(r, &l);
	l.a.len = ~0ull;
	assert_corrupt(r, &l);
	l.a.type = STASIS__LOCK_TYPE__LOCK_FLOCK; /* two of them */
	l.a.start = 0;
	assert_corrupt(r, &l);
	l.b.len = 1; /* a flock of one byte */
	assert_corrupt(r, &l);
	l.b.type = STASIS__LOCK_TYPE__LOCK_LEASE; /* on what has no path */
	assert_corrupt(r, &l);
	l.b.type = STASIS__LOCK_TYPE__LOCK_POSIX; /* a process's */
	assert_corrupt(r, &l);
	l.d.flags = O_RDONLY; /* which allows no write lock */
	l.posix.is_exclusive = true;
	assert_corrupt(r, &l);
	l.d.flags = O_RDWR | O_PATH;
	assert_corrupt(r, &l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUND_TEST(eventfds_keep_counter_and_mode),
		ROUND_TEST(devices_without_state_are_opened_again),
		ROUND_TEST(the_terminal_of_restart_takes_the_place_of_the_control_terminal),
		ROUND_TEST(other_terminals_are_opened_by_path),
		ROUND_TEST(owners_are_saved_and_strangers_get_no_signals),
		ROUND_TEST(other_kinds_are_all_named_with_the_way_out),
		ROUND_TEST(descriptors_are_described),
		ROUND_TEST(damaged_tables_are_refused),
		ROUND_TEST(damaged_locks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
