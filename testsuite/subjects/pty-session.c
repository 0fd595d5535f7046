/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session with a control terminal whose master the root holds:
 *
 *   root                   holds the master
 *   `- leader              of the session; background; has only /dev/tty open
 *      |- front            foreground group, waits for input
 *      |- behind           background group, its read() was stopped by SIGTTIN
 *      `- stranger         in the session, but has let go of the terminal
 *
 * Nobody may get a signal by the restart.
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
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t last_signal;

static void note(int sig)
{
	last_signal = sig;
}

static void listen_to(const int *sigs, unsigned nr)
{
	struct sigaction sa = {.sa_handler = note};

	for (unsigned i = 0; i < nr; i++)
		CHECK(sigaction(sigs[i], &sa, NULL) == 0);
}

static void listen_to_all(void)
{
	static const int sigs[] = {SIGHUP, SIGCONT, SIGWINCH, SIGTTOU, SIGTTIN, SIGINT, SIGTSTP};

	listen_to(sigs, 7);
}

static void check_quiet(const char *who)
{
	if (last_signal)
		subject_bad("%s got signal %d", who, (int)last_signal);
}

static void run_front(int slave)
{
	char buf[16];

	listen_to_all();
	subject_mark("front");
	CHECK(read(slave, buf, sizeof(buf)) == 6 && memcmp(buf, "hello\n", 6) == 0);
	check_quiet("front");
	subject_mark("front has read");
	while (!last_signal) /* CONTROL-C reaches this group */
		subject_nap_ms(1);
	CHECK(last_signal == SIGINT);
	CHECK(write(slave, "front done\n", 11) == 11);
	_exit(0);
}

static void run_behind(int slave)
{
	static const int sigs[] = {SIGHUP, SIGWINCH, SIGTTOU, SIGINT, SIGTSTP};
	char buf[16];
	ssize_t n;

	listen_to(sigs, 5);
	n = read(slave, buf, sizeof(buf)); /* stopped here, until it is in the foreground */
	CHECK(n == 4 && memcmp(buf, "bye\n", 4) == 0);
	check_quiet("behind");
	_exit(0);
}

static void run_stranger(int slave)
{
	listen_to_all();
	CHECK(ioctl(slave, TIOCNOTTY) == 0);
	subject_mark("stranger");
	subject_wait_go();
	CHECK(open("/dev/tty", O_RDWR) < 0 && errno == ENXIO);
	check_quiet("stranger");
	_exit(0);
}

static pid_t start(void (*run)(int), int slave, bool has_group)
{
	pid_t pid = subject_fork();

	if (!pid) {
		if (has_group)
			CHECK(setpgid(0, 0) == 0);
		run(slave);
	}
	if (has_group)
		(void)setpgid(pid, pid);
	return pid;
}

static void set_foreground(int tty, pid_t group)
{
	sigset_t ttou;

	CHECK(sigemptyset(&ttou) == 0 && sigaddset(&ttou, SIGTTOU) == 0);
	CHECK(sigprocmask(SIG_BLOCK, &ttou, NULL) == 0);
	CHECK(tcsetpgrp(tty, group) == 0);
	CHECK(sigprocmask(SIG_UNBLOCK, &ttou, NULL) == 0);
}

static void run_leader(const char *name)
{
	int slave, tty, status;
	pid_t front, behind, stranger;

	CHECK(setsid() == getpid());
	slave = open(name, O_RDWR); /* takes it as control terminal */
	tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	CHECK(slave >= 0 && tty >= 0);
	front = start(run_front, slave, true);
	set_foreground(tty, front);
	behind = start(run_behind, slave, true);
	stranger = start(run_stranger, slave, false);
	CHECK(close(slave) == 0);
	CHECK(waitpid(behind, &status, WUNTRACED) == behind);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
	listen_to_all();
	subject_mark("leader");
	subject_wait_go();

	check_quiet("leader");
	CHECK(tcgetsid(tty) == getpid() && tcgetpgrp(tty) == front);
	CHECK(getpgid(front) == front && getpgid(behind) == behind);
	CHECK(strcmp(ttyname(tty), "/dev/tty") == 0);
	subject_reap(stranger);
	subject_reap(front);
	set_foreground(tty, behind);
	CHECK(kill(-behind, SIGCONT) == 0);
	subject_mark("behind may read");
	subject_reap(behind);
	_exit(0);
}

static void wait_text(int master, const char *text)
{
	char all[512];
	size_t len = 0;

	for (;;) {
		ssize_t n = read(master, all + len, sizeof(all) - 1 - len);

		CHECK(n > 0);
		len += (size_t)n;
		all[len] = '\0';
		if (strstr(all, text))
			return;
	}
}

int main(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64];
	pid_t leader;

	subject_init();
	CHECK(master >= 0 && unlockpt(master) == 0 && ptsname_r(master, name, sizeof(name)) == 0);
	leader = subject_fork();
	if (!leader) {
		CHECK(close(master) == 0);
		run_leader(name);
	}
	subject_wait_mark("front");
	subject_wait_mark("stranger");
	subject_wait_mark("leader");
	subject_ready();
	subject_wait_go();
	CHECK(tcgetsid(master) == leader);
	CHECK(write(master, "hello\n", 6) == 6);
	subject_wait_mark("front has read");
	CHECK(write(master, "\x03", 1) == 1);
	wait_text(master, "front done\r\n");
	subject_wait_mark("behind may read");
	CHECK(write(master, "bye\n", 4) == 4);
	subject_reap(leader);
	CHECK(read(master, name, sizeof(name)) > 0); /* the echo */
	CHECK(read(master, name, sizeof(name)) < 0 && errno == EIO);
	subject_ok();
}
