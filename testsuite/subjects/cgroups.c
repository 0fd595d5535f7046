/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes in cgroups: arguments are the folders of one for the root, one for its child, and perhaps one
 * of version 1 for a thread alone. Each is to be where it was, or where the file "where" says that all
 * are to be (lines as in /proc/PID/cgroup, each to be found).
 */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 8192 };

static const char *thread_folder;

static void read_text(const char *path, char *text)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	CHECK(fd >= 0);
	len = read(fd, text, TEXT_BYTES - 1);
	CHECK(len >= 0 && close(fd) == 0);
	text[len] = '\0';
}

static void join_group(const char *folder, const char *file)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0 && write(fd, "0", 1) == 1 && close(fd) == 0);
}

static void check_place(const char *before)
{
	char where[TEXT_BYTES], now[TEXT_BYTES], path[PATH_MAX];

	read_text("/proc/thread-self/cgroup", now);
	if (access(subject_path(path, "where"), F_OK) < 0) {
		CHECK(!strcmp(before, now));
		return;
	}
	read_text(path, where);
	CHECK(*where);
	for (char *save, *line = strtok_r(where, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		CHECK(strstr(now, line));
}

static void *thread_main(void *arg)
{
	char before[TEXT_BYTES];

	(void)arg;
	join_group(thread_folder, "tasks");
	read_text("/proc/thread-self/cgroup", before);
	subject_mark("thread");
	while (!subject_is_go())
		subject_nap_ms(5);
	check_place(before);
	return NULL;
}

int main(int argc, char **argv)
{
	char before[TEXT_BYTES];
	pthread_t thread;
	pid_t child;

	subject_init();
	CHECK(argc > 2);
	child = subject_fork();
	join_group(argv[child ? 1 : 2], "cgroup.procs");
	read_text("/proc/self/cgroup", before);
	if (!child) {
		subject_mark("child");
		subject_wait_go();
		check_place(before);
		_exit(0);
	}
	subject_wait_mark("child");
	thread_folder = argv[3];
	if (thread_folder) {
		CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0);
		subject_wait_mark("thread");
	}
	subject_ready();
	subject_wait_go();
	if (thread_folder)
		CHECK(pthread_join(thread, NULL) == 0);
	check_place(before);
	subject_reap(child);
	subject_ok();
}
