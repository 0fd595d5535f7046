/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TCP connection with both ends in the tree, without the privilege that repair mode takes: a real one is
 * made over the loopback interface, and what was under way is sent once more. Both ends are there at once;
 * the second waits until its description is loaded. Addresses and ports are others than before.
 */
#include "resource/tcp.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	DEADLINE_MS = 5000,
	MAX_STRANGERS = 64, /* who connect to our port before we do */
	MAX_BYTES = 1 << 20, /* one way: a new connection over loopback holds twice as much, with nobody reading */
};

struct tcp_pair {
	uint64_t object; /* of the end that is not loaded yet */
	int fd;		 /* -1: it is */
	struct tcp_pair *next;
};

/* ---- a connection ---- */

/* An IPv6 socket speaks to one of IPv4 by a mapped address. */
static socklen_t set_loopback(int family, bool is_mapped, in_port_t port, union inet_addr *ret)
{
	static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		ret->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
		ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(ret->v4);
	}
	ret->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_loopback};
	if (is_mapped)
		memcpy(&ret->v6.sin6_addr, mapped, sizeof(mapped));
	return sizeof(ret->v6);
}

/* Both families have it there. */
static in_port_t port_of(const union inet_addr *a)
{
	return a->v4.sin_port;
}

/* Both are of one family; what is beside address and port (scopes, flow labels) is none of ours. */
static bool is_same(const union inet_addr *a, const union inet_addr *b)
{
	if (port_of(a) != port_of(b) || a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

static int await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, DEADLINE_MS) == 1 ? 0 : -1;
}

/* Anybody may connect to a port of this machine: the one that we want has our own address and port, which nobody
 * else can have. */
static int accept_own(int listener, const union inet_addr *own, socklen_t own_len)
{
	for (int i = 0; i < MAX_STRANGERS; i++) {
		union inet_addr from;
		socklen_t len = sizeof(from);
		scoped_fd int fd = -1;

		if (await(listener, POLLIN) < 0)
			return -1;
		fd = accept4(listener, &from.sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0 && len == own_len && is_same(&from, own))
			return fd_take(&fd);
	}
	return -1;
}

static int make(int fd, int family, int peer_family)
{
	bool is_mapped = family != peer_family;
	scoped_fd int listener = socket(peer_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	union inet_addr addr;
	socklen_t len = set_loopback(peer_family, is_mapped, 0, &addr);

	if (listener < 0 || bind(listener, &addr.sa, len) < 0 || listen(listener, MAX_STRANGERS) < 0 ||
	    getsockname(listener, &addr.sa, &len) < 0)
		return -1;
	len = set_loopback(family, is_mapped, port_of(&addr), &addr);
	if ((connect(fd, &addr.sa, len) < 0 && errno != EINPROGRESS) || await(fd, POLLOUT) < 0)
		return -1;
	len = sizeof(addr);
	if (getsockname(fd, &addr.sa, &len) < 0)
		return -1;
	len = set_loopback(peer_family, is_mapped, port_of(&addr), &addr);
	return accept_own(listener, &addr, len);
}

/* ---- its bytes ---- */

static uint64_t nr_under_way(const Stasis__TcpState *from, const Stasis__TcpState *to)
{
	return (uint64_t)to->recv_len + from->send_len - tcp_nr_received(from, to);
}

bool tcp_pair_fits(const Stasis__TcpState *st, const Stasis__TcpState *peer)
{
	return st->state == TCP_ESTABLISHED && peer->state == TCP_ESTABLISHED &&
	       nr_under_way(st, peer) <= MAX_BYTES && nr_under_way(peer, st) <= MAX_BYTES;
}

/* What the end `r` had received and not read: its peer sends it once more. */
static int refill(struct fd_load *c, const Stasis__TcpSocket *r, int peer_fd, struct stasis_error *err)
{
	const Stasis__TcpState *st = fd_load_object(c, r->object)->tcp;
	scoped_free uint8_t *bytes = NULL;

	if (tcp_read_bytes(c, r, &bytes, err) < 0)
		return -1;
	return tcp_put_bytes(peer_fd, bytes + st->send_len, st->recv_len, err);
}

/* ---- both ends ---- */

static int keep_peer(struct fd_load *c, const Stasis__TcpSocket *peer, int fd, struct stasis_error *err)
{
	struct tcp_pair *p = arena_alloc(&c->arena, sizeof(*p));

	if (!p)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a TCP connection");
	*p = (struct tcp_pair){.object = peer->object, .fd = fd, .next = c->tcp_pairs};
	c->tcp_pairs = p;
	return 0;
}

static int take_kept(struct fd_load *c, uint64_t object)
{
	for (struct tcp_pair *p = c->tcp_pairs; p; p = p->next)
		if (p->object == object && p->fd >= 0)
			return fd_take(&p->fd);
	return -1;
}

static int make_both(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpSocket *peer,
		     struct stasis_error *err)
{
	int family = (int)r->inet->family;
	scoped_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	scoped_fd int peer_fd = fd < 0 ? -1 : make(fd, family, (int)peer->inet->family);

	if (peer_fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "connect two ends of a TCP connection");
	if (refill(c, r, peer_fd, err) < 0 || refill(c, peer, fd, err) < 0 || keep_peer(c, peer, peer_fd, err) < 0)
		return -1;
	(void)fd_take(&peer_fd); /* the list has it */
	return fd_take(&fd);
}

int tcp_pair_load(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpSocket *peer,
		  struct stasis_error *err)
{
	int fd = take_kept(c, r->object);

	if (fd < 0)
		fd = make_both(c, r, peer, err);
	if (fd >= 0) /* what is too late for a connected socket does not matter any more */
		(void)socket_options_load(NULL, r->inet->options, fd, NULL);
	return fd;
}

void tcp_pairs_done(struct fd_load *c)
{
	for (struct tcp_pair *p = c->tcp_pairs; p; p = p->next)
		scoped_close_fd(&p->fd);
	c->tcp_pairs = NULL;
}
