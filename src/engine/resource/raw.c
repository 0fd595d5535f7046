/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw sockets, and those that ping(8) has (datagram sockets of ICMP). What a raw socket is connected to
 * has no port, and getpeername(2) then knows of no peer: /proc/PID/net does.
 */
#include "resource/sockets.h"

#include <string.h>
#include <sys/socket.h>

enum {
	TABLE_MAX_BYTES = 16 << 20,
	STATE_ESTABLISHED = 1, /* include/net/tcp_states.h */
};

static bool raw_match(const struct fd_probe *p)
{
	int protocol;

	if (socket_is(p, AF_INET, SOCK_RAW) || socket_is(p, AF_INET6, SOCK_RAW))
		return true;
	if (!socket_is(p, AF_INET, SOCK_DGRAM) && !socket_is(p, AF_INET6, SOCK_DGRAM))
		return false;
	protocol = socket_int(p->local_fd, SOL_SOCKET, SO_PROTOCOL);
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* Addresses are written as words in the machine's order: "0100007F:0001". */
static bool parse_addr(const char *hex, const char *port, int family, union inet_addr *ret)
{
	uint32_t words[4];
	unsigned nr = family == AF_INET ? 1 : 4;

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < nr; i++)
		if (sscanf(hex + 8 * i, "%8x", &words[i]) != 1)
			return false;
	ret->sa.sa_family = (sa_family_t)family;
	ret->v4.sin_port = htons((uint16_t)strtoul(port, NULL, 16)); /* at the same place in both */
	memcpy(family == AF_INET ? (void *)&ret->v4.sin_addr : (void *)&ret->v6.sin6_addr, words,
	       nr * sizeof(words[0]));
	return true;
}

/* " 1: 00000000:0001 0100007F:0000 01 00000000:00000000 00:00000000 00000000 0 0 4711 2 ..." */
static bool find_peer(const char *text, ino_t ino, int family, union inet_addr *ret)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		unsigned long long line_ino;
		char addr[33], port[5];
		unsigned state;

		if (sscanf(line,
			   " %*d: %*[0-9A-F]:%*[0-9A-F] %32[0-9A-F]:%4[0-9A-F] %x %*[0-9A-F]:%*[0-9A-F] "
			   "%*[0-9A-F]:%*[0-9A-F] %*[0-9A-F] %*u %*u %llu",
			   addr, port, &state, &line_ino) == 4 &&
		    line_ino == ino)
			return state == STATE_ESTABLISHED && parse_addr(addr, port, family, ret);
	}
	return false;
}

static int save_peer(struct fd_save *c, const struct fd_probe *p, Stasis__InetSocket *r,
		     struct stasis_error *err)
{
	bool is_v6 = r->family == AF_INET6, is_ping = r->type == SOCK_DGRAM;
	scoped_free char *text = NULL;
	union inet_addr a;
	char name[16];
	size_t len;

	(void)snprintf(name, sizeof(name), "net/%s%s", is_ping ? "icmp" : "raw", is_v6 ? "6" : "");
	if (r->peer.len || io_read_file_at(p->task->procfd, name, TABLE_MAX_BYTES, &text, &len, NULL) < 0 ||
	    !find_peer(text, p->st.st_ino, (int)r->family, &a))
		return 0;
	r->peer.len = is_v6 ? sizeof(a.v6) : sizeof(a.v4);
	r->peer.data = arena_memdup(&c->arena, &a, r->peer.len);
	return r->peer.data ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
}

static int raw_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		    Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__RawSocket *r = fd_save_alloc(c, sizeof(*r));

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__raw_socket__init(r);
	if (inet_save(s, c, p, &r->inet, err) < 0 || save_peer(c, p, r->inet, err) < 0)
		return -1;
	r->shutdown = datagram_save_state(s, p, r->inet->type == SOCK_RAW ? "raw" : "ICMP", r->inet);
	ret->kind_case = STASIS__DESCRIPTION__KIND_RAW;
	ret->raw = r;
	return 0;
}

static int raw_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const Stasis__RawSocket *r = d->raw;
	bool is_ping;

	(void)s;
	(void)c;
	if (inet_check(r->inet, err) < 0)
		return -1;
	is_ping = r->inet->type == SOCK_DGRAM &&
		  (r->inet->protocol == IPPROTO_ICMP || r->inet->protocol == IPPROTO_ICMPV6);
	if ((r->inet->type != SOCK_RAW && !is_ping) || r->inet->protocol > IPPROTO_RAW ||
	    r->shutdown > DATAGRAM_SHUT_BOTH)
		return stasis_fail(err, STASIS_E_CORRUPT, "raw socket of type %u and protocol %u",
				   r->inet->type, r->inet->protocol);
	return inet_probe(r->inet, err);
}

static int raw_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	(void)c;
	return datagram_load(s, d->raw->inet, d->raw->shutdown, err);
}

const struct resource_kind kind_raw = {
	.name = "raw",
	.tag = STASIS__DESCRIPTION__KIND_RAW,
	.match = raw_match,
	.save = raw_save,
	.verify = raw_verify,
	.load = raw_load,
};
