/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs one of Slurm's commands and reads what it says; bounded in time and size. */
#include "daemon/slurm_query.h"

#include "lib/scoped.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { RUN_TIMEOUT_MS = 20000, MAX_OUTPUT = 1 << 20 };

/* Both streams into one pipe: an error message of theirs becomes ours. */
static void __attribute__((__noreturn__)) child(const char *const argv[], uid_t uid, gid_t gid,
						int out)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(out, STDERR_FILENO);
	(void)setenv("LC_ALL", "C", 1);
	(void)setenv("SLURM_TIME_FORMAT", "%s", 1);
	(void)unsetenv("SQUEUE_FORMAT");
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(126);
	/* execvp() is declared for writable strings, which it does not write to */
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int gather(int fd, char *buf, size_t *len, struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + RUN_TIMEOUT_MS;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - wire_now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return stasis_fail(err, STASIS_E_TIMEOUT, "does not answer");
		n = read(fd, buf + *len, MAX_OUTPUT - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "read");
		if (n == 0)
			return 0;
		*len += (size_t)n;
		if (*len == MAX_OUTPUT)
			return stasis_fail(err, STASIS_E_IO, "says more than %d bytes", MAX_OUTPUT);
	}
}

int slurm_run(const char *const argv[], uid_t uid, gid_t gid, char **ret_out, int *ret_status,
	      struct stasis_error *err)
{
	scoped_free char *buf = malloc(MAX_OUTPUT + 1);
	scoped_fd int in = -1, out = -1;
	size_t len = 0;
	int fds[2], rc;
	pid_t pid;

	if (!buf || pipe2(fds, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s", argv[0]);
	in = fds[0];
	out = fds[1];
	pid = fork();
	if (pid == 0)
		child(argv, uid, gid, out);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "%s: fork", argv[0]);
	scoped_close_fd(&out);
	out = -1;
	rc = gather(in, buf, &len, err);
	if (rc < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	if (rc < 0)
		return stasis_fail_prefix(err, "%s", argv[0]);
	if (WIFEXITED(*ret_status) && WEXITSTATUS(*ret_status) == 127)
		return stasis_fail(err, STASIS_E_GONE, "%s cannot be started", argv[0]);
	buf[len] = '\0';
	*ret_out = ptr_take(&buf);
	return 0;
}
