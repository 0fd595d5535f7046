/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pseudo-terminals with both sides in one process: what is queued in both directions, lines complete and
 * not, settings, window, packet mode, locks, closed and hung up sides, output stopped by the user.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct pair {
	int master, slave;
	char name[64];
};

static void open_master(struct pair *p)
{
	p->master = posix_openpt(O_RDWR | O_NOCTTY);
	CHECK(p->master >= 0 && ptsname_r(p->master, p->name, sizeof(p->name)) == 0);
}

static void open_pair(struct pair *p)
{
	open_master(p);
	CHECK(unlockpt(p->master) == 0);
	p->slave = open(p->name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	CHECK(p->slave >= 0);
}

static void make_raw(int fd)
{
	struct termios t;

	CHECK(tcgetattr(fd, &t) == 0);
	cfmakeraw(&t);
	t.c_cc[VMIN] = 7;
	CHECK(tcsetattr(fd, TCSANOW, &t) == 0);
}

static void put(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* One read gives exactly that. */
static void expect(int fd, const char *text)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n != (ssize_t)strlen(text) || memcmp(buf, text, (size_t)n) != 0)
		subject_bad("fd %d: read %zd bytes '%.*s' (errno %d) instead of '%s'", fd, n,
			    n > 0 ? (int)n : 0, buf, errno, text);
}

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	CHECK(poll(&p, 1, 10000) == 1);
}

/* ---- raw: bytes both ways, a window, several slaves */

static struct pair raw;
static int raw_reader;

static void build_raw(void)
{
	struct winsize w = {.ws_row = 12, .ws_col = 345, .ws_xpixel = 6, .ws_ypixel = 7};

	open_pair(&raw);
	make_raw(raw.slave);
	raw_reader = open(raw.name, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	CHECK(raw_reader >= 0 && ioctl(raw.master, TIOCSWINSZ, &w) == 0);
	put(raw.master, "to\x03slave\r\x11\x13\xff\x04 and more");
	put(raw.slave, "to master\n");
	wait_readable(raw.master);
}

static void check_raw(void)
{
	struct winsize w;
	struct termios t;

	CHECK(tcgetattr(raw.master, &t) == 0 && t.c_cc[VMIN] == 7 && !(t.c_lflag & ICANON));
	CHECK(ioctl(raw.slave, TIOCGWINSZ, &w) == 0);
	CHECK(w.ws_row == 12 && w.ws_col == 345 && w.ws_xpixel == 6 && w.ws_ypixel == 7);
	CHECK((fcntl(raw_reader, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
	expect(raw_reader, "to\x03slave\r\x11\x13\xff\x04 and more");
	expect(raw.master, "to master\n");
	put(raw.slave, "x");
	wait_readable(raw.master);
	expect(raw.master, "x");
}

/* ---- lines: complete, ended by end of file, empty, quoted, not complete; echo on */

static struct pair lines;
static int echoed;

static void build_lines(void)
{
	char buf[256];

	open_pair(&lines);
	put(lines.master, "one\ntwo\r");
	put(lines.master, "\x04" "eof\x04" "a\x16\x04" "b\x16\n\x03" "c\n" "wrong\x15par");
	/* the echo is read, but for its end */
	while (wait_readable(lines.master), read(lines.master, buf, 1) == 1 && buf[0] != 'c')
		;
	subject_nap_ms(20);
	CHECK(ioctl(lines.master, FIONREAD, &echoed) == 0 && echoed > 0);
}

static void check_lines(void)
{
	struct termios t;
	int n;

	CHECK(tcgetattr(lines.slave, &t) == 0 && t.c_lflag & ICANON && t.c_lflag & ECHO &&
	      t.c_oflag & OPOST);
	CHECK(ioctl(lines.master, FIONREAD, &n) == 0 && n == echoed);
	expect(lines.slave, "c\n");
	CHECK(read(lines.slave, &t, 1) < 0 && errno == EAGAIN);
	CHECK(tcflush(lines.master, TCIFLUSH) == 0);
	put(lines.master, "t\x7ftial\n");
	wait_readable(lines.slave);
	expect(lines.slave, "partial\n");
}

static struct pair quiet; /* the same without signals and echo */

static void build_quiet(void)
{
	struct termios t;

	open_pair(&quiet);
	CHECK(tcgetattr(quiet.slave, &t) == 0);
	t.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	t.c_cc[VEOL] = ';';
	CHECK(tcsetattr(quiet.slave, TCSANOW, &t) == 0);
	put(quiet.master, "one\ntwo\r\x04" "eof\x04" "a\x16\x04" "b\x16\n\x03" "c\nend;half");
	wait_readable(quiet.slave);
	subject_nap_ms(20);
}

static void check_quiet(void)
{
	char c;

	expect(quiet.slave, "one\n");
	expect(quiet.slave, "two\n");
	CHECK(read(quiet.slave, &c, 1) == 0);
	expect(quiet.slave, "eof");
	expect(quiet.slave, "a\x04" "b\n\x03" "c\n");
	expect(quiet.slave, "end;");
	CHECK(read(quiet.slave, &c, 1) < 0 && errno == EAGAIN);
	put(quiet.master, "\x7f" "ves\n");
	wait_readable(quiet.slave);
	expect(quiet.slave, "halves\n");
	CHECK(read(quiet.master, &c, 0) == 0);
}

/* ---- packet mode */

static struct pair packet;

static void build_packet(void)
{
	int on = 1;

	open_pair(&packet);
	CHECK(ioctl(packet.master, TIOCPKT, &on) == 0);
	put(packet.slave, "in a packet\n");
	wait_readable(packet.master);
}

static void check_packet(void)
{
	struct pollfd p = {.fd = packet.master, .events = POLLPRI};
	char buf[64];
	int on = 0;

	CHECK(ioctl(packet.master, TIOCGPKT, &on) == 0 && on == 1);
	CHECK(poll(&p, 1, 0) == 0);
	CHECK(read(packet.master, buf, sizeof(buf)) == 14);
	CHECK(memcmp(buf, "\0in a packet\r\n", 14) == 0);
	CHECK(tcflush(packet.slave, TCIFLUSH) == 0);
	CHECK(read(packet.master, buf, sizeof(buf)) == 1 && buf[0] == TIOCPKT_FLUSHREAD);
}

/* ---- sides that are locked, not opened, closed, hung up, exclusive */

static bool is_exclusive; /* root may open it all the same */
static struct pair locked, fresh, closed, hung, own;

static void build_sides(void)
{
	open_master(&locked);
	open_master(&fresh);
	CHECK(unlockpt(fresh.master) == 0);
	open_pair(&closed);
	put(closed.slave, "last words\n");
	CHECK(close(closed.slave) == 0);
	open_pair(&hung);
	CHECK(close(hung.master) == 0);
	open_pair(&own);
	CHECK(!is_exclusive || ioctl(own.slave, TIOCEXCL) == 0);
}

static void check_sides(void)
{
	struct pollfd p = {.fd = fresh.master, .events = POLLIN};
	int lock = 0, exclusive = 0;
	char buf[64];

	CHECK(ioctl(locked.master, TIOCGPTLCK, &lock) == 0 && lock == 1);
	CHECK(open(locked.name, O_RDWR | O_NOCTTY) < 0 && errno == EIO);
	CHECK(ioctl(fresh.master, TIOCGPTLCK, &lock) == 0 && lock == 0);
	CHECK(poll(&p, 1, 0) == 0); /* it has not hung up */
	expect(closed.master, "last words\r\n");
	CHECK(read(closed.master, buf, 1) < 0 && errno == EIO);
	closed.slave = open(closed.name, O_RDWR | O_NOCTTY);
	CHECK(closed.slave >= 0);
	put(closed.master, "again\n");
	expect(closed.slave, "again\n");
	CHECK(read(hung.slave, buf, 1) == 0);
	CHECK(write(hung.slave, "x", 1) < 0 && errno == EIO);
	CHECK(ioctl(own.slave, TIOCGEXCL, &exclusive) == 0 && exclusive == is_exclusive);
}

/* ---- output stopped by the user, with something unread */

static struct pair stopped;

static void build_stopped(void)
{
	struct pollfd p = {.events = POLLOUT};

	open_pair(&stopped);
	p.fd = stopped.slave;
	put(stopped.slave, "before\n");
	wait_readable(stopped.master);
	put(stopped.master, "\x13");
	while (poll(&p, 1, 0) == 1)
		subject_nap_ms(1);
}

static void check_stopped(void)
{
	expect(stopped.master, "before\r\n");
	CHECK(write(stopped.slave, "x", 1) < 0 && errno == EAGAIN);
	put(stopped.master, "\x11");
	while (write(stopped.slave, "after", 5) < 0)
		subject_nap_ms(1);
	wait_readable(stopped.master);
	expect(stopped.master, "after");
}

/* ---- processes that wait for input of either side */

static struct pair talk;
static pid_t slave_reader, master_reader;

static void build_readers(void)
{
	char c;

	open_pair(&talk);
	make_raw(talk.slave);
	CHECK(fcntl(talk.slave, F_SETFL, O_RDWR) == 0);
	slave_reader = subject_fork();
	if (!slave_reader) {
		char in[7];
		size_t got = 0;

		while (got < 7) {
			ssize_t n = read(talk.slave, in + got, 7 - got);

			CHECK(n > 0);
			got += (size_t)n;
		}
		_exit(memcmp(in, "request", 7) != 0);
	}
	master_reader = subject_fork();
	if (!master_reader)
		_exit(!(read(talk.master, &c, 1) == 1 && c == '!'));
}

static void check_readers(void)
{
	put(talk.master, "request");
	put(talk.slave, "!");
	subject_reap(slave_reader);
	subject_reap(master_reader);
}

/* The same files under the same names, and each master's number is that of its slave. */
static void check_names(void)
{
	const struct pair *all[] = {&raw, &lines, &quiet, &packet, &locked, &fresh, &own, &stopped};
	char name[64];
	struct stat by_name, by_fd;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		CHECK(ptsname_r(all[i]->master, name, sizeof(name)) == 0);
		CHECK(strcmp(name, all[i]->name) == 0);
	}
	CHECK(stat(raw.name, &by_name) == 0 && fstat(raw.slave, &by_fd) == 0);
	CHECK(by_name.st_ino == by_fd.st_ino && (by_name.st_mode & 0777) == 0640);
	CHECK(strcmp(ttyname(raw.slave), raw.name) == 0);
}

int main(int argc, char **argv)
{
	(void)argv;
	is_exclusive = geteuid() == 0 || argc > 1;
	subject_init();
	CHECK(setsid() >= 0 || getsid(0) > 0);
	build_raw();
	build_lines();
	build_quiet();
	build_packet();
	build_sides();
	build_stopped();
	build_readers();
	CHECK(chmod(raw.name, 0640) == 0);
	subject_ready();
	subject_wait_go();
	check_names();
	check_raw();
	check_lines();
	check_quiet();
	check_packet();
	check_sides();
	check_stopped();
	check_readers();
	subject_ok();
}
