/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX message queues: named and unlinked, messages with priorities, two descriptions of one queue, processes that
 * wait for a message and for room, and who is told of a message: by a signal with a value, or not at all.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 200, VALUE_A = 0x12345678, VALUE_B = 77 };

static struct mq_attr attr = {.mq_maxmsg = 6, .mq_msgsize = SIZE};

static mqd_t make(const char *what, int flags, mode_t mode)
{
	char name[64];
	mqd_t q;

	(void)snprintf(name, sizeof(name), "/stasis-%s-%d", what, (int)getpid());
	q = mq_open(name, flags | O_CREAT | O_EXCL, mode, &attr);
	CHECK(q >= 0);
	return q;
}

static void remove_name(const char *what)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "/stasis-%s-%d", what, (int)getpid());
	CHECK(mq_unlink(name) == 0);
}

static void put(mqd_t q, unsigned priority, const char *text)
{
	CHECK(mq_send(q, text, strlen(text), priority) == 0);
}

static void get(mqd_t q, unsigned want_priority, const char *want)
{
	char text[SIZE + 1];
	unsigned priority = 0;
	struct timespec deadline;
	ssize_t len;

	(void)clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 20;
	len = mq_timedreceive(q, text, SIZE, &priority, &deadline);
	if (len < 0)
		subject_bad("instead of '%s': errno %d", want, errno);
	text[len] = '\0';
	if (priority != want_priority || strcmp(text, want) != 0)
		subject_bad("'%s' of priority %u, not '%s' of %u", text, priority, want, want_priority);
}

static void tell(mqd_t q, int how, int signo, int value)
{
	const struct sigevent e = {
		.sigev_notify = how, .sigev_signo = signo, .sigev_value = {.sival_int = value}};

	CHECK(mq_notify(q, &e) == 0);
}

static void is_told(int signo, int value)
{
	const struct timespec limit = {.tv_sec = 20};
	siginfo_t info;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	CHECK(sigtimedwait(&set, &info, &limit) == signo);
	CHECK(info.si_code == SI_MESGQ && info.si_value.sival_int == value);
}

static bool is_pending(int signo)
{
	sigset_t set;

	CHECK(sigpending(&set) == 0);
	return sigismember(&set, signo);
}

/* Sleeps in that call. */
static bool is_in_call(pid_t pid, const char *nr)
{
	char path[64], text[64] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = '\0';
		(void)fclose(f);
	}
	return strncmp(text, nr, strlen(nr)) == 0;
}

int main(void)
{
	mqd_t named, writer, gone, empty, full, watched, busy;
	char name[64], text[SIZE];
	pid_t receiver, sender;
	struct mq_attr now;
	struct stat st;
	sigset_t set;

	subject_init();
	(void)umask(0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN + 1);
	(void)sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	named = make("named", O_RDWR, 0640);
	(void)snprintf(name, sizeof(name), "/stasis-named-%d", (int)getpid());
	writer = mq_open(name, O_WRONLY | O_NONBLOCK);
	CHECK(writer >= 0);
	put(named, 1, "one");
	put(named, 5, "five");
	put(named, 0, "");
	put(named, 5, "five again");
	put(named, 32767, "most");
	gone = make("gone", O_RDWR | O_NONBLOCK, 0600);
	remove_name("gone");
	put(gone, 3, "in a queue without a name");
	empty = make("empty", O_RDWR, 0600);
	full = make("full", O_RDWR, 0600);
	for (int i = 0; i < 6; i++)
		put(full, (unsigned)i, "full");
	watched = make("watched", O_RDWR, 0600);
	tell(watched, SIGEV_SIGNAL, SIGRTMIN + 1, VALUE_A);
	busy = make("busy", O_RDWR, 0600);
	put(busy, 2, "old");
	tell(busy, SIGEV_SIGNAL, SIGUSR1, VALUE_B);
	tell(gone, SIGEV_NONE, 0, 0);
	receiver = subject_fork();
	if (receiver == 0) { /* without a time limit: it may be long until the test goes on */
		CHECK(mq_receive(empty, text, SIZE, NULL) == 7 && memcmp(text, "at last", 7) == 0);
		_exit(0);
	}
	sender = subject_fork();
	if (sender == 0) {
		put(full, 7, "found room");
		_exit(0);
	}
	while (!is_in_call(receiver, "243 ") || !is_in_call(sender, "242 "))
		subject_nap_ms(5);
	subject_ready();
	subject_wait_go();

	CHECK(!is_pending(SIGRTMIN + 1) && !is_pending(SIGUSR1));
	CHECK(mq_getattr(named, &now) == 0);
	if (now.mq_curmsgs != 5 || now.mq_flags)
		subject_bad("%ld messages, flags 0x%lx", now.mq_curmsgs, now.mq_flags);
	CHECK(now.mq_maxmsg == 6 && now.mq_msgsize == SIZE);
	CHECK(fstat(named, &st) == 0 && (st.st_mode & 0777) == 0640 && st.st_uid == getuid());
	CHECK(mq_receive(writer, text, SIZE, NULL) < 0 && errno == EBADF);
	put(writer, 4, "four");
	CHECK(mq_send(writer, "too much", 8, 0) < 0 && errno == EAGAIN);
	get(named, 32767, "most");
	get(named, 5, "five");
	get(named, 5, "five again");
	get(named, 4, "four");
	get(named, 1, "one");
	get(named, 0, "");
	{
		mqd_t again = mq_open(name, O_RDWR);

		CHECK(again >= 0);
		put(again, 0, "by name");
		get(named, 0, "by name");
	}
	get(gone, 3, "in a queue without a name");
	CHECK(mq_receive(gone, text, SIZE, NULL) < 0 && errno == EAGAIN);
	CHECK(mq_notify(gone, &(struct sigevent){.sigev_notify = SIGEV_NONE}) < 0 && errno == EBUSY);
	put(empty, 9, "at last");
	subject_reap(receiver);
	get(full, 5, "full");
	subject_reap(sender);
	get(full, 7, "found room");
	put(watched, 0, "told");
	is_told(SIGRTMIN + 1, VALUE_A);
	get(watched, 0, "told");
	put(watched, 0, "not told");
	CHECK(!is_pending(SIGRTMIN + 1));
	get(busy, 2, "old");
	put(busy, 2, "new");
	is_told(SIGUSR1, VALUE_B);
	remove_name("named");
	remove_name("empty");
	remove_name("full");
	remove_name("watched");
	remove_name("busy");
	subject_ok();
}
