/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restart without the privilege to choose pids: in a pid namespace of its own every pid is free, and a
 * user namespace gives the right to choose there. Inside, the user keeps his own ids.
 */
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN_MAX_BYTES = 1 << 16, CALLER_POLL_NS = 50000000 };

static int write_proc_file(pid_t pid, const char *name, const char *text, struct stasis_error *err)
{
	char path[64];
	scoped_fd int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%s'", path);
	if (io_write_full(fd, text, strlen(text), err) < 0)
		return stasis_fail_prefix(err, "'%s'", path);
	return 0;
}

/* user_namespaces(7): an unprivileged process may map just its own ids, and the group only after
 * giving up setgroups(2). */
static int map_ids(pid_t pid, struct stasis_error *err)
{
	char uid_map[64], gid_map[64];

	(void)snprintf(uid_map, sizeof(uid_map), "%u %u 1\n", geteuid(), geteuid());
	(void)snprintf(gid_map, sizeof(gid_map), "%u %u 1\n", getegid(), getegid());
	if (write_proc_file(pid, "setgroups", "deny", err) < 0 ||
	    write_proc_file(pid, "uid_map", uid_map, err) < 0)
		return -1;
	return write_proc_file(pid, "gid_map", gid_map, err);
}

/* Pids in /proc must be those of the namespace; the mount stays private to it. Where that is denied
 * (a container with a masked /proc) the old /proc stays: pids in it are then the host's. */
static void mount_proc(struct restore *r)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		s_warn(r->s, "/proc cannot be mounted for the restarted processes: %s",
		       strerror(errno));
}

static pid_t clone_namespace(const struct restore *r)
{
	struct clone_args args = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | (r->is_user_namespace ? CLONE_NEWUSER : 0),
		.exit_signal = SIGCHLD,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

pid_t namespace_fork(struct restore *r, struct stasis_error *err)
{
	int go[2], report[2];
	char byte = 1;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	if (pipe2(report, O_CLOEXEC) < 0) {
		(void)close(go[0]);
		(void)close(go[1]);
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	}
	pid = clone_namespace(r);
	if (pid == 0) {
		(void)close(go[1]);
		(void)close(report[0]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1); /* the caller could not map the ids, and says so */
		(void)close(go[0]);
		r->status_fd = report[1];
		mount_proc(r);
		return 0;
	}
	(void)close(go[0]);
	(void)close(report[1]);
	r->status_fd = report[0];
	if (pid < 0)
		(void)stasis_fail_errno(err, STASIS_E_DENIED,
					"make a namespace with its own pids (root can restart "
					"without; see user_namespaces(7))");
	else if (!r->is_user_namespace || map_ids(pid, err) == 0)
		(void)!write(go[1], &byte, 1); /* a dead child is noticed by the caller */
	else
		pid = -1; /* end of file ends the child */
	(void)close(go[1]);
	return pid;
}

static void report(struct restore *r, int status)
{
	(void)!write(r->status_fd, &status, sizeof(status)); /* nobody may be waiting any more */
}

/* The caller finds the root among our children: it may have ended, but not be gone. */
static void await_caller(const struct restore *r)
{
	const struct timespec poll_time = {.tv_nsec = CALLER_POLL_NS};
	struct pollfd caller = {.fd = r->status_fd};

	while (__atomic_load_n(&r->shared->outcome, __ATOMIC_SEQ_CST) != RESTORE_SEEN &&
	       (poll(&caller, 1, 0) == 0)) /* else POLLERR: the caller is dead */
		(void)syscall(SYS_futex, &r->shared->outcome, FUTEX_WAIT, RESTORE_DONE, &poll_time, NULL,
			      0);
}

void namespace_serve(struct restore *r)
{
	pid_t root = (pid_t)r->procs[0].process->pid, pid;
	int status, report_fd;

	(void)signal(SIGPIPE, SIG_IGN);
	await_caller(r);
	/* nothing of the restart is needed any more, least of all its descriptors */
	report_fd = dup2(r->status_fd, 0);
	(void)syscall(SYS_close_range, 1, ~0u, 0);
	r->status_fd = report_fd;
	mem_load_free(r->mem);
	if (chdir("/") < 0)
		_exit(1);
	for (;;) {
		pid = waitpid(-1, &status, WUNTRACED | WCONTINUED);
		if (pid == root)
			report(r, status);
		if (pid < 0 && errno == ECHILD)
			_exit(0);
	}
}

/* In status its ids stand from our pid namespace inwards. */
static bool is_root(const struct restore *r, pid_t pid)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};
	scoped_fd int procfd = proc_open(pid, NULL);

	return procfd >= 0 && proc_read_status(procfd, "status", &st, NULL) == 0 && st.nr_ns_ids > 1 &&
	       st.ns_pid[1] == (pid_t)r->procs[0].process->pid;
}

pid_t namespace_root_pid(const struct restore *r, pid_t first)
{
	char path[64];
	scoped_free char *text = NULL;
	size_t len;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", first, first);
	if (io_read_file_at(AT_FDCWD, path, CHILDREN_MAX_BYTES, &text, &len, NULL) < 0)
		return 0;
	for (char *p = text, *end; *p; p = end + (*end == ' ')) {
		pid_t pid = (pid_t)strtol(p, &end, 10);

		if (end == p)
			break;
		if (is_root(r, pid))
			return pid;
	}
	return (pid_t)strtol(text, NULL, 10);
}
