/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TCP socket whose connection is over: what is left is unread bytes and how it ended. It is made by a
 * real connection over the loopback interface, whose other end is ours and closes it that way.
 */
#include "resource/tcp.h"

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { DEADLINE_MS = 5000, NAP_NS = 200000, TRIES = 10000 };

static int listen_at(int family, union inet_addr *ret, socklen_t *ret_len)
{
	scoped_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union inet_addr v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
	union inet_addr v4 = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};

	if (fd < 0)
		return -1;
	*ret = family == AF_INET ? v4 : v6;
	*ret_len = family == AF_INET ? sizeof(ret->v4) : sizeof(ret->v6);
	if (bind(fd, &ret->sa, *ret_len) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, &ret->sa, ret_len) < 0)
		return -1;
	return fd_take(&fd);
}

static int await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, DEADLINE_MS) == 1 ? 0 : -1;
}

/* Our end of a connection with fd. */
static int connect_pair(int fd, int family)
{
	union inet_addr addr;
	socklen_t len;
	scoped_fd int listener = listen_at(family, &addr, &len);

	if (listener < 0 || (connect(fd, &addr.sa, len) < 0 && errno != EINPROGRESS) ||
	    await(fd, POLLOUT) < 0 || await(listener, POLLIN) < 0)
		return -1;
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* False when they do not all fit. */
static bool send_all(int fd, const uint8_t *bytes, size_t len)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};
	int unread = 0;

	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	for (int i = 0; i < TRIES; i++) {
		if (ioctl(fd, SIOCOUTQ, &unread) == 0 && !unread)
			return true;
		if (await(fd, POLLOUT) < 0)
			return false;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	return false;
}

static void enlarge(int fd, size_t len)
{
	int room = (int)(4 * len) + 65536;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)); /* as far as it goes */
}

int tcp_make_ended(int fd, int family, const uint8_t *bytes, size_t len, bool is_reset, bool sent_fin,
		   struct stasis_error *err)
{
	const struct linger at_once = {.l_onoff = 1};
	scoped_fd int peer = -1;

	if (len)
		enlarge(fd, len);
	peer = connect_pair(fd, family);
	if (peer < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make an ended TCP connection");
	/* an end after less than all would be a lie */
	if (!send_all(peer, bytes, len))
		is_reset = true;
	if (sent_fin)
		(void)shutdown(fd, SHUT_WR);
	if (is_reset)
		(void)setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	(void)close(fd_take(&peer));
	return await(fd, POLLRDHUP) < 0
		       ? stasis_fail(err, STASIS_E_IO, "an ended TCP connection does not end")
		       : 0;
}
