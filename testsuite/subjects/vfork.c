/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process in vfork(2) whose child has not called exec yet: that comes when the test makes "exec".
 *
 *   vfork            its child
 *   vfork shared     a child that shares memory for good (CLONE_VM)
 */
#include "subject.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536];

static int share(void *arg)
{
	(void)arg;
	for (;;)
		(void)pause();
	return 0;
}

static void shared(void)
{
	pid_t pid = clone(share, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

	CHECK(pid > 0);
	subject_ready();
	subject_wait_go();
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	subject_ok();
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	pid_t pid;

	subject_init();
	if (argc > 1 && !strcmp(argv[1], "shared"))
		shared();
	(void)subject_path(path, "exec");
	subject_ready();
	pid = vfork();
	if (pid == 0) {
		while (access(path, F_OK) < 0)
			(void)syscall(SYS_sched_yield);
		(void)execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	CHECK(pid > 0);
	subject_wait_go();
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	subject_ok();
}
