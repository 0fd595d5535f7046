/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container with a user namespace, as bubblewrap and podman make them: the root's child is the first process
 * in new user, pid, mount, network, UTS and IPC namespaces. In there: a thread, a process with another id (when
 * the root may map some), a tmpfs with a file of its, a mount from outside that cannot be made writable,
 * and a user namespace in the user namespace.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OTHER_ID = 33, TEXT_BYTES = 4096 };

static const char *const owned[] = {"mnt", "net", "uts", "ipc", "pid"};
static char tmpfs[PATH_MAX], fixed[PATH_MAX];
static bool is_root;

static void read_text(const char *path, char *text)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	CHECK(fd >= 0);
	len = read(fd, text, TEXT_BYTES - 1);
	CHECK(len >= 0 && close(fd) == 0);
	text[len] = '\0';
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	return st.st_ino;
}

static int open_ns(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return open(path, O_RDONLY);
}

static ino_t own_inode(const char *name)
{
	int fd = open_ns(name);
	ino_t ino = inode_of(fd);

	CHECK(close(fd) == 0);
	return ino;
}

static void check_owner(const char *name, ino_t user)
{
	int fd = open_ns(name), owner = ioctl(fd, NS_GET_USERNS);

	CHECK(owner >= 0 && inode_of(owner) == user);
	CHECK(close(fd) == 0 && close(owner) == 0);
}

static void write_maps(pid_t pid, const char *map, bool denies)
{
	static const char *const names[] = {"setgroups", "uid_map", "gid_map"};
	char path[64];

	for (size_t i = denies ? 0 : 1; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, names[i]);
		write_text(path, i ? map : "deny");
	}
}

static uint64_t effective_caps(void)
{
	char text[TEXT_BYTES], *line;

	read_text("/proc/thread-self/status", text);
	line = strstr(text, "CapEff:");
	CHECK(line);
	return strtoull(line + 7, NULL, 16);
}

static void *thread_main(void *arg)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	(void)arg;
	subject_mark("thread");
	while (!subject_is_go())
		subject_nap_ms(5);
	CHECK((pid_t)syscall(SYS_gettid) == tid && effective_caps());
	return NULL;
}

/* Another user of the container: no privilege. */
static pid_t start_other(void)
{
	pid_t pid = is_root ? subject_fork() : 0;

	if (pid || !is_root)
		return pid;
	CHECK(setresgid(OTHER_ID, OTHER_ID, OTHER_ID) == 0 && setresuid(OTHER_ID, OTHER_ID, OTHER_ID) == 0);
	subject_mark("other");
	subject_wait_go();
	CHECK(getuid() == OTHER_ID && geteuid() == OTHER_ID && getgid() == OTHER_ID && !effective_caps());
	CHECK(setuid(0) < 0 && sethostname("x", 1) < 0);
	_exit(0);
}

/* A user namespace of its own in the other one, and nothing else. */
static pid_t start_inner(void)
{
	char before[TEXT_BYTES], after[TEXT_BYTES];
	int own, parent;
	pid_t pid = subject_fork();

	if (pid)
		return pid;
	CHECK(unshare(CLONE_NEWUSER) == 0);
	write_maps(getpid(), "7 0 1\n", true);
	read_text("/proc/self/uid_map", before);
	subject_mark("inner");
	subject_wait_go();
	read_text("/proc/self/uid_map", after);
	CHECK(!strcmp(before, after) && getuid() == 7 && effective_caps());
	own = open_ns("user");
	parent = ioctl(own, NS_GET_PARENT);
	CHECK(parent < 0 && errno == EPERM); /* it cannot be seen from inside */
	CHECK(close(own) == 0);
	_exit(0);
}

static void make_mounts(void)
{
	char path[PATH_MAX + 16];
	int fd;

	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 || errno == EPERM);
	CHECK(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0);
	CHECK(mount("subject", tmpfs, "tmpfs", MS_NODEV, "mode=755") == 0);
	(void)snprintf(path, sizeof(path), "%s/file", tmpfs);
	fd = open(path, O_RDWR | O_CREAT, 0640);
	CHECK(fd >= 0 && write(fd, "content", 7) == 7 && close(fd) == 0);
	CHECK(!is_root || chown(path, OTHER_ID, OTHER_ID) == 0);
}

static void check_mounts(void)
{
	char path[PATH_MAX + 16], text[TEXT_BYTES];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/file", tmpfs);
	read_text(path, text);
	CHECK(!strcmp(text, "content") && stat(path, &st) == 0);
	CHECK(st.st_uid == (is_root ? OTHER_ID : 0) && (st.st_mode & 07777) == 0640);
	(void)snprintf(path, sizeof(path), "%s/proc", tmpfs);
	/* rights in what belongs to the container */
	CHECK(mkdir(path, 0755) == 0 && mount("proc", path, "proc", 0, NULL) == 0 && umount(path) == 0);
	CHECK(mount(NULL, tmpfs, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	CHECK(!is_root || (mount(NULL, fixed, NULL, MS_REMOUNT | MS_BIND, NULL) < 0 && errno == EPERM));
}

static void check_all(ino_t user, const char *map)
{
	char text[TEXT_BYTES];

	CHECK(getpid() == 1 && getuid() == 0 && geteuid() == 0 && getgid() == 0 && effective_caps());
	read_text("/proc/self/uid_map", text);
	CHECK(!strcmp(text, map));
	read_text("/proc/self/setgroups", text);
	CHECK(!strcmp(text, is_root ? "allow\n" : "deny\n"));
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		check_owner(owned[i], user);
}

static _Noreturn void first_process(int go)
{
	char map[TEXT_BYTES], byte, host[64];
	pthread_t thread;
	pid_t other, inner;

	CHECK(read(go, &byte, 1) == 1 && close(go) == 0);
	CHECK(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 && sethostname("inside", 6) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0); /* else its files in /proc are not its own */
	make_mounts();
	read_text("/proc/self/uid_map", map);
	other = start_other();
	if (is_root)
		subject_wait_mark("other");
	inner = start_inner();
	subject_wait_mark("inner");
	CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0);
	subject_wait_mark("thread");
	check_all(own_inode("user"), map);
	subject_mark("first");
	subject_wait_go();
	CHECK(pthread_join(thread, NULL) == 0);
	check_all(own_inode("user"), map);
	CHECK(gethostname(host, sizeof(host)) == 0 && !strcmp(host, "inside") && sethostname("other", 5) == 0);
	check_mounts();
	if (is_root)
		subject_reap(other);
	subject_reap(inner);
	_exit(0);
}

static pid_t start_first(void)
{
	const long flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS |
			   CLONE_NEWIPC | SIGCHLD;
	char map[64];
	int go[2];
	pid_t pid;

	CHECK(pipe(go) == 0);
	pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
	CHECK(pid >= 0);
	if (!pid)
		first_process(go[0]);
	(void)snprintf(map, sizeof(map), is_root ? "0 100000 1000\n" : "0 %u 1\n", geteuid());
	write_maps(pid, map, !is_root);
	CHECK(write(go[1], "", 1) == 1 && close(go[0]) == 0 && close(go[1]) == 0);
	return pid;
}

/* What the container gets from outside read-only stays so. */
static void make_fixed(void)
{
	CHECK(mkdir(subject_path(fixed, "fixed"), 0755) == 0);
	if (!is_root)
		return;
	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount(fixed, fixed, NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, fixed, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

int main(void)
{
	uid_t uid = getuid();
	pid_t first, self = getpid();

	is_root = uid == 0;
	subject_init();
	CHECK(mkdir(subject_path(tmpfs, "tmpfs"), 0755) == 0);
	make_fixed();
	/* those inside are other users */
	CHECK(chmod(subject_path((char[PATH_MAX]){""}, "."), 0777) == 0);
	first = start_first();
	subject_wait_mark("first");
	subject_ready();
	subject_wait_go();
	CHECK(getpid() == self && getuid() == uid);
	subject_reap(first);
	subject_ok();
}
