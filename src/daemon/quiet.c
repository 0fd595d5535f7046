/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See quiet.h. Descriptors are looked at through duplicates (pidfd_getfd, Linux 5.6). */
#include "daemon/quiet.h"

#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "wire/wire.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

enum { STILL_NS = 10000000, STATUS_MAX_BYTES = 16384 };

/* What one look has found. */
struct look {
	uint64_t nr_threads, switches; /* the same in two looks: it has not run between */
	bool is_busy;
	char why[80];
};

static void note_busy(struct look *l, const char *why, int fd)
{
	if (!l->is_busy && fd >= 0)
		(void)snprintf(l->why, sizeof(l->why), "%s its descriptor %d", why, fd);
	else if (!l->is_busy)
		(void)snprintf(l->why, sizeof(l->why), "%s", why);
	l->is_busy = true;
}

static uint64_t number_behind(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* "State:\tS (sleeping)" and how often it was taken off a processor. */
static void look_at_thread(int procfd, int tid, struct look *l)
{
	scoped_free char *text = NULL;
	const char *state;
	char name[48];
	size_t len;

	(void)snprintf(name, sizeof(name), "task/%d/status", tid);
	if (io_read_file_at(procfd, name, STATUS_MAX_BYTES, &text, &len, NULL) < 0)
		return; /* it has ended: the number of threads tells */
	state = strstr(text, "\nState:\t");
	if (!state || state[8] != 'S')
		note_busy(l, "it runs", -1);
	l->nr_threads++;
	l->switches += number_behind(text, "\nvoluntary_ctxt_switches:") +
		       number_behind(text, "\nnonvoluntary_ctxt_switches:");
}

static void look_at_threads(int procfd, struct look *l)
{
	scoped_free int *tids = NULL;
	size_t nr = 0;

	if (proc_list_numbers(procfd, "task", &tids, &nr, NULL) < 0)
		return;
	for (size_t i = 0; i < nr; i++)
		look_at_thread(procfd, tids[i], l);
}

/* Bytes queued; 0 for what has no queue (a socket that listens). */
static int queued(int fd, unsigned long request)
{
	int n = 0;

	return ioctl(fd, request, &n) < 0 ? 0 : n;
}

static void look_at_queue(int fd, int number, struct look *l)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
		return;
	if (queued(fd, FIONREAD) || (S_ISSOCK(st.st_mode) && queued(fd, SIOCOUTQ)))
		note_busy(l, "data is queued in", number);
}

/* What an srun reads is quiet_input()'s, and who reads what it has written is not its affair. */
static void look_at_srun(int fd, int number, struct look *l)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	if (number > STDERR_FILENO)
		look_at_queue(fd, number, l);
	else if (number != STDIN_FILENO && poll(&p, 1, 0) == 0)
		note_busy(l, "nobody reads what it writes to", number);
}

typedef void (*look_fn)(int fd, int number, struct look *l);

static void look_at_fds(int procfd, int pidfd, look_fn fn, struct look *l)
{
	scoped_free int *fds = NULL;
	size_t nr = 0;

	if (proc_list_numbers(procfd, "fd", &fds, &nr, NULL) < 0)
		return;
	for (size_t i = 0; i < nr; i++) {
		scoped_fd int fd = (int)syscall(SYS_pidfd_getfd, pidfd, fds[i], 0);

		if (fd >= 0) /* else it was closed just now */
			fn(fd, fds[i], l);
	}
}

static int open_process(pid_t pid, int *ret_procfd, int *ret_pidfd, struct stasis_error *err)
{
	scoped_fd int procfd = proc_open(pid, err), pidfd = -1;

	if (procfd < 0)
		return -1;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return stasis_fail_errno(err, STASIS_E_GONE, "process %d", pid);
	*ret_procfd = fd_take(&procfd);
	*ret_pidfd = fd_take(&pidfd);
	return 0;
}

/* Threads first: whoever runs between would be seen to have run at the next look. */
static struct look look(int procfd, int pidfd, look_fn fn)
{
	struct look l = {.nr_threads = 0};

	look_at_threads(procfd, &l);
	look_at_fds(procfd, pidfd, fn, &l);
	return l;
}

static int await(pid_t pid, const char *what, look_fn fn, int64_t deadline, struct stasis_error *err)
{
	const struct timespec still = {.tv_nsec = STILL_NS};
	scoped_fd int procfd = -1, pidfd = -1;
	struct look before = {.is_busy = true}, now;

	if (open_process(pid, &procfd, &pidfd, err) < 0)
		return -1;
	for (;;) {
		now = look(procfd, pidfd, fn);
		if (!now.nr_threads)
			return stasis_fail(err, STASIS_E_GONE, "%s (%d) has ended", what, pid);
		if (!before.is_busy && !now.is_busy && before.switches == now.switches &&
		    before.nr_threads == now.nr_threads)
			return 0;
		if (wire_now_ms() > deadline)
			return stasis_fail(err, STASIS_E_BUSY, "%s (%d) does not come to rest: %s", what,
					   pid, now.is_busy ? now.why : "it runs again and again");
		before = now;
		(void)nanosleep(&still, NULL); /* too short is seen by the counters, too */
	}
}

int quiet_await_stepd(pid_t stepd, int64_t deadline, struct stasis_error *err)
{
	return await(stepd, "slurmstepd", look_at_queue, deadline, err);
}

int quiet_await_srun(pid_t srun, int64_t deadline, struct stasis_error *err)
{
	return await(srun, "srun", look_at_srun, deadline, err);
}

/* ---- input ---- */

/* Of a TCP connection; the kernel counts what the other side has acknowledged (Linux 4.1). */
static int add_sent(int fd, uint64_t *sum)
{
	struct tcp_info info = {.tcpi_state = 0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || info.tcpi_state != 1)
		return 0; /* no connection */
	*sum += info.tcpi_bytes_acked;
	return queued(fd, SIOCOUTQ);
}

int quiet_input(pid_t srun, uint64_t *ret_sent, struct stasis_error *err)
{
	scoped_fd int procfd = -1, pidfd = -1;
	scoped_free int *fds = NULL;
	uint64_t sent = 0;
	size_t nr = 0;

	if (open_process(srun, &procfd, &pidfd, err) < 0 ||
	    proc_list_numbers(procfd, "fd", &fds, &nr, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		scoped_fd int fd = (int)syscall(SYS_pidfd_getfd, pidfd, fds[i], 0);

		if (fd >= 0 && add_sent(fd, &sent))
			return stasis_fail(err, STASIS_E_BUSY, "srun (%d) is passing input on", srun);
	}
	*ret_sent = sent;
	return 0;
}
