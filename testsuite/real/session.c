/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the real-program tests want to know of the processes of one session: the tests start each
 * program as the leader of a session of its own, so its number names the whole tree, before a
 * checkpoint and after the restart alike.
 *
 *   session list SID [running]    prints the pids, zombies included or not
 *   session await SID MS          returns when the session has used MS of processor time since its
 *                                 processes were made; exit status 1 when nobody is left before
 *   session await SID BYTES FILE  the same for the length of a file that the program writes
 *
 * Processor time, not wall time: a moment of the run is then the same moment on a loaded machine. A
 * program that mostly waits for its own threads needs more of it or less, and is measured by its output.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct usage {
	unsigned nr_alive;
	unsigned long ticks;
};

/* The fields of /proc/PID/stat behind the name, from the third (the state) on. */
static bool stat_read(const char *pid, char *state, long *sid, unsigned long *ticks)
{
	char path[300], text[1024];
	unsigned long u, s;
	long cu, cs;
	const char *rest;
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*d %*d %ld %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", state,
			    sid, &u, &s, &cu, &cs) != 6)
		return false;
	*ticks = u + s + (unsigned long)(cu + cs);
	return true;
}

enum listed { LIST_NONE, LIST_RUNNING, LIST_ALL };

static struct usage session_usage(long want, enum listed listed)
{
	struct usage sum = {0, 0};
	DIR *proc = opendir("/proc");
	const struct dirent *e;

	if (!proc) {
		perror("/proc");
		exit(2);
	}
	while ((e = readdir(proc)) != NULL) {
		unsigned long ticks;
		long sid;
		bool is_alive;
		char state;

		if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
		    !stat_read(e->d_name, &state, &sid, &ticks) || sid != want)
			continue;
		is_alive = state != 'Z' && state != 'X';
		if (listed == LIST_ALL || (listed == LIST_RUNNING && is_alive))
			(void)puts(e->d_name);
		sum.nr_alive += is_alive;
		sum.ticks += ticks;
	}
	(void)closedir(proc);
	return sum;
}

static bool is_there(const struct usage *now, unsigned long amount, const char *file)
{
	struct stat st;

	if (!file)
		return now->ticks >= amount * (unsigned long)sysconf(_SC_CLK_TCK) / 1000;
	return stat(file, &st) == 0 && (unsigned long)st.st_size >= amount;
}

static int session_await(long sid, unsigned long amount, const char *file)
{
	const struct timespec nap = {.tv_nsec = 5000000};

	for (;;) {
		struct usage now = session_usage(sid, LIST_NONE);

		if (!now.nr_alive)
			return 1;
		if (is_there(&now, amount, file))
			return 0;
		(void)nanosleep(&nap, NULL);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return (void)session_usage(atol(argv[2]), LIST_ALL), 0;
	if (argc == 4 && strcmp(argv[1], "list") == 0 && strcmp(argv[3], "running") == 0)
		return (void)session_usage(atol(argv[2]), LIST_RUNNING), 0;
	if ((argc == 4 || argc == 5) && strcmp(argv[1], "await") == 0)
		return session_await(atol(argv[2]), strtoul(argv[3], NULL, 10), argv[4]);
	(void)fprintf(stderr, "usage: session list SID [running] | session await SID MS|BYTES [FILE]\n");
	return 2;
}
