/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part that all subjects share: how they talk to the test. Keeps no descriptor open. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX];

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(2);
}

void subject_init(void)
{
	const char *dir = getenv("STASIS_SUBJECT_DIR");

	if (!dir)
		dir = ".";
	if (!realpath(dir, folder))
		die(dir);
	(void)setvbuf(stdout, NULL, _IONBF, 0);
}

const char *subject_path(char *buf, const char *name)
{
	(void)snprintf(buf, PATH_MAX, "%.*s/%s", PATH_MAX - 300, folder, name);
	return buf;
}

/* The file appears whole, and only if there is none of that name: the first verdict stands. */
static void write_once(const char *name, const char *text)
{
	char path[PATH_MAX], tmp[PATH_MAX], tmpname[64];
	int fd;

	(void)snprintf(tmpname, sizeof(tmpname), ".%s.%ld", name, (long)getpid());
	fd = open(subject_path(tmp, tmpname), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		die(tmp);
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(tmp);
	(void)close(fd);
	if (link(tmp, subject_path(path, name)) < 0 && errno != EEXIST) /* somebody was first: fine */
		die(path);
	(void)unlink(tmp);
}

static bool exists(const char *name)
{
	char path[PATH_MAX];

	return access(subject_path(path, name), F_OK) == 0;
}

void subject_nap_ms(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

void subject_ready(void)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "ready %ld\n", (long)getpid());
	write_once("status", text);
}

bool subject_is_go(void)
{
	return exists("go");
}

void subject_wait_go(void)
{
	while (!subject_is_go())
		subject_nap_ms(2);
}

void subject_mark(const char *name)
{
	write_once(name, "x\n");
}

void subject_wait_mark(const char *name)
{
	while (!exists(name))
		subject_nap_ms(1);
}

_Noreturn void subject_ok(void)
{
	write_once("verdict", "ok\n");
	_exit(0);
}

_Noreturn void subject_bad(const char *fmt, ...)
{
	char why[400], text[420];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	(void)snprintf(text, sizeof(text), "bad: %s\n", why);
	write_once("verdict", text);
	_exit(1);
}

int subject_errno(void)
{
	return errno;
}

static uint64_t pattern_word(uint64_t seed, size_t i)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + i * 0xbf58476d1ce4e5b9u + 1;

	x ^= x >> 29;
	return x * 0x94d049bb133111ebu;
}

void pattern_fill(void *mem, size_t len, uint64_t seed)
{
	uint64_t *w = mem;
	size_t i;

	for (i = 0; i < len / 8; i++)
		w[i] = pattern_word(seed, i);
	for (i = len & ~(size_t)7; i < len; i++)
		((uint8_t *)mem)[i] = (uint8_t)(seed + i);
}

bool pattern_matches(const void *mem, size_t len, uint64_t seed)
{
	const uint64_t *w = mem;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		if (w[i] != pattern_word(seed, i))
			return false;
	}
	for (i = len & ~(size_t)7; i < len; i++) {
		if (((const uint8_t *)mem)[i] != (uint8_t)(seed + i))
			return false;
	}
	return true;
}

int pattern_file(const char *name, size_t len, uint64_t seed)
{
	char path[PATH_MAX];
	void *mem = malloc(len);
	int fd = open(subject_path(path, name), O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (!mem || fd < 0)
		die(path);
	pattern_fill(mem, len, seed);
	if (pwrite(fd, mem, len, 0) != (ssize_t)len)
		die(path);
	free(mem);
	return fd;
}

pid_t subject_fork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

void subject_reap(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (status)
		subject_bad("child %ld ended with status 0x%x", (long)pid, (unsigned)status);
}
