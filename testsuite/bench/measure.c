/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bench's watch. One number or a few per call, on stdout; times are microseconds.
 *
 *   measure run [-r DIR] COMMAND...
 *           time from fork to exit, largest memory of it and of its waited-for children (KiB),
 *           exit status, and with -r the time until the program behind it has written DIR/ran
 *   measure copy [-f] FROM TO
 *           a plain copy of a file by one thread, 1 MiB at a time, to a fresh file; -f: with fsync.
 *           An older TO is deleted before the clock runs
 *   measure fill FILE MIB
 *           make a file of random bytes
 *   measure durable DIR
 *           make a file of 4 KiB, fsync, rename, fsync the folder
 *   measure supervise COMMAND...
 *           run it, and reap all orphans below it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MIB = 1 << 20,
	NAP_NS = 100000,
	DEADLINE_S = 60,
	NOT_STARTED = 127,
};

static void __attribute__((__noreturn__)) die(const char *what)
{
	(void)fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t us_since(uint64_t start_ns)
{
	return (now_ns() - start_ns + 500) / 1000;
}

/* ---- run */

/* When the program behind the command ran again. */
static uint64_t await_ran(const char *dir)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};
	const uint64_t deadline = now_ns() + DEADLINE_S * UINT64_C(1000000000);
	char path[PATH_MAX], text[32] = "";
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/ran", dir);
	while ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		if (now_ns() > deadline)
			return 0;
		(void)nanosleep(&nap, NULL);
	}
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	return len > 0 ? strtoull(text, NULL, 10) : 0;
}

static int run(char **argv)
{
	const char *dir = NULL;
	struct rusage usage;
	uint64_t start, wall, ran = 0;
	int status;
	pid_t pid;

	if (argv[0] && !strcmp(argv[0], "-r")) {
		dir = argv[1];
		argv += 2;
	}
	start = now_ns();
	pid = fork();
	if (pid == 0) {
		(void)dup2(STDERR_FILENO, STDOUT_FILENO); /* our own output is the figures */
		(void)execvp(argv[0], argv);
		_exit(NOT_STARTED);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		die(argv[0]);
	wall = us_since(start);
	if (dir && status == 0)
		ran = await_ran(dir);
	if (ran)
		ran = (ran - start + 500) / 1000;
	(void)printf("%" PRIu64 " %ld %d %" PRIu64 "\n", wall, usage.ru_maxrss,
		     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), ran);
	return 0;
}

/* ---- copy */

static void *buffer(void)
{
	void *p = NULL;

	if (posix_memalign(&p, MIB, MIB) != 0)
		die("memory");
	memset(p, 1, MIB); /* touched: not part of what is timed */
	return p;
}

static int copy(char **argv)
{
	bool is_durable = argv[0] && !strcmp(argv[0], "-f");
	char draft[PATH_MAX], *from, *to;
	void *buf = buffer();
	uint64_t start, us;
	off_t at = 0;
	ssize_t n;
	int in, out;

	argv += is_durable;
	from = argv[0];
	to = argv[1];
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		die(from);
	(void)snprintf(draft, sizeof(draft), "%s.draft", to);
	(void)unlink(to); /* not there the first time */
	start = now_ns();
	out = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		die(draft);
	while ((n = pread(in, buf, MIB, at)) > 0) {
		if (pwrite(out, buf, (size_t)n, at) != n)
			die(draft);
		at += n;
	}
	if (n < 0 || (is_durable && fsync(out) < 0))
		die(draft);
	us = us_since(start);
	if (rename(draft, to) < 0)
		die(to);
	(void)printf("%" PRIu64 "\n", us);
	return 0;
}

/* ---- others */

static int fill(char **argv)
{
	unsigned long mib = strtoul(argv[1], NULL, 10);
	int fd = open(argv[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *buf = buffer();

	if (fd < 0)
		die(argv[0]);
	for (unsigned long i = 0; i < mib; i++) {
		for (size_t at = 0; at < MIB; at += 256)
			if (getrandom(buf + at, 256, 0) != 256)
				die("random bytes");
		if (write(fd, buf, MIB) != MIB)
			die(argv[0]);
	}
	return fsync(fd) < 0 ? 1 : 0;
}

static int durable(char **argv)
{
	static const char page[4096];
	uint64_t start = now_ns();
	int fd, dir = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		die(argv[0]);
	fd = openat(dir, "one.draft", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, page, sizeof(page)) != (ssize_t)sizeof(page) || fsync(fd) < 0 ||
	    renameat(dir, "one.draft", dir, "one") < 0 || fsync(dir) < 0)
		die("write a small file");
	(void)printf("%" PRIu64 "\n", us_since(start));
	return 0;
}

static int supervise(char **argv)
{
	int status, own = 0;
	pid_t pid, got;

	(void)prctl(PR_SET_CHILD_SUBREAPER, 1ul);
	pid = fork();
	if (pid == 0) {
		(void)close_range(STDERR_FILENO + 1, ~0u, 0); /* nothing strange in what is saved */
		(void)execvp(argv[0], argv);
		_exit(NOT_STARTED);
	}
	if (pid < 0)
		die("fork");
	(void)signal(SIGINT, SIG_IGN); /* the command hears it too, and decides */
	while ((got = waitpid(-1, &status, 0)) != pid ||
	       !(WIFEXITED(status) || WIFSIGNALED(status)))
		if (got < 0 && errno != EINTR)
			die("wait");
	own = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return own;
}

static const struct {
	const char *name;
	int nr_arguments; /* at least */
	int (*fn)(char **argv);
} commands[] = {
	{"run", 1, run},	 {"copy", 2, copy},	      {"fill", 2, fill},
	{"durable", 1, durable}, {"supervise", 1, supervise},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name) && argc - 2 >= commands[i].nr_arguments)
			return commands[i].fn(argv + 2);
	(void)fprintf(stderr, "usage: measure run|copy|fill|durable|supervise ARGUMENT...\n");
	return 2;
}
