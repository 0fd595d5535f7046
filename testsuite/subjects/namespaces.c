/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container in the tree: the root makes pid, mount, network, UTS, IPC and cgroup namespaces and forks
 * into them, as unshare(1) does. Inside: a first process with a thread, a session of its own, a zombie,
 * a /proc, a tmpfs with all sorts of files, one of them open, one mapped; and a container in the
 * container.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_BYTES = 3 * 4096 };

static char tmpfs[PATH_MAX];
static pid_t thread_tid;

static const char *in_tmpfs(const char *name)
{
	static char paths[2][PATH_MAX + 64]; /* link() takes two */
	static unsigned turn;
	char *path = paths[turn++ % 2];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", tmpfs, name);
	return path;
}

static void *thread_main(void *arg)
{
	(void)arg;
	thread_tid = (pid_t)syscall(SYS_gettid);
	subject_mark("thread");
	while (!subject_is_go())
		subject_nap_ms(5);
	CHECK((pid_t)syscall(SYS_gettid) == thread_tid);
	return NULL;
}

static void fill_tmpfs(void)
{
	int fd;

	CHECK(mount("subject", tmpfs, "tmpfs", MS_NODEV, "mode=711,size=4m") == 0);
	CHECK(mkdir(in_tmpfs("folder"), 0750) == 0);
	fd = open(in_tmpfs("folder/file"), O_RDWR | O_CREAT, 0640);
	CHECK(fd >= 0 && write(fd, "content", 7) == 7 && ftruncate(fd, 1 << 20) == 0 && close(fd) == 0);
	CHECK(chown(in_tmpfs("folder/file"), 1234, 2345) == 0);
	CHECK(symlink("folder/file", in_tmpfs("link")) == 0);
	CHECK(mkfifo(in_tmpfs("fifo"), 0600) == 0);
	CHECK(link(in_tmpfs("fifo"), in_tmpfs("fifo2")) == 0);
}

static void check_tmpfs(void)
{
	struct stat a, b;
	char text[16];
	int fd = open(in_tmpfs("link"), O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, 7) == 7 && !memcmp(text, "content", 7));
	CHECK(fstat(fd, &a) == 0 && a.st_size == 1 << 20 && (a.st_mode & 07777) == 0640);
	CHECK(a.st_uid == 1234 && a.st_gid == 2345 && a.st_blocks < 100);
	CHECK(close(fd) == 0);
	CHECK(stat(in_tmpfs("folder"), &a) == 0 && (a.st_mode & 07777) == 0750);
	CHECK(stat(in_tmpfs("fifo"), &a) == 0 && stat(in_tmpfs("fifo2"), &b) == 0);
	CHECK(S_ISFIFO(a.st_mode) && a.st_ino == b.st_ino);
	CHECK(stat(tmpfs, &a) == 0 && (a.st_mode & 07777) == 0711);
}

static bool loopback_is_up(bool set)
{
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	bool is_up;

	CHECK(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &r) == 0);
	is_up = r.ifr_flags & IFF_UP;
	r.ifr_flags |= IFF_UP;
	CHECK(!set || ioctl(fd, SIOCSIFFLAGS, &r) == 0);
	CHECK(close(fd) == 0);
	return is_up;
}

static void check_proc(pid_t own)
{
	char link[32];
	ssize_t n = readlink("/proc/self", link, sizeof(link) - 1);

	CHECK(n > 0);
	link[n] = '\0';
	CHECK(atoi(link) == own);
}

/* A container in the container: only its pids are its own. */
static pid_t start_inner(void)
{
	pid_t pid;

	CHECK(unshare(CLONE_NEWPID) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	CHECK(getpid() == 1 && setsid() == 1);
	subject_mark("inner");
	subject_wait_go();
	CHECK(getpid() == 1 && getsid(0) == 1 && getpgid(0) == 1 && getppid() == 0);
	_exit(0);
}

static void first_process(const char *name)
{
	char *mapped, host[64];
	siginfo_t info = {.si_pid = 0};
	pthread_t thread;
	pid_t zombie, inner;
	int fd;

	CHECK(getpid() == 1 && sethostname("subject", 7) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("proc", "/proc", "proc", MS_NOSUID, NULL) == 0);
	fill_tmpfs();
	CHECK(!loopback_is_up(true));
	fd = open(in_tmpfs("folder/open"), O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && ftruncate(fd, FILE_BYTES) == 0 && write(fd, "12345", 5) == 5);
	mapped = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(mapped != MAP_FAILED);
	pattern_fill(mapped + 4096, 4096, 7);
	zombie = fork();
	if (!zombie)
		_exit(33);
	CHECK(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
	CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0);
	subject_wait_mark("thread");
	inner = start_inner();
	subject_wait_mark("inner");
	subject_mark(name);
	subject_wait_go();
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(getpid() == 1 && getppid() == 0 && gethostname(host, sizeof(host)) == 0);
	CHECK(!strcmp(host, "subject") && loopback_is_up(false));
	check_proc(1);
	check_tmpfs();
	CHECK(lseek(fd, 0, SEEK_CUR) == 5 && mapped[0] == '1' && pattern_matches(mapped + 4096, 4096, 7));
	CHECK(pwrite(fd, "x", 1, 0) == 1 && mapped[0] == 'x');
	CHECK(waitid(P_PID, (id_t)zombie, &info, WEXITED) == 0 && info.si_status == 33);
	subject_reap(inner);
	_exit(0);
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return st.st_ino;
}

int main(void)
{
	const int flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC |
			  CLONE_NEWCGROUP;
	pid_t first, self = getpid();
	ino_t uts;

	subject_init();
	(void)subject_path(tmpfs, "tmpfs");
	CHECK(mkdir(tmpfs, 0755) == 0);
	uts = inode_of("/proc/self/ns/uts");
	CHECK(unshare(flags) == 0 && inode_of("/proc/self/ns/uts") != uts);
	first = subject_fork();
	if (!first)
		first_process("first");
	subject_wait_mark("first");
	subject_ready();
	subject_wait_go();
	CHECK(getpid() == self);
	subject_reap(first);
	/* a pid namespace whose first process is gone takes no more */
	CHECK(fork() < 0 && errno == ENOMEM);
	subject_ok();
}
