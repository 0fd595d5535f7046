/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a parent gets when a child ends: another signal than SIGCHLD, or none, which also decides
 * whether wait(2) needs __WCLONE; and children that nobody need wait for, since SIGCHLD is ignored or
 * has SA_NOCLDWAIT.
 */
#include "subject.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t got[NSIG];

static void count(int sig)
{
	got[sig]++;
}

static void handle(int sig, int flags)
{
	struct sigaction sa = {.sa_handler = count, .sa_flags = flags};

	CHECK(sigaction(sig, &sa, NULL) == 0);
}

/* A fork() whose child ends with that signal to the parent, at once or when `mark` is there. */
static pid_t start(int exit_signal, const char *mark, int code)
{
	pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)exit_signal, 0, 0, 0, 0);

	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (mark)
		subject_wait_mark(mark);
	_exit(code);
}

static void check_end(pid_t pid, int code)
{
	int status;

	CHECK(waitpid(pid, &status, 0) < 0 && errno == ECHILD); /* not for a plain wait() */
	CHECK(waitpid(pid, &status, __WCLONE) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == code);
}

/* In a process of its own: children vanish by themselves. */
static void reaped_by_nobody(bool by_flag, const char *mark)
{
	int status;

	if (by_flag)
		handle(SIGCHLD, SA_NOCLDWAIT);
	else
		(void)signal(SIGCHLD, SIG_IGN);
	(void)start(SIGCHLD, "end", 3);
	subject_mark(mark);
	CHECK(waitpid(-1, &status, 0) < 0 && errno == ECHILD); /* returns when all have ended */
	CHECK(subject_is_go());
	CHECK(got[SIGCHLD] == (by_flag ? 1 : 0));
	_exit(0);
}

int main(void)
{
	pid_t usr, none, rt, zombie, helper[2];
	siginfo_t si;

	subject_init();
	handle(SIGUSR1, SA_RESTART);
	handle(SIGUSR2, SA_RESTART);
	handle(SIGRTMIN + 3, SA_RESTART);
	usr = start(SIGUSR1, "end", 11);
	none = start(0, "end", 12);
	rt = start(SIGRTMIN + 3, "end", 13);
	zombie = start(SIGUSR2, NULL, 14);
	CHECK(waitid(P_PID, (id_t)zombie, &si, WEXITED | WNOWAIT | __WALL) == 0);
	CHECK(got[SIGUSR2] == 1);
	for (int i = 0; i < 2; i++) {
		helper[i] = subject_fork();
		if (!helper[i])
			reaped_by_nobody(i == 0, i ? "ignores" : "flag");
	}
	subject_wait_mark("flag");
	subject_wait_mark("ignores");
	subject_ready();
	subject_wait_go();
	CHECK(got[SIGUSR1] == 0 && got[SIGUSR2] == 1 && got[SIGRTMIN + 3] == 0);
	check_end(zombie, 14);
	subject_mark("end");
	while (!got[SIGUSR1] || !got[SIGRTMIN + 3])
		subject_nap_ms(1);
	check_end(usr, 11);
	while (waitid(P_PID, (id_t)none, &si, WEXITED | WNOWAIT | __WCLONE) < 0)
		CHECK(errno == EINTR);
	check_end(none, 12);
	check_end(rt, 13);
	CHECK(got[SIGUSR1] == 1 && got[SIGUSR2] == 1 && got[SIGRTMIN + 3] == 1);
	subject_reap(helper[0]);
	subject_reap(helper[1]);
	subject_ok();
}
