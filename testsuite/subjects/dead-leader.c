/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes whose first thread has ended (main() called pthread_exit) while others run on: it stays a
 * zombie, keeps the exit status of the process, and everything goes on in the other threads.
 */
#include "subject.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR = 3, CODE = 5, LAST = 6, LEN = 1 << 20 };

static char *memory;
static int fd;
static pid_t tids[NR], child, root;
static pthread_barrier_t built, checked;

static char state_of(pid_t pid)
{
	char path[64], text[512] = "", *p;
	int f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", pid);
	f = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(f >= 0 && read(f, text, sizeof(text) - 1) > 0);
	(void)close(f);
	p = strrchr(text, ')');
	CHECK(p != NULL);
	return p[2];
}

/* The child's second thread. Since Linux 5.17 the status of the last one to end counts, before it was
 * the first one's. */
static void *live_on(void *arg)
{
	(void)arg;
	while (state_of(getpid()) != 'Z')
		subject_nap_ms(1);
	subject_mark("child");
	subject_wait_mark("end");
	CHECK(state_of(getpid()) == 'Z');
	(void)syscall(SYS_exit, LAST);
	return NULL;
}

static void *work(void *arg)
{
	const size_t i = (size_t)arg;
	struct stat st;

	tids[i] = (pid_t)syscall(SYS_gettid);
	while (state_of(getpid()) != 'Z')
		subject_nap_ms(1);
	(void)pthread_barrier_wait(&built);
	if (i == 0) {
		subject_wait_mark("child");
		subject_ready();
	}
	subject_wait_go();
	CHECK(tids[i] == (pid_t)syscall(SYS_gettid) && getpid() == root);
	CHECK(state_of(root) == 'Z' && state_of(tids[i]) == 'R');
	CHECK(pattern_matches(memory, LEN, 7));
	CHECK(fstat(fd, &st) == 0 && st.st_size == LEN);
	(void)pthread_barrier_wait(&checked);
	if (i == 1) {
		int status;

		subject_mark("end");
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == CODE || WEXITSTATUS(status) == LAST));
		subject_ok();
	}
	for (;;)
		(void)pause();
	return NULL;
}

int main(void)
{
	pthread_t thread;

	subject_init();
	child = subject_fork();
	if (!child) {
		CHECK(pthread_create(&thread, NULL, live_on, NULL) == 0);
		(void)syscall(SYS_exit, CODE);
	}
	root = getpid();
	fd = pattern_file("content", LEN, 8);
	memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	pattern_fill(memory, LEN, 7);
	CHECK(pthread_barrier_init(&built, NULL, NR) == 0 &&
	      pthread_barrier_init(&checked, NULL, NR) == 0);
	for (size_t i = 0; i < NR; i++)
		CHECK(pthread_create(&thread, NULL, work, (void *)i) == 0); /* NOLINT */
	pthread_exit(NULL);
}
