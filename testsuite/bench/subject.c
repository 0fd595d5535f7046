/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the bench checkpoints. `subject DIR KIND NUMBER` builds NUMBER things of a kind, leads a
 * session of its own (so that one kill(2) ends all of it), writes DIR/ready and polls:
 *
 *   DIR/go      made by the bench before a restart: write the time into DIR/ran, remove it
 *   DIR/check   made by the bench at the end: check everything, write DIR/verdict, end
 *
 * The time in DIR/ran is CLOCK_MONOTONIC in nanoseconds: the moment the restarted program runs its
 * own code again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	HUGE = 2 << 20,
	MIB = 1 << 20,
	POLL_NS = 200000,
	MAP_PAGES = 4,		 /* length of each of many mappings, of which one page is touched */
	THREAD_STACK = 64 << 10, /* bytes */
	FANOUT = 10,		 /* children of each inner process of a tree */
	SPARE_FDS = 64,
	FD_KINDS = 4,
};

static int dirfd_;

static void __attribute__((__noreturn__, __format__(__printf__, 1, 2))) die(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, ": %s\n", strerror(saved));
	exit(1);
}

static void put(const char *name, const char *text)
{
	char draft[64];
	int fd;

	(void)snprintf(draft, sizeof(draft), "%s.draft", name);
	fd = openat(dirfd_, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0 ||
	    renameat(dirfd_, draft, dirfd_, name) < 0)
		die("write '%s'", name);
}

static bool is_there(const char *name)
{
	return faccessat(dirfd_, name, F_OK, 0) == 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Random words (splitmix64): no page is zero or like another. */
static uint64_t word(uint64_t i)
{
	uint64_t z = i * 0x9e3779b97f4a7c15u + 0x1234567;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* ---- memory */

static uint64_t *mem;
static size_t mem_words;

static void mem_make(size_t mib, bool is_huge)
{
	size_t len = mib * MIB;
	char *p = mmap(NULL, len + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	p += -(uintptr_t)p % HUGE;
	if (is_huge && madvise(p, len, MADV_HUGEPAGE) < 0)
		die("madvise");
	mem = (uint64_t *)(void *)p;
	mem_words = len / sizeof(*mem);
	for (size_t i = 0; i < mem_words; i++)
		mem[i] = word(i);
}

static bool mem_ok(void)
{
	for (size_t i = 0; i < mem_words; i++)
		if (mem[i] != word(i))
			return false;
	return true;
}

/* ---- mappings: neighbours differ in protection, so none are merged */

static size_t nr_maps;

static void maps_make(size_t nr)
{
	const size_t len = MAP_PAGES * PAGE;
	char *p = mmap(NULL, nr * len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < nr; i++) {
		*(uint64_t *)(void *)(p + i * len) = word(i);
		if (i % 2 && mprotect(p + i * len, len, PROT_READ) < 0)
			die("mprotect");
	}
	mem = (uint64_t *)(void *)p;
	nr_maps = nr;
}

static bool maps_ok(void)
{
	for (size_t i = 0; i < nr_maps; i++)
		if (mem[i * MAP_PAGES * PAGE / sizeof(*mem)] != word(i))
			return false;
	return true;
}

/* ---- threads */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t *threads;
static size_t nr_threads, nr_up, nr_awake;
static bool is_over;

static void *thread_main(void *arg)
{
	(void)arg;
	(void)pthread_mutex_lock(&lock);
	nr_up++;
	while (!is_over)
		(void)pthread_cond_wait(&wake, &lock);
	nr_awake++;
	(void)pthread_mutex_unlock(&lock);
	return NULL;
}

static bool all_up(void)
{
	bool is_up;

	(void)pthread_mutex_lock(&lock);
	is_up = nr_up == nr_threads;
	(void)pthread_mutex_unlock(&lock);
	return is_up;
}

static void threads_make(size_t nr)
{
	pthread_attr_t attr;

	threads = calloc(nr, sizeof(*threads));
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK);
	for (; threads && nr_threads < nr - 1; nr_threads++) /* the first thread is one of them */
		if (pthread_create(&threads[nr_threads], &attr, thread_main, NULL) != 0)
			die("thread %zu", nr_threads);
	while (!all_up())
		(void)usleep(1000);
}

static bool threads_ok(void)
{
	(void)pthread_mutex_lock(&lock);
	is_over = true;
	(void)pthread_cond_broadcast(&wake);
	(void)pthread_mutex_unlock(&lock);
	for (size_t i = 0; i < nr_threads; i++)
		if (pthread_join(threads[i], NULL) != 0)
			return false;
	return nr_awake == nr_threads;
}

/* ---- descriptors: files, pipes with a byte in each, /dev/null, eventfds, a quarter each */

static int *fds;
static size_t nr_fds;

static int file_make(size_t i)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "file.%zu", i);
	fd = openat(dirfd_, name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0 && pwrite(fd, name, strlen(name), 0) < 0)
		die("write '%s'", name);
	return fd >= 0 && lseek(fd, (off_t)(i % 7), SEEK_SET) < 0 ? -1 : fd;
}

static void pipe_make(size_t i)
{
	char byte = (char)('a' + i % 26);

	if (pipe(&fds[i]) < 0 || write(fds[i + 1], &byte, 1) != 1)
		die("pipe %zu", i);
}

static void fds_make(size_t nr)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < nr + SPARE_FDS)
		die("only %ju descriptors are allowed", (uintmax_t)limit.rlim_cur);
	fds = calloc(nr + 1, sizeof(*fds));
	for (size_t i = 0; fds && i < nr; i++, nr_fds = i) {
		size_t kind = i / 2 % FD_KINDS;

		if (kind == 1)
			pipe_make(i++);
		else
			fds[i] = kind == 0   ? file_make(i)
				 : kind == 2 ? open("/dev/null", O_RDWR)
					     : eventfd((unsigned)i, EFD_NONBLOCK);
		if (fds[i] < 0)
			die("descriptor %zu", i);
	}
}

static bool fd_ok(size_t i)
{
	uint64_t count = 0;
	char byte = 0;

	switch (i / 2 % FD_KINDS) {
	case 0:
		return lseek(fds[i], 0, SEEK_CUR) == (off_t)(i % 7);
	case 1:
		return i % 2 || (read(fds[i], &byte, 1) == 1 && byte == (char)('a' + i % 26));
	case 2:
		return write(fds[i], "x", 1) == 1;
	default:
		return read(fds[i], &count, sizeof(count)) == (ssize_t)sizeof(count) && count == i;
	}
}

static bool fds_ok(void)
{
	for (size_t i = 0; i < nr_fds; i++)
		if (!fd_ok(i))
			return false;
	return true;
}

/* ---- processes: a tree, FANOUT children each, that all wait for the same pipe to end */

static int end_pipe[2];
static size_t nr_children;

static void __attribute__((__noreturn__)) child_main(size_t nr)
{
	char byte;

	(void)close(end_pipe[1]);
	for (size_t i = 0; i < nr; i++)
		if (fork() == 0)
			child_main(0);
	(void)!read(end_pipe[0], &byte, 1); /* end of file */
	for (size_t i = 0; i < nr; i++)
		(void)wait(NULL);
	_exit(0);
}

static void procs_make(size_t nr)
{
	size_t left = nr - 1; /* this one is one of them */

	if (pipe(end_pipe) < 0)
		die("pipe");
	for (; left; nr_children++) {
		size_t below = left - 1 < FANOUT - 1 ? left - 1 : FANOUT - 1;

		if (fork() == 0)
			child_main(below);
		left -= below + 1;
	}
	(void)usleep(100000); /* the children make theirs */
}

static bool procs_ok(void)
{
	int status;

	(void)close(end_pipe[1]);
	for (size_t i = 0; i < nr_children; i++)
		if (wait(&status) < 0 || status != 0)
			return false;
	return true;
}

/* ---- */

static bool nothing_ok(void)
{
	return true;
}

static bool (*build(const char *kind, size_t nr))(void)
{
	if (!strcmp(kind, "small-pages") || !strcmp(kind, "huge-pages")) {
		mem_make(nr, *kind == 'h');
		return mem_ok;
	}
	if (!strcmp(kind, "mappings")) {
		maps_make(nr);
		return maps_ok;
	}
	if (!strcmp(kind, "threads")) {
		threads_make(nr);
		return threads_ok;
	}
	if (!strcmp(kind, "descriptors")) {
		fds_make(nr);
		return fds_ok;
	}
	if (!strcmp(kind, "processes")) {
		procs_make(nr);
		return procs_ok;
	}
	return nothing_ok;
}

static void answer_go(void)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64 "\n", now_ns());
	(void)unlinkat(dirfd_, "go", 0);
	put("ran", text);
}

int main(int argc, char **argv)
{
	const struct timespec poll = {.tv_nsec = POLL_NS};
	bool (*is_ok)(void);

	if (argc != 4) {
		(void)fprintf(stderr, "usage: subject DIR KIND NUMBER\n");
		return 2;
	}
	dirfd_ = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd_ < 0)
		die("'%s'", argv[1]);
	(void)setsid();			     /* fails for a group's leader, which is as good */
	(void)prctl(PR_SET_TIMERSLACK, 1ul); /* naps as short as they say */
	is_ok = build(argv[2], strtoul(argv[3], NULL, 10));
	put("ready", "ready\n");
	while (!is_there("check")) {
		if (is_there("go"))
			answer_go();
		(void)nanosleep(&poll, NULL);
	}
	put("verdict", is_ok() ? "ok\n" : "bad\n");
	return 0;
}
