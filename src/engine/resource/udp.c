/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * UDP and UDP-Lite: addresses, options, multicast groups. Datagrams that wait in the socket are lost,
 * as datagrams may be: they cannot be read without being taken but for the first.
 */
#include "resource/sockets.h"

#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

enum {
	SHUT_READ = 1u << 0,
	SHUT_BOTH = 1u << 1,
	PROTO_UDPLITE = 136,
};

static bool udp_match(const struct fd_probe *p)
{
	int protocol;

	if (!socket_is(p, AF_INET, SOCK_DGRAM) && !socket_is(p, AF_INET6, SOCK_DGRAM))
		return false;
	protocol = socket_int(p->local_fd, SOL_SOCKET, SO_PROTOCOL);
	return protocol == IPPROTO_UDP || protocol == PROTO_UDPLITE;
}

static int udp_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		    Stasis__Description *ret, struct stasis_error *err)
{
	struct pollfd poll_fd = {.fd = p->local_fd, .events = POLLIN | POLLRDHUP};
	Stasis__UdpSocket *r = fd_save_alloc(c, sizeof(*r));
	char text[INET_TEXT_BYTES];

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__udp_socket__init(r);
	if (inet_save(s, c, p, &r->inet, err) < 0)
		return -1;
	if (socket_int(p->local_fd, IPPROTO_UDP, UDP_ENCAP) > 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "UDP socket with encapsulation (UDP_ENCAP) is not supported; close "
				   "it before the checkpoint");
	(void)poll(&poll_fd, 1, 0);
	r->shutdown = poll_fd.revents & POLLHUP	    ? SHUT_BOTH
		      : poll_fd.revents & POLLRDHUP ? SHUT_READ
						    : 0;
	if (poll_fd.revents & POLLIN && !r->shutdown)
		s_warn(s, "%s(%d) fd %d: datagrams that wait in UDP socket %s are not saved",
		       p->task->comm, p->task->pid, p->fd, inet_text(&r->inet->local, text));
	ret->kind_case = STASIS__DESCRIPTION__KIND_UDP;
	ret->udp = r;
	return 0;
}

static int udp_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const Stasis__UdpSocket *r = d->udp;

	(void)s;
	(void)c;
	if (inet_check(r->inet, err) < 0)
		return -1;
	if (r->inet->type != SOCK_DGRAM || r->shutdown > SHUT_BOTH ||
	    (r->inet->protocol != IPPROTO_UDP && r->inet->protocol != PROTO_UDPLITE))
		return stasis_fail(err, STASIS_E_CORRUPT, "UDP socket of type %u and protocol %u",
				   r->inet->type, r->inet->protocol);
	return inet_probe(r->inet, err);
}

static int udp_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	const Stasis__UdpSocket *r = d->udp;
	scoped_fd int fd = inet_open(s, r->inet, err);

	(void)c;
	if (fd < 0 || inet_bind(r->inet, fd, err) < 0 || inet_join(s, r->inet, fd, err) < 0 ||
	    inet_connect(r->inet, fd, err) < 0)
		return -1;
	/* the kernel notes it also where it says that there is no connection */
	if (r->shutdown && shutdown(fd, r->shutdown == SHUT_BOTH ? SHUT_RDWR : SHUT_RD) < 0 &&
	    errno != ENOTCONN)
		return stasis_fail_errno(err, STASIS_E_IO, "shutdown of a UDP socket");
	if (socket_options_finish(s, r->inet->options, fd, err) < 0)
		return -1;
	return fd_take(&fd);
}

const struct resource_kind kind_udp = {
	.name = "udp",
	.tag = STASIS__DESCRIPTION__KIND_UDP,
	.match = udp_match,
	.save = udp_save,
	.verify = udp_verify,
	.load = udp_load,
};
