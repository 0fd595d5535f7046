/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of processes and threads that few programs have: a working directory and umask of a thread of
 * its own, memory that may not become executable, huge pages on advice only, the core file's filter,
 * speculation, and a processor time limit of which part is used up.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SET_MDWE = 65,
	GET_MDWE = 66,
	REFUSE_EXEC_GAIN = 1,
	EXCEPT_ADVISED = 2,
	CPU_LIMIT_S = 1000,
	CORE_FILTER = 0x5a,
	USED_MS = 1200, /* /proc counts in ticks */
};

static pthread_barrier_t built, checked;
static char home[PATH_MAX], own[PATH_MAX];

static void check_place(const char *cwd, mode_t mask)
{
	char now[PATH_MAX];
	mode_t was;

	CHECK(getcwd(now, sizeof(now)) != NULL);
	if (strcmp(now, cwd) != 0)
		subject_bad("working directory %s, not %s", now, cwd);
	was = umask(mask);
	CHECK(was == mask);
}

static void *elsewhere(void *arg)
{
	char path[PATH_MAX];

	(void)arg;
	CHECK(unshare(CLONE_FS) == 0);
	CHECK(mkdir(subject_path(path, "own"), 0755) == 0 && chdir(path) == 0);
	CHECK(getcwd(own, sizeof(own)) != NULL);
	(void)umask(033);
	(void)pthread_barrier_wait(&built);
	subject_wait_go();
	check_place(own, 033);
	CHECK(chdir("..") == 0); /* its own still */
	(void)pthread_barrier_wait(&checked);
	for (;;)
		(void)pause();
	return NULL;
}

static unsigned long core_filter(void)
{
	char text[32] = "";
	int fd = open("/proc/self/coredump_filter", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	(void)close(fd);
	return strtoul(text, NULL, 16);
}

static void set_core_filter(void)
{
	char text[16];
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	int len = snprintf(text, sizeof(text), "%#x", CORE_FILTER);

	CHECK(fd >= 0 && write(fd, text, (size_t)len) == len);
	(void)close(fd);
}

static void *map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
}

/* A child, since none of this can be taken back. */
static pid_t start_sealed(void)
{
	pid_t pid = subject_fork();
	int spec, has_mdwe, has_thp;

	if (pid)
		return pid;
	has_mdwe = prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) == 0;
	has_thp = prctl(PR_SET_THP_DISABLE, 1, EXCEPT_ADVISED, 0, 0) == 0; /* Linux 6.18 */
	(void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
	spec = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
	subject_mark("sealed");
	subject_wait_go();
	if (has_mdwe) {
		CHECK(prctl(GET_MDWE, 0, 0, 0, 0) == REFUSE_EXEC_GAIN);
		CHECK(map_code() == MAP_FAILED && errno == EACCES);
	}
	if (has_thp)
		CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == (1 | EXCEPT_ADVISED));
	CHECK(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0) == spec);
	_exit(0);
}

static long cpu_ms(void)
{
	struct rusage ru;

	CHECK(getrusage(RUSAGE_SELF, &ru) == 0);
	return (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000 +
	       (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1000;
}

int main(void)
{
	struct rlimit limit = {CPU_LIMIT_S, CPU_LIMIT_S + 10};
	pthread_t thread;
	pid_t child;

	subject_init();
	CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
	CHECK(getcwd(home, sizeof(home)) != NULL);
	(void)umask(027);
	set_core_filter();
	CHECK(pthread_barrier_init(&built, NULL, 2) == 0 &&
	      pthread_barrier_init(&checked, NULL, 2) == 0);
	CHECK(pthread_create(&thread, NULL, elsewhere, NULL) == 0);
	(void)pthread_barrier_wait(&built);
	child = start_sealed();
	subject_wait_mark("sealed");
	while (cpu_ms() < USED_MS)
		;
	subject_ready();
	subject_wait_go();
	CHECK(core_filter() == CORE_FILTER);
	(void)pthread_barrier_wait(&checked);
	check_place(home, 027);
	CHECK(getrlimit(RLIMIT_CPU, &limit) == 0);
	/* a restarted process counts from zero */
	CHECK(limit.rlim_cur <= CPU_LIMIT_S - (cpu_ms() < USED_MS ? 1u : 0u));
	CHECK(limit.rlim_cur >= CPU_LIMIT_S - 60 && limit.rlim_max == limit.rlim_cur + 10);
	subject_reap(child);
	subject_ok();
}
