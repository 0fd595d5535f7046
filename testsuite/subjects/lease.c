/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases (F_SETLEASE): a read lease with a signal of its own (F_SETSIG), which names the descriptor, and a
 * write lease with SIGIO for a child. Somebody opens the files: the holders are told, and he must wait.
 */
#include "locks.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int reader, writer;

static void block(int sig)
{
	sigset_t set;

	CHECK(sigemptyset(&set) == 0 && sigaddset(&set, sig) == 0 &&
	      sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

/* The signal comes, and with the descriptor when `fd` is one. */
static void await_signal(int sig, int fd)
{
	const struct timespec limit = {.tv_sec = 20};
	siginfo_t info;
	sigset_t set;

	CHECK(sigemptyset(&set) == 0 && sigaddset(&set, sig) == 0);
	CHECK(sigtimedwait(&set, &info, &limit) == sig);
	CHECK(fd < 0 || info.si_fd == fd);
}

static pid_t start_opener(const char *name, int flags)
{
	pid_t pid = subject_fork();

	if (pid == 0) {
		int fd;

		(void)close(reader);
		(void)close(writer);
		fd = open_again(name, flags);
		_exit(fd < 0);
	}
	return pid;
}

/* Holds the write lease, which it took itself. */
static pid_t start_writer(void)
{
	pid_t pid = subject_fork(), opener;

	if (pid)
		return pid;
	block(SIGIO);
	writer = pattern_file("written", 10, 2);
	CHECK(fcntl(writer, F_SETLEASE, F_WRLCK) == 0);
	subject_mark("writer-has-it");
	subject_wait_mark("try-writer");
	CHECK(fcntl(writer, F_GETLEASE) == F_WRLCK);
	opener = start_opener("written", O_RDONLY);
	await_signal(SIGIO, -1);
	CHECK(fcntl(writer, F_SETLEASE, F_UNLCK) == 0);
	subject_reap(opener);
	_exit(0);
}

int main(void)
{
	int sig = SIGRTMIN + 3;
	pid_t opener, child;

	subject_init();
	writer = -1;
	block(sig);
	CHECK(close(pattern_file("read", 10, 1)) == 0);
	reader = open_again("read", O_RDONLY);
	CHECK(fcntl(reader, F_SETSIG, sig) == 0 && fcntl(reader, F_SETLEASE, F_RDLCK) == 0);
	child = start_writer();
	subject_wait_mark("writer-has-it");
	subject_ready();
	subject_wait_go();
	CHECK(fcntl(reader, F_GETLEASE) == F_RDLCK && fcntl(reader, F_GETSIG) == sig);
	CHECK(open_again("read", O_RDONLY) >= 0);
	CHECK(open_again("read", O_WRONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK);
	opener = start_opener("read", O_WRONLY);
	await_signal(sig, reader);
	CHECK(fcntl(reader, F_SETLEASE, F_UNLCK) == 0);
	subject_reap(opener);
	subject_mark("try-writer");
	subject_reap(child);
	subject_ok();
}
