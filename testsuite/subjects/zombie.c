/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children that ended and were not yet waited for: their status is there afterwards. */
#include "subject.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(int exit_code, int signo)
{
	siginfo_t si;
	pid_t pid = subject_fork();

	if (!pid) {
		struct rlimit none = {0, 0};

		(void)setrlimit(RLIMIT_CORE, &none);
		if (signo)
			(void)raise(signo);
		_exit(exit_code);
	}
	CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0);
	return pid;
}

static int reap(pid_t pid)
{
	int status = -1;

	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

int main(void)
{
	pid_t exited, killed, segv, own_group;
	int status;

	subject_init();
	exited = start(42, 0);
	killed = start(0, SIGKILL);
	segv = start(0, SIGSEGV);
	own_group = subject_fork();
	if (!own_group) {
		(void)setsid();
		_exit(7);
	}
	CHECK(waitid(P_PID, (id_t)own_group, &(siginfo_t){0}, WEXITED | WNOWAIT) == 0);
	subject_ready();
	subject_wait_go();
	status = reap(exited);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	status = reap(killed);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = reap(segv);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = reap(own_group);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CHECK(waitpid(-1, &status, WNOHANG) < 0); /* nobody else is our child */
	subject_ok();
}
