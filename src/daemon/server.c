/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's own process: accepts connections, gathers the first frame of each without ever waiting for
 * one, and forks a worker for each frame that is whole. It parses nothing and holds no state, so that
 * whatever a peer sends can harm one worker at most. Memory is bounded: so many connections of so many
 * bytes; when all are taken the one that has been silent longest goes, but not before it had a moment: many
 * who ask at once are no attack, and wait in the backlog.
 */
#include "daemon/server.h"

#include "daemon/clean.h"
#include "daemon/journal.h"
#include "daemon/request.h"
#include "daemon/state.h"
#include "daemon/tasks.h"
#include "lib/scoped.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum {
	MAX_WAITING = 128,	  /* connections whose request is not there yet */
	FIRST_FRAME_MS = 5000,	  /* time that a peer has for it */
	FRESH_MS = 2000,	  /* when others are waiting to be accepted */
	SCAN_MS = 15000,	  /* between looks for checkpoints that are due, min-interval or watch */
	/* others wait in the backlog: room for operations that have or await their turn, and as much for
	 * this node's parts in those of others */
	WORKERS_PER_OPERATION = 2 * STATE_WAITING,
};

/* A peer that has not sent its request yet. */
struct waiting {
	struct wire_conn conn;
	int64_t since_ms;
	size_t len; /* bytes there are, head included */
	char *bytes;
};

struct server {
	struct config *c;
	int unix_fd, tcp_fd, signals;
	struct waiting waiting[MAX_WAITING];
	unsigned nr_workers;
	int64_t next_scan_ms;
	bool is_ending, wants_config;
};

/* ---- listening ---- */

static int listen_unix(const char *path, struct stasis_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	(void)unlink(path); /* of one that was killed; two daemons would fight for the port as well */
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0666) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socket %s", path);
	return fd_take(&fd);
}

static int listen_tcp(unsigned port, struct stasis_error *err)
{
	struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in addr4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, zero = 0, rc;
	scoped_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_v4 = fd < 0;

	if (is_v4)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!is_v4)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	rc = is_v4 ? bind(fd, (struct sockaddr *)&addr4, sizeof(addr4))
		   : bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (rc < 0 || listen(fd, SOMAXCONN) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "port %u", port);
	return fd_take(&fd);
}

/* ---- workers ---- */

static void drop(struct waiting *w)
{
	wire_close(&w->conn);
	free(w->bytes);
	*w = (struct waiting){.conn = WIRE_CONN_INIT};
}

/* What a worker has no business with. */
static void forget_server(struct server *s, const struct waiting *mine)
{
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	scoped_close_fd(&s->unix_fd);
	scoped_close_fd(&s->tcp_fd);
	scoped_close_fd(&s->signals);
	for (size_t i = 0; i < MAX_WAITING; i++)
		if (&s->waiting[i] != mine)
			drop(&s->waiting[i]);
}

static void start_worker(struct server *s, struct waiting *w)
{
	pid_t pid = fork();

	if (pid == 0) {
		forget_server(s, w);
		request_serve(s->c, &w->conn, w->bytes + 4, w->len - 4);
		_exit(0);
	}
	if (pid > 0)
		s->nr_workers++;
	drop(w);
}

static int scan_step(void *arg, uint32_t job, uint32_t step)
{
	const struct config *c = arg;

	if (fork() == 0) {
		request_automatic(c, job, step);
		_exit(0);
	}
	return 0;
}

/* Checkpoints that are due, one process for each. */
static void start_scan(struct server *s)
{
	pid_t pid = fork();

	if (pid == 0) {
		forget_server(s, NULL);
		clean_all(s->c);
		state_expire(s->c);
		(void)tasks_each_step(scan_step, s->c);
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	if (pid > 0)
		s->nr_workers++;
}

static void reap(struct server *s)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		s->nr_workers -= s->nr_workers > 0;
}

/* ---- connections ---- */

/* A free place, else the one that has been silent longest. */
static struct waiting *find_place(struct server *s)
{
	struct waiting *oldest = &s->waiting[0];

	for (size_t i = 0; i < MAX_WAITING; i++) {
		if (s->waiting[i].conn.fd < 0)
			return &s->waiting[i];
		if (s->waiting[i].since_ms < oldest->since_ms)
			oldest = &s->waiting[i];
	}
	return oldest;
}

/* When the next one may be accepted: now, or once the oldest is not fresh any more. */
static int64_t place_at_ms(struct server *s)
{
	const struct waiting *w = find_place(s);

	return w->conn.fd < 0 ? 0 : w->since_ms + FRESH_MS;
}

/* Length of the whole frame, 4 while that is not known, 0 when it is none. */
static size_t frame_end(const struct waiting *w)
{
	unsigned char head[4];
	size_t len;

	if (w->len < sizeof(head))
		return sizeof(head);
	memcpy(head, w->bytes, sizeof(head));
	len = wire_frame_len(head);
	return len ? len + sizeof(head) : 0;
}

static void read_some(struct server *s, struct waiting *w)
{
	size_t end = frame_end(w);
	ssize_t n = end ? recv(w->conn.fd, w->bytes + w->len, end - w->len, MSG_DONTWAIT) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(w);
		return;
	}
	w->len += (size_t)n;
	end = frame_end(w);
	if (!end)
		drop(w);
	else if (w->len == end && end > 4)
		start_worker(s, w);
}

/* Its time is over; but we may have been slower than it was. */
static void give_up(struct server *s, struct waiting *w)
{
	read_some(s, w);
	if (w->conn.fd >= 0)
		drop(w);
}

static void accept_one(struct server *s, int listener, bool is_sealed)
{
	scoped_fd int fd = -1;
	struct waiting *w;
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);

	if (place_at_ms(s) > wire_now_ms())
		return;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || (!is_sealed && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0))
		return;
	w = find_place(s);
	if (w->conn.fd >= 0)
		give_up(s, w);
	w->bytes = malloc(WIRE_MAX_FRAME + 5);
	if (!w->bytes)
		return;
	w->conn = (struct wire_conn){.fd = fd_take(&fd), .is_sealed = is_sealed, .peer = cred.uid};
	w->since_ms = wire_now_ms();
	w->len = 0;
}

static void drop_slow(struct server *s)
{
	int64_t now = wire_now_ms();

	for (size_t i = 0; i < MAX_WAITING; i++)
		if (s->waiting[i].conn.fd >= 0 && s->waiting[i].since_ms + FIRST_FRAME_MS < now)
			give_up(s, &s->waiting[i]);
}

/* ---- the loop ---- */

static void take_signals(struct server *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			s->wants_config = true;
		else if (info.ssi_signo != SIGCHLD)
			s->is_ending = true;
	}
	reap(s);
}

static int64_t scan_period(const struct server *s)
{
	int64_t shortest_ms = (int64_t)s->c->scan_s * 1000;

	return shortest_ms < SCAN_MS ? shortest_ms : SCAN_MS;
}

static int time_out(struct server *s)
{
	int64_t next = s->next_scan_ms, place = place_at_ms(s), left;

	if (place > wire_now_ms() && place < next) /* later than that poll() tells */
		next = place;
	for (size_t i = 0; i < MAX_WAITING; i++)
		if (s->waiting[i].conn.fd >= 0 && s->waiting[i].since_ms + FIRST_FRAME_MS < next)
			next = s->waiting[i].since_ms + FIRST_FRAME_MS;
	left = next - wire_now_ms();
	return left > 0 ? (int)left + 1 : 0;
}

static void serve_once(struct server *s)
{
	bool is_full = s->nr_workers >= s->c->operations * WORKERS_PER_OPERATION ||
		       place_at_ms(s) > wire_now_ms();
	struct pollfd p[MAX_WAITING + 3] = {
		{.fd = s->signals, .events = POLLIN},
		{.fd = is_full ? -1 : s->unix_fd, .events = POLLIN},
		{.fd = is_full ? -1 : s->tcp_fd, .events = POLLIN},
	};

	for (size_t i = 0; i < MAX_WAITING; i++)
		p[i + 3] = (struct pollfd){.fd = s->waiting[i].conn.fd, .events = POLLIN};
	if (poll(p, MAX_WAITING + 3, time_out(s)) < 0)
		return;
	for (size_t i = 0; i < MAX_WAITING; i++)
		if (p[i + 3].revents && s->waiting[i].conn.fd == p[i + 3].fd)
			read_some(s, &s->waiting[i]);
	drop_slow(s);
	if (p[1].revents)
		accept_one(s, s->unix_fd, false);
	if (p[2].revents)
		accept_one(s, s->tcp_fd, true);
	if (p[0].revents)
		take_signals(s);
	if (wire_now_ms() >= s->next_scan_ms) {
		s->next_scan_ms = wire_now_ms() + scan_period(s);
		start_scan(s);
	}
}

/* Where it listens stays as it was. */
static void read_config_again(struct server *s, const char *path, bool must_exist)
{
	struct config c;
	struct stasis_error err;

	s->wants_config = false;
	if (config_read(path, must_exist, &c, &err) < 0) {
		journal(s->c, "configuration stays as it was: %s", err.text);
		return;
	}
	c.port = s->c->port;
	memcpy(c.socket, s->c->socket, sizeof(c.socket));
	memcpy(c.run, s->c->run, sizeof(c.run));
	config_done(s->c);
	*s->c = c;
	journal(s->c, "configuration read again");
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start(struct server *s, struct stasis_error *err)
{
	if (state_prepare(s->c, err) < 0)
		return -1;
	s->signals = open_signals();
	if (s->signals < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "signalfd");
	s->unix_fd = listen_unix(s->c->socket, err);
	if (s->unix_fd < 0)
		return -1;
	s->tcp_fd = s->c->port ? listen_tcp(s->c->port, err) : -1;
	return s->c->port && s->tcp_fd < 0 ? -1 : 0;
}

int server_run(struct config *c, const char *path, bool must_exist)
{
	struct server *s = calloc(1, sizeof(*s));
	struct stasis_error err;

	if (!s)
		return 1;
	*s = (struct server){.c = c, .unix_fd = -1, .tcp_fd = -1, .signals = -1};
	for (size_t i = 0; i < MAX_WAITING; i++)
		s->waiting[i].conn.fd = -1;
	if (start(s, &err) < 0) {
		fprintf(stderr, "stasisd: %s\n", err.text);
		free(s);
		return 1;
	}
	journal(c, "started");
	while (!s->is_ending) {
		serve_once(s);
		if (s->wants_config)
			read_config_again(s, path, must_exist);
	}
	journal(c, "ended");
	(void)unlink(c->socket);
	free(s);
	return 0;
}
