/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UDP and UDP-Lite: addresses, options, multicast groups. */
#include "resource/sockets.h"

#include <netinet/udp.h>
#include <sys/socket.h>

enum { PROTO_UDPLITE = 136 };

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
	Stasis__UdpSocket *r = fd_save_alloc(c, sizeof(*r));

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__udp_socket__init(r);
	if (inet_save(s, c, p, &r->inet, err) < 0)
		return -1;
	if (socket_int(p->local_fd, IPPROTO_UDP, UDP_ENCAP) > 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "UDP socket with encapsulation (UDP_ENCAP) is not supported; close "
				   "it before the checkpoint");
	r->shutdown = datagram_save_state(s, p, "UDP", r->inet);
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
	if (r->inet->type != SOCK_DGRAM || r->shutdown > DATAGRAM_SHUT_BOTH ||
	    (r->inet->protocol != IPPROTO_UDP && r->inet->protocol != PROTO_UDPLITE))
		return stasis_fail(err, STASIS_E_CORRUPT, "UDP socket of type %u and protocol %u",
				   r->inet->type, r->inet->protocol);
	return inet_probe(r->inet, err);
}

static int udp_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	(void)c;
	return datagram_load(s, d->udp->inet, d->udp->shutdown, err);
}

const struct resource_kind kind_udp = {
	.name = "udp",
	.tag = STASIS__DESCRIPTION__KIND_UDP,
	.match = udp_match,
	.save = udp_save,
	.verify = udp_verify,
	.load = udp_load,
};
