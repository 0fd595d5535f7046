/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kinds that are sockets have in common. */
#ifndef RESOURCE_SOCKETS_H
#define RESOURCE_SOCKETS_H

#include "resource/resource_priv.h"

/* ---- socket_options.c: options of any family, from one table ---- */

/* Read every option that the socket has, and its classic filter. An eBPF filter is UNSUPPORTED. */
int socket_options_save(struct fd_save *c, int fd, Stasis__SocketOptions **ret,
			struct stasis_error *err);

/* Are all of them known here, and of a length that they can have? `o` may be NULL: then it is none. */
int socket_options_check(const Stasis__SocketOptions *o, struct stasis_error *err);

/* Set those that must be there before the socket is bound, and then, when it is bound, connected and
 * filled, the others. Options that already have their value are left alone; what needs a privilege
 * that we lack is a warning. Without a session, failures are ignored. */
int socket_options_load(struct session *s, const Stasis__SocketOptions *o, int fd,
			struct stasis_error *err);
int socket_options_finish(struct session *s, const Stasis__SocketOptions *o, int fd,
			  struct stasis_error *err);

/* Value of one saved int option; `missing` when the socket did not have it. */
int socket_options_int(const Stasis__SocketOptions *o, int level, int name, int missing);

/* ---- inet.c: what TCP, UDP and raw sockets share ---- */

#include <netinet/in.h>

union inet_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
#define INET_TEXT_BYTES 64

bool socket_is(const struct fd_probe *p, int family, int type);
int socket_int(int fd, int level, int name); /* -1 when there is no such option */

/* A classic "ADDRESS:PORT"; returns buf, which has INET_TEXT_BYTES. */
const char *inet_text(const ProtobufCBinaryData *addr, char *buf);
uint16_t inet_port(const ProtobufCBinaryData *addr);
/* As an IPv6 address, which of IPv4 is a mapped one; without scope. */
void inet_normalize(const ProtobufCBinaryData *addr, struct sockaddr_in6 *ret);

/* Everything but the options is read anew: addresses, groups, options. */
int inet_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
	      Stasis__InetSocket **ret, struct stasis_error *err);
int inet_check(const Stasis__InetSocket *r, struct stasis_error *err);

/* A new socket with its early options, not bound. Without a session: to see whether it can be had. */
int inet_open(struct session *s, const Stasis__InetSocket *r, struct stasis_error *err);
/* Can its address be bound? It is, for a moment. */
int inet_probe(const Stasis__InetSocket *r, struct stasis_error *err);
int inet_bind(const Stasis__InetSocket *r, int fd, struct stasis_error *err);
int inet_connect(const Stasis__InetSocket *r, int fd, struct stasis_error *err);
/* Join the groups again; one whose interface is not here is a warning. */
int inet_join(struct session *s, const Stasis__InetSocket *r, int fd, struct stasis_error *err);

/* Is the socket of our network namespace? */
int socket_check_namespace(int fd, struct stasis_error *err);

/* ---- datagram.c: what UDP and raw sockets share ---- */

enum { DATAGRAM_SHUT_READ = 1u << 0, DATAGRAM_SHUT_BOTH = 1u << 1 };

/* How it is shut down, DATAGRAM_SHUT_* or 0; warns of datagrams that wait. */
uint32_t datagram_save_state(struct session *s, const struct fd_probe *p, const char *what,
			     const Stasis__InetSocket *inet);
int datagram_load(struct session *s, const Stasis__InetSocket *r, uint32_t shut, struct stasis_error *err);

/* multicast.c: which groups has this socket joined */
int multicast_save(struct fd_save *c, const struct fd_probe *p, Stasis__InetSocket *r,
		   struct stasis_error *err);

#endif
