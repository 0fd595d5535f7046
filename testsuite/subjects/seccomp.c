/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seccomp filters: two on top of each other in the process, a third in one thread only, all of them
 * inherited by a child. They refuse calls that a restart needs, which must not matter.
 *
 *   seccomp nnp      installed after PR_SET_NO_NEW_PRIVS
 *   seccomp root     installed by privilege, given up afterwards
 *   seccomp shared   the same filters in all threads, which is how most programs have them
 *   seccomp strict   a child in strict mode
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REFUSED = 77, REFUSED_BY_SECOND = 78, REFUSED_BY_THIRD = 79, NOBODY = 65534 };

static const int by_first[] = {SYS_getcpu, SYS_munmap, SYS_mremap, SYS_personality,
			       SYS_sched_setattr, SYS_set_robust_list, SYS_prlimit64};
static const int by_second[] = {SYS_sysfs, SYS_seccomp, SYS_set_tid_address};
static const int by_third[] = {SYS_ustat, SYS_rt_sigqueueinfo};

static pthread_barrier_t built;
static bool has_extra_go;

static void install(const int *list, size_t nr, int error, unsigned flags)
{
	struct sock_filter f[64];
	struct sock_fprog prog = {.filter = f};
	unsigned short n = 0;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < nr; i++) {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)list[i],
						      0, 1);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						      SECCOMP_RET_ERRNO | (unsigned)error);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog) == 0);
}

#define INSTALL(list, error, flags) install(list, sizeof(list) / sizeof((list)[0]), error, flags)

/* The value of a line of /proc/PATH/status. */
static long status_of(const char *path, const char *key)
{
	char text[8192] = "", *p;
	ssize_t len;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	CHECK(len > 0);
	p = strstr(text, key);
	CHECK(p != NULL);
	return strtol(p + strlen(key), NULL, 10);
}

static void refuses(const int *list, size_t nr, int error)
{
	for (size_t i = 0; i < nr; i++) {
		errno = 0;
		CHECK(syscall(list[i], -1, -1, -1, -1, -1, -1) == -1);
		if (errno != error)
			subject_bad("call %d: errno %d, not %d", list[i], errno, error);
	}
}

#define REFUSES(list, error) refuses(list, sizeof(list) / sizeof((list)[0]), error)

static long own_filters(void)
{
	return status_of("/proc/thread-self/status", "\nSeccomp_filters:");
}

static void check(long nr_filters)
{
	CHECK(status_of("/proc/thread-self/status", "\nSeccomp:") == SECCOMP_MODE_FILTER);
	CHECK(own_filters() == nr_filters);
	REFUSES(by_first, REFUSED);
	REFUSES(by_second, REFUSED_BY_SECOND);
}

static void *confined_more(void *arg)
{
	(void)arg;
	INSTALL(by_third, REFUSED_BY_THIRD, 0);
	(void)pthread_barrier_wait(&built);
	while (!__atomic_load_n(&has_extra_go, __ATOMIC_SEQ_CST))
		subject_nap_ms(1);
	REFUSES(by_third, REFUSED_BY_THIRD);
	CHECK(own_filters() >= 1);
	(void)pthread_barrier_wait(&built);
	for (;;)
		(void)pause();
	return NULL;
}

/* The last one that needs privilege, if there is any: then it goes. */
static void install_second(bool is_root)
{
	INSTALL(by_second, REFUSED_BY_SECOND, SECCOMP_FILTER_FLAG_LOG);
	if (is_root)
		CHECK(chown(".", NOBODY, NOBODY) == 0 &&
		      setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
		      setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
}

static pid_t start_child(void)
{
	pid_t pid = subject_fork();

	if (pid)
		return pid;
	subject_wait_go();
	check(own_filters());
	_exit(0);
}

static void filters(bool is_root)
{
	const long before = own_filters();
	pthread_t thread;
	pid_t child;

	CHECK(pthread_barrier_init(&built, NULL, 2) == 0);
	if (!is_root)
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	INSTALL(by_first, REFUSED, 0);
	CHECK(pthread_create(&thread, NULL, confined_more, NULL) == 0);
	(void)pthread_barrier_wait(&built);
	install_second(is_root);
	child = start_child();
	subject_ready();
	subject_wait_go();
	check(before + 2);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == !is_root);
	CHECK(!is_root || getuid() == NOBODY);
	__atomic_store_n(&has_extra_go, true, __ATOMIC_SEQ_CST);
	(void)pthread_barrier_wait(&built);
	subject_reap(child);
	subject_reap(start_child()); /* whoever is born now inherits them too */
	subject_ok();
}

/* Nothing but read, write and exit is allowed: it answers each byte with the next one. */
static _Noreturn void serve_strictly(int from, int to)
{
	unsigned char byte;

	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
	while (read(from, &byte, 1) == 1) {
		byte++;
		if (write(to, &byte, 1) != 1)
			break;
	}
	(void)syscall(SYS_exit, 0);
	__builtin_unreachable();
}

static void ask(int to, int from, unsigned char byte)
{
	unsigned char answer = 0;

	CHECK(write(to, &byte, 1) == 1 && read(from, &answer, 1) == 1);
	CHECK(answer == byte + 1);
}

static void *confined_alike(void *arg)
{
	(void)pthread_barrier_wait(&built);
	while (!__atomic_load_n(&has_extra_go, __ATOMIC_SEQ_CST))
		subject_nap_ms(1);
	check(*(const long *)arg);
	(void)pthread_barrier_wait(&built);
	for (;;)
		(void)pause();
	return NULL;
}

static void shared(void)
{
	long wanted = own_filters() + 2;
	pthread_t thread;

	CHECK(pthread_barrier_init(&built, NULL, 4) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	INSTALL(by_first, REFUSED, 0);
	INSTALL(by_second, REFUSED_BY_SECOND, 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&thread, NULL, confined_alike, &wanted) == 0);
	(void)pthread_barrier_wait(&built);
	subject_ready();
	subject_wait_go();
	check(wanted);
	__atomic_store_n(&has_extra_go, true, __ATOMIC_SEQ_CST);
	(void)pthread_barrier_wait(&built);
	subject_ok();
}

static void strict(void)
{
	char path[64];
	int to[2], from[2];
	pid_t child;

	CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
	child = subject_fork();
	if (!child) {
		(void)close(to[1]);
		(void)close(from[0]);
		serve_strictly(to[0], from[1]);
	}
	ask(to[1], from[0], 1);
	subject_ready();
	subject_wait_go();
	ask(to[1], from[0], 2);
	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)child);
	CHECK(status_of(path, "\nSeccomp:") == SECCOMP_MODE_STRICT);
	(void)close(to[1]);
	subject_reap(child);
	subject_ok();
}

int main(int argc, char **argv)
{
	subject_init();
	CHECK(argc == 2);
	if (!strcmp(argv[1], "strict"))
		strict();
	if (!strcmp(argv[1], "shared"))
		shared();
	filters(!strcmp(argv[1], "root"));
}
