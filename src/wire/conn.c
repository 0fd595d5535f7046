/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames on sockets, each within a deadline; and the munge credential around those that go over TCP. */
#include "wire/wire.h"

#include "lib/scoped.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <munge.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

int64_t wire_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void wire_close(struct wire_conn *c)
{
	scoped_close_fd(&c->fd);
	c->fd = -1;
}

size_t wire_frame_len(const unsigned char head[4])
{
	size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];

	return len <= WIRE_MAX_FRAME ? len : 0;
}

static int await(int fd, short events, int64_t deadline, struct stasis_error *err)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = deadline - wire_now_ms();
		int rc = poll(&p, 1, left > 0 ? (int)left : 0);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return stasis_fail(err, STASIS_E_TIMEOUT, "the other side does not answer");
		if (errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "poll");
	}
}

static int write_all(int fd, const char *bytes, size_t len, int64_t deadline,
		     struct stasis_error *err)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "send");
		if (n <= 0) {
			if (await(fd, POLLOUT, deadline, err) < 0)
				return -1;
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, char *bytes, size_t len, int64_t deadline, struct stasis_error *err)
{
	while (len) {
		ssize_t n = recv(fd, bytes, len, MSG_DONTWAIT);

		if (n == 0)
			return stasis_fail(err, STASIS_E_GONE, "the other side has gone");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_GONE, "receive");
		if (n < 0) {
			if (await(fd, POLLIN, deadline, err) < 0)
				return -1;
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- munge ---- */

enum { MUNGE_MS = 5000, MUNGE_NAP_NS = 5000000 };

static void munge_ctx_freep(munge_ctx_t *ctx)
{
	if (*ctx)
		munge_ctx_destroy(*ctx);
}

/* $STASIS_MUNGE_SOCKET is for a munged that is not at its usual place. */
static munge_ctx_t new_ctx(void)
{
	munge_ctx_t ctx = munge_ctx_create();
	const char *path = secure_getenv("STASIS_MUNGE_SOCKET");

	if (ctx && path)
		(void)munge_ctx_set(ctx, MUNGE_OPT_SOCKET, path);
	return ctx;
}

/* munged is there, but more ask at the same time than its backlog takes: not even asked, ask again. */
static bool is_crowded(munge_err_t rc, int64_t *deadline)
{
	if (rc != EMUNGE_SOCKET || errno != EAGAIN)
		return false;
	if (!*deadline)
		*deadline = wire_now_ms() + MUNGE_MS;
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(const struct timespec){.tv_nsec = MUNGE_NAP_NS}, NULL);
	return wire_now_ms() < *deadline;
}

static int seal(const struct wire_msg *m, uid_t only_for, char **ret, struct stasis_error *err)
{
	scoped(munge_ctx_freep) munge_ctx_t ctx = new_ctx();
	int64_t deadline = 0;
	munge_err_t rc;

	if (!ctx)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a credential");
	(void)munge_ctx_set(ctx, MUNGE_OPT_UID_RESTRICTION, only_for == (uid_t)-1 ? 0 : only_for);
	do
		rc = munge_encode(ret, ctx, m->text, (int)m->len);
	while (is_crowded(rc, &deadline));
	if (rc != EMUNGE_SUCCESS)
		return stasis_fail(err, STASIS_E_DENIED, "munge: %s", munge_ctx_strerror(ctx));
	return 0;
}

static int unseal(char *cred, struct wire_msg *ret, uid_t *ret_peer, struct stasis_error *err)
{
	scoped(munge_ctx_freep) munge_ctx_t ctx = new_ctx();
	int64_t deadline = 0;
	void *bytes = NULL;
	int len = 0;
	munge_err_t rc;
	gid_t gid;

	if (!ctx)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a credential");
	do
		rc = munge_decode(cred, ctx, &bytes, &len, ret_peer, &gid);
	while (is_crowded(rc, &deadline));
	if (rc == EMUNGE_SUCCESS && len >= 0 && len <= WIRE_MAX_TEXT) {
		memcpy(ret->text, bytes ? bytes : "", (size_t)len);
		ret->len = (size_t)len;
		free(bytes);
		return 0;
	}
	free(bytes);
	if (rc == EMUNGE_SUCCESS)
		return stasis_fail(err, STASIS_E_CORRUPT, "message of %d bytes", len);
	return stasis_fail(err, STASIS_E_DENIED, "munge: %s", munge_ctx_strerror(ctx));
}

/* ---- frames ---- */

static int send_frame(int fd, const char *bytes, size_t len, int64_t deadline,
		      struct stasis_error *err)
{
	uint32_t head = htonl((uint32_t)len);
	char start[4];

	if (len > WIRE_MAX_FRAME)
		return stasis_fail(err, STASIS_E_USAGE, "message of %zu bytes is too long", len);
	memcpy(start, &head, sizeof(start));
	if (write_all(fd, start, sizeof(start), deadline, err) < 0)
		return -1;
	return write_all(fd, bytes, len, deadline, err);
}

int wire_send(struct wire_conn *c, const struct wire_msg *m, uid_t only_for, int timeout_ms,
	      struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + timeout_ms;
	scoped_free char *cred = NULL;

	if (!c->is_sealed)
		return send_frame(c->fd, m->text, m->len, deadline, err);
	if (seal(m, only_for, &cred, err) < 0)
		return -1;
	return send_frame(c->fd, cred, strlen(cred), deadline, err);
}

int wire_open_frame(struct wire_conn *c, char *bytes, size_t len, struct wire_msg *ret,
		    struct stasis_error *err)
{
	ret->len = ret->nr_fields = 0;
	if (c->is_sealed) {
		bytes[len] = '\0'; /* a credential is text */
		if (unseal(bytes, ret, &c->peer, err) < 0)
			return -1;
	} else {
		if (len > WIRE_MAX_TEXT)
			return stasis_fail(err, STASIS_E_CORRUPT, "message of %zu bytes", len);
		memcpy(ret->text, bytes, len);
		ret->len = len;
	}
	return wire_parse(ret, err);
}

int wire_recv(struct wire_conn *c, struct wire_msg *ret, int timeout_ms, struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + timeout_ms;
	scoped_free char *bytes = NULL;
	unsigned char head[4];
	char start[4];
	size_t len;

	if (read_all(c->fd, start, sizeof(start), deadline, err) < 0)
		return -1;
	memcpy(head, start, sizeof(head));
	len = wire_frame_len(head);
	if (!len)
		return stasis_fail(err, STASIS_E_CORRUPT, "the other side sends no message of ours");
	bytes = malloc(len + 1);
	if (!bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a message");
	if (read_all(c->fd, bytes, len, deadline, err) < 0)
		return -1;
	return wire_open_frame(c, bytes, len, ret, err);
}

/* ---- connections ---- */

int wire_connect_unix(const char *path, struct wire_conn *ret, struct stasis_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred cred;
	socklen_t len = sizeof(cred);
	scoped_fd int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return stasis_fail(err, STASIS_E_USAGE, "'%.100s' is too long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_GONE, "stasisd at %s", path);
	*ret = (struct wire_conn){.fd = fd_take(&fd), .peer = cred.uid};
	return 0;
}

static int finish_connect(int fd, int64_t deadline, struct stasis_error *err)
{
	socklen_t len = sizeof(errno);
	int why = 0;

	if (await(fd, POLLOUT, deadline, err) < 0)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
		why = errno;
	errno = why;
	return why ? stasis_fail_errno(err, STASIS_E_GONE, "connect") : 0;
}

static int connect_address(const struct addrinfo *a, int64_t deadline, struct stasis_error *err)
{
	scoped_fd int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socket");
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return stasis_fail_errno(err, STASIS_E_GONE, "connect");
		if (finish_connect(fd, deadline, err) < 0)
			return -1;
	}
	return fd_take(&fd);
}

int wire_connect_tcp(const char *host, unsigned port, int timeout_ms, struct wire_conn *ret,
		     struct stasis_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int64_t deadline = wire_now_ms() + timeout_ms;
	struct addrinfo *list = NULL;
	char service[8];
	int rc, fd = -1;

	(void)snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc)
		return stasis_fail(err, STASIS_E_GONE, "stasisd of %s: %s", host, gai_strerror(rc));
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_address(a, deadline, err);
	freeaddrinfo(list);
	if (fd < 0)
		return stasis_fail_prefix(err, "stasisd of %s, port %u", host, port);
	*ret = (struct wire_conn){.fd = fd, .is_sealed = true, .peer = (uid_t)-1};
	return 0;
}
