/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What TCP, UDP and raw sockets share: addresses, options, multicast groups, and how they come back. */
#include "resource/sockets.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { MAX_GROUPS = 4096, MAX_SOURCES = 1024 };

int socket_int(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

bool socket_is(const struct fd_probe *p, int family, int type)
{
	if (!S_ISSOCK(p->st.st_mode) || p->local_fd < 0 || p->is_path)
		return false;
	return socket_int(p->local_fd, SOL_SOCKET, SO_DOMAIN) == family &&
	       (!type || socket_int(p->local_fd, SOL_SOCKET, SO_TYPE) == type);
}

static const union inet_addr *addr_of(const ProtobufCBinaryData *bytes, union inet_addr *buf)
{
	memset(buf, 0, sizeof(*buf));
	if (bytes->len <= sizeof(*buf) && bytes->len)
		memcpy(buf, bytes->data, bytes->len);
	return buf;
}

const char *inet_text(const ProtobufCBinaryData *addr, char *buf)
{
	char text[INET6_ADDRSTRLEN] = "?";
	union inet_addr a;

	(void)addr_of(addr, &a);
	if (a.sa.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &a.v4.sin_addr, text, sizeof(text));
	else
		(void)inet_ntop(AF_INET6, &a.v6.sin6_addr, text, sizeof(text));
	(void)snprintf(buf, INET_TEXT_BYTES, a.sa.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", text,
		       inet_port(addr));
	return buf;
}

uint16_t inet_port(const ProtobufCBinaryData *addr)
{
	union inet_addr a;

	/* both structures have it at the same place */
	return ntohs(addr_of(addr, &a)->v4.sin_port);
}

/* An IPv6 socket may talk to an IPv4 one: then both look like IPv4. */
void inet_normalize(const ProtobufCBinaryData *addr, struct sockaddr_in6 *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr->len == sizeof(struct sockaddr_in6)) {
		memcpy(ret, addr->data, sizeof(*ret));
		ret->sin6_scope_id = 0;
		ret->sin6_flowinfo = 0;
	} else if (addr->len == sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *v4 = (const void *)addr->data;

		ret->sin6_family = AF_INET6;
		ret->sin6_port = v4->sin_port;
		ret->sin6_addr.s6_addr[10] = ret->sin6_addr.s6_addr[11] = 0xff;
		memcpy(&ret->sin6_addr.s6_addr[12], &v4->sin_addr, 4);
	}
}

/* ---- dump ---- */

static int keep_addr(struct fd_save *c, const union inet_addr *a, socklen_t len,
		     ProtobufCBinaryData *ret, struct stasis_error *err)
{
	ret->data = fd_save_alloc(c, len);
	if (!ret->data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	memcpy(ret->data, a, len);
	ret->len = len;
	return 0;
}

static bool is_wildcard(const union inet_addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == htonl(INADDR_ANY) && !a->v4.sin_port;
	return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr) && !a->v6.sin6_port;
}

static int save_addresses(struct fd_save *c, int fd, Stasis__InetSocket *r, struct stasis_error *err)
{
	union inet_addr a = {.sa = {0}};
	socklen_t len = sizeof(a);

	if (getsockname(fd, &a.sa, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "getsockname");
	if (len <= sizeof(a) && !is_wildcard(&a) && keep_addr(c, &a, len, &r->local, err) < 0)
		return -1;
	len = sizeof(a);
	if (getpeername(fd, &a.sa, &len) < 0 || len > sizeof(a))
		return 0; /* not connected */
	return keep_addr(c, &a, len, &r->peer, err);
}

/* A socket stays in the network namespace it was made in, which need not be its holder's. */
int socket_check_namespace(int fd, struct stasis_error *err)
{
	scoped_fd int ns = ioctl(fd, SIOCGSKNS);
	struct stat own, its;

	if (ns < 0 || fstat(ns, &its) < 0 || stat("/proc/self/ns/net", &own) < 0)
		return 0; /* not for us to know (CAP_NET_ADMIN): its holder's, which is ours */
	if (own.st_ino == its.st_ino)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "socket of another network namespace is not supported; close it before the "
			   "checkpoint");
}

int inet_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
	      Stasis__InetSocket **ret, struct stasis_error *err)
{
	Stasis__InetSocket *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__inet_socket__init(r);
	r->family = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_DOMAIN);
	r->type = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_TYPE);
	r->protocol = (uint32_t)socket_int(p->local_fd, SOL_SOCKET, SO_PROTOCOL);
	*ret = r;
	if (socket_check_namespace(p->local_fd, err) < 0 || save_addresses(c, p->local_fd, r, err) < 0)
		return -1;
	if (r->type != SOCK_STREAM && multicast_save(c, p, r, err) < 0)
		return -1;
	return socket_options_save(c, p->local_fd, &r->options, err);
}

/* ---- restore ---- */

static int check_addr(const ProtobufCBinaryData *bytes, uint32_t family, struct stasis_error *err)
{
	size_t want = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	union inet_addr a;

	if (!bytes->len)
		return 0;
	if (bytes->len != want || addr_of(bytes, &a)->sa.sa_family != family)
		return stasis_fail(err, STASIS_E_CORRUPT, "socket address of %zu bytes",
				   bytes->len);
	return 0;
}

static int check_group(const Stasis__Multicast *g, uint32_t family, struct stasis_error *err)
{
	if (!g->group.len || g->sources.len % sizeof(struct sockaddr_storage) ||
	    g->sources.len / sizeof(struct sockaddr_storage) > MAX_SOURCES || g->mode > 1 ||
	    strlen(g->interface) >= IF_NAMESIZE)
		return stasis_fail(err, STASIS_E_CORRUPT, "multicast group of a socket");
	return check_addr(&g->group, family, err);
}

int inet_check(const Stasis__InetSocket *r, struct stasis_error *err)
{
	if (!r || (r->family != AF_INET && r->family != AF_INET6) || r->n_groups > MAX_GROUPS)
		return stasis_fail(err, STASIS_E_CORRUPT, "record of a socket");
	if (check_addr(&r->local, r->family, err) < 0 || check_addr(&r->peer, r->family, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_groups; i++)
		if (check_group(r->groups[i], r->family, err) < 0)
			return -1;
	return socket_options_check(r->options, err);
}

int inet_open(struct session *s, const Stasis__InetSocket *r, struct stasis_error *err)
{
	scoped_fd int fd = socket((int)r->family, (int)r->type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  (int)r->protocol);

	if (fd < 0 && (errno == EPERM || errno == EACCES))
		return stasis_fail_errno(err, STASIS_E_DENIED, "make a socket");
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make a socket");
	if (socket_options_load(s, r->options, fd, err) < 0)
		return -1;
	return fd_take(&fd);
}

int inet_bind(const Stasis__InetSocket *r, int fd, struct stasis_error *err)
{
	char text[INET_TEXT_BYTES];
	union inet_addr a;

	if (!r->local.len || bind(fd, &addr_of(&r->local, &a)->sa, (socklen_t)r->local.len) == 0)
		return 0;
	switch (errno) {
	case EADDRINUSE:
		return stasis_fail_errno(err, STASIS_E_BUSY,
					 "address %s is in use; end who uses it (ss -anp)",
					 inet_text(&r->local, text));
	case EADDRNOTAVAIL:
		return stasis_fail_errno(err, STASIS_E_GONE,
					 "address %s is none of this machine's",
					 inet_text(&r->local, text));
	case EACCES:
		return stasis_fail_errno(err, STASIS_E_DENIED, "use address %s",
					 inet_text(&r->local, text));
	default:
		return stasis_fail_errno(err, STASIS_E_IO, "use address %s",
					 inet_text(&r->local, text));
	}
}

int inet_probe(const Stasis__InetSocket *r, struct stasis_error *err)
{
	scoped_fd int fd = inet_open(NULL, r, err);

	return fd < 0 ? -1 : inet_bind(r, fd, err);
}

int inet_connect(const Stasis__InetSocket *r, int fd, struct stasis_error *err)
{
	char text[INET_TEXT_BYTES];
	union inet_addr a;

	if (!r->peer.len || connect(fd, &addr_of(&r->peer, &a)->sa, (socklen_t)r->peer.len) == 0)
		return 0;
	return stasis_fail_errno(err, STASIS_E_GONE, "connect to %s", inet_text(&r->peer, text));
}

static int join(const Stasis__Multicast *g, uint32_t family, unsigned index, int fd,
		struct stasis_error *err)
{
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	size_t nr = g->sources.len / sizeof(struct sockaddr_storage);
	scoped_free struct group_filter *filter = calloc(1, GROUP_FILTER_SIZE(nr) + sizeof(*filter));
	struct group_req req = {.gr_interface = index};

	if (!filter)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a multicast group");
	memcpy(&req.gr_group, g->group.data, g->group.len);
	if (setsockopt(fd, level, MCAST_JOIN_GROUP, &req, sizeof(req)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "join a multicast group at '%s'",
					 g->interface);
	filter->gf_interface = index;
	filter->gf_group = req.gr_group;
	filter->gf_fmode = g->mode;
	filter->gf_numsrc = (uint32_t)nr;
	if (nr)
		memcpy(filter->gf_slist, g->sources.data, g->sources.len);
	if ((nr || g->mode == MCAST_INCLUDE) &&
	    setsockopt(fd, level, MCAST_MSFILTER, filter, (socklen_t)GROUP_FILTER_SIZE(nr)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "sources of a multicast group");
	return 0;
}

int inet_join(struct session *s, const Stasis__InetSocket *r, int fd, struct stasis_error *err)
{
	for (size_t i = 0; i < r->n_groups; i++) {
		const Stasis__Multicast *g = r->groups[i];
		unsigned index = if_nametoindex(g->interface);

		if (!index)
			s_warn(s, "there is no interface '%s': a multicast group is not joined",
			       g->interface);
		else if (join(g, r->family, index, fd, err) < 0)
			return -1;
	}
	return 0;
}
