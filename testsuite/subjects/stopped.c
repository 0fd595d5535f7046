/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children stopped by SIGSTOP and SIGTSTP stay stopped, by the same signal, and go on with SIGCONT. */
#include "subject.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_stopped(int signo)
{
	siginfo_t si;
	pid_t pid = subject_fork();

	if (!pid) {
		if (signo != SIGSTOP) /* like a job of a shell: this stops nobody in an orphaned group */
			CHECK(setpgid(0, 0) == 0);
		(void)raise(signo);
		_exit(signo);
	}
	CHECK(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WNOWAIT) == 0);
	return pid;
}

static char state_of(pid_t pid)
{
	char path[64], text[256], *p;
	int fd;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	CHECK(n > 0);
	text[n] = 0;
	p = strrchr(text, ')');
	CHECK(p && p[1] == ' ');
	return p[2];
}

static void wake(pid_t pid, int want)
{
	siginfo_t si;
	int status;

	if (state_of(pid) != 'T')
		subject_bad("stopped child is in state %c", state_of(pid));
	subject_nap_ms(30);
	CHECK(state_of(pid) == 'T');
	CHECK(waitid(P_PID, (id_t)pid, &si, WSTOPPED) == 0 && si.si_status == want);
	CHECK(kill(pid, SIGCONT) == 0);
	do {
		CHECK(waitpid(pid, &status, 0) == pid);
	} while (WIFCONTINUED(status));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == want);
}

int main(void)
{
	pid_t a, b;

	subject_init();
	a = start_stopped(SIGSTOP);
	b = start_stopped(SIGTSTP);
	subject_ready();
	subject_wait_go();
	wake(a, SIGSTOP);
	wake(b, SIGTSTP);
	subject_ok();
}
