/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of sockets of every family, in one table: which there are, how long their values are, when
 * and how they are set. The kernel says which of them a socket has. What has an effect besides its
 * value (multicast groups, TLS, encapsulation) belongs to the kinds.
 */
#include "resource/sockets.h"

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

/* Newer than the C library's headers may be; numbers of include/uapi. */
enum {
	OPT_SO_PREFER_BUSY_POLL = 69,
	OPT_SO_BUSY_POLL_BUDGET = 70,
	OPT_SO_BUF_LOCK = 72, /* Linux 5.15 */
	OPT_SO_RESERVE_MEM = 73,
	OPT_SO_TXREHASH = 74,
	OPT_SO_RCVMARK = 75,
	OPT_SO_PASSPIDFD = 76,
	OPT_SO_RCVPRIORITY = 82,
	OPT_SO_PASSRIGHTS = 83,
	OPT_SO_INQ = 84,
	OPT_IP_LOCAL_PORT_RANGE = 51,
	OPT_TCP_RTO_MAX_MS = 44,
	OPT_TCP_RTO_MIN_US = 45,
	OPT_TCP_DELACK_MAX_US = 46,
	OPT_UDPLITE_SEND_CSCOV = 10,
	OPT_UDPLITE_RECV_CSCOV = 11,
	OPT_SOL_RAW = 255,
	OPT_ICMP_FILTER = 1,
	OPT_ICMP6_FILTER = 1,
	OPT_SOL_UDPLITE = 136,
	OPT_IPV6_RECVFRAGSIZE = 77,
	OPT_IPV6_FLOWINFO = 11,
	OPT_IPV6_FLOWINFO_SEND = 33,
	OPT_IP_RECVERR_RFC4884 = 26,
	OPT_IPV6_RECVERR_RFC4884 = 31,
	OPT_PACKET_IGNORE_OUTGOING = 23,
};

enum {
	VALUE_MAX_BYTES = 40, /* the longest: IP_OPTIONS */
	MAX_OPTIONS = 256,    /* in a record */
};

enum option_how {
	EARLY = 1u << 0,  /* before bind() */
	LATE = 1u << 1,	  /* when the socket is bound, connected and its queues are filled */
	BUFFER = 1u << 2, /* a buffer's size, which the kernel doubles when it is set */
	SOFT = 1u << 3,	  /* a hint: whatever fails is only worth a warning */
	NO_STREAM = 1u << 4, /* shown also for TCP, which abuses it, but not to be set there */
};

static const struct option_def {
	int level, name;
	uint8_t len; /* bytes; longest when it is a text or a structure that has grown */
	uint8_t how;
	const char *text;
} options[] = {
#define O(level, name, len, how)          {level, name, len, how, #name}
#define N(level, name, len, how)          {level, OPT_##name, len, how, #name}
	/* clang-format off */
	O(SOL_SOCKET, SO_REUSEADDR, 4, EARLY | LATE), /* TCP_REPAIR resets it */
	O(SOL_SOCKET, SO_REUSEPORT, 4, EARLY),
	O(SOL_SOCKET, SO_BINDTODEVICE, 16, EARLY),
	O(SOL_SOCKET, SO_DEBUG, 4, EARLY | SOFT),
	O(SOL_SOCKET, SO_DONTROUTE, 4, EARLY),
	O(SOL_SOCKET, SO_BROADCAST, 4, EARLY),
	O(SOL_SOCKET, SO_KEEPALIVE, 4, EARLY),
	O(SOL_SOCKET, SO_OOBINLINE, 4, EARLY),
	O(SOL_SOCKET, SO_NO_CHECK, 4, EARLY),
	O(SOL_SOCKET, SO_LINGER, 8, LATE), /* a failed restart must not reset what it half made */
	O(SOL_SOCKET, SO_PASSCRED, 4, EARLY),
	O(SOL_SOCKET, SO_PASSSEC, 4, EARLY),
	N(SOL_SOCKET, SO_PASSPIDFD, 4, EARLY),
	N(SOL_SOCKET, SO_PASSRIGHTS, 4, LATE),
	O(SOL_SOCKET, SO_RCVTIMEO, 16, EARLY),
	O(SOL_SOCKET, SO_SNDTIMEO, 16, LATE), /* also limits connect() */
	O(SOL_SOCKET, SO_TIMESTAMP, 4, EARLY),
	O(SOL_SOCKET, SO_TIMESTAMPNS, 4, EARLY),
	O(SOL_SOCKET, SO_TIMESTAMPING, 8, LATE),
	O(SOL_SOCKET, SO_RXQ_OVFL, 4, EARLY),
	N(SOL_SOCKET, SO_RCVMARK, 4, EARLY | SOFT),
	N(SOL_SOCKET, SO_RCVPRIORITY, 4, EARLY | SOFT),
	O(SOL_SOCKET, SO_WIFI_STATUS, 4, EARLY),
	O(SOL_SOCKET, SO_NOFCS, 4, EARLY),
	O(SOL_SOCKET, SO_SELECT_ERR_QUEUE, 4, EARLY),
	O(SOL_SOCKET, SO_BUSY_POLL, 4, EARLY | SOFT),
	N(SOL_SOCKET, SO_PREFER_BUSY_POLL, 4, EARLY | SOFT),
	N(SOL_SOCKET, SO_BUSY_POLL_BUDGET, 4, EARLY | SOFT),
	O(SOL_SOCKET, SO_MAX_PACING_RATE, 8, LATE),
	O(SOL_SOCKET, SO_ZEROCOPY, 4, EARLY),
	O(SOL_SOCKET, SO_TXTIME, 8, EARLY),
	N(SOL_SOCKET, SO_RESERVE_MEM, 4, LATE | SOFT),
	N(SOL_SOCKET, SO_TXREHASH, 4, LATE | SOFT),
	N(SOL_SOCKET, SO_INQ, 4, EARLY),
	O(SOL_SOCKET, SO_MARK, 4, EARLY),

	O(IPPROTO_IP, IP_TOS, 4, EARLY), /* sets the priority as well: before SO_PRIORITY */
	O(IPPROTO_IP, IP_TTL, 4, EARLY),
	O(IPPROTO_IP, IP_HDRINCL, 4, EARLY),
	O(IPPROTO_IP, IP_OPTIONS, 40, EARLY),
	O(IPPROTO_IP, IP_RECVOPTS, 4, EARLY),
	O(IPPROTO_IP, IP_RETOPTS, 4, EARLY),
	O(IPPROTO_IP, IP_PKTINFO, 4, EARLY),
	O(IPPROTO_IP, IP_MTU_DISCOVER, 4, EARLY),
	O(IPPROTO_IP, IP_RECVERR, 4, EARLY),
	N(IPPROTO_IP, IP_RECVERR_RFC4884, 4, EARLY),
	O(IPPROTO_IP, IP_RECVTTL, 4, EARLY),
	O(IPPROTO_IP, IP_RECVTOS, 4, EARLY),
	O(IPPROTO_IP, IP_FREEBIND, 4, EARLY),
	O(IPPROTO_IP, IP_PASSSEC, 4, EARLY),
	O(IPPROTO_IP, IP_TRANSPARENT, 4, EARLY),
	O(IPPROTO_IP, IP_RECVORIGDSTADDR, 4, EARLY),
	O(IPPROTO_IP, IP_MINTTL, 4, EARLY),
	O(IPPROTO_IP, IP_NODEFRAG, 4, EARLY),
	O(IPPROTO_IP, IP_CHECKSUM, 4, EARLY),
	O(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 4, LATE),
	O(IPPROTO_IP, IP_RECVFRAGSIZE, 4, EARLY),
	O(IPPROTO_IP, IP_MULTICAST_IF, 4, EARLY | NO_STREAM),
	O(IPPROTO_IP, IP_MULTICAST_TTL, 4, EARLY | NO_STREAM),
	O(IPPROTO_IP, IP_MULTICAST_LOOP, 4, EARLY | NO_STREAM),
	O(IPPROTO_IP, IP_MULTICAST_ALL, 4, EARLY),
	O(IPPROTO_IP, IP_UNICAST_IF, 4, EARLY),
	N(IPPROTO_IP, IP_LOCAL_PORT_RANGE, 4, LATE),

	O(IPPROTO_IPV6, IPV6_V6ONLY, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_CHECKSUM, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_HDRINCL, 4, EARLY),
	N(IPPROTO_IPV6, IPV6_FLOWINFO, 4, EARLY),
	N(IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_MULTICAST_IF, 4, EARLY | NO_STREAM),
	O(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 4, EARLY | NO_STREAM),
	O(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 4, EARLY | NO_STREAM),
	O(IPPROTO_IPV6, IPV6_MULTICAST_ALL, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_MTU_DISCOVER, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVERR, 4, EARLY),
	N(IPPROTO_IPV6, IPV6_RECVERR_RFC4884, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVPKTINFO, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVHOPOPTS, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVRTHDR, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVDSTOPTS, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVPATHMTU, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_DONTFRAG, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_RECVTCLASS, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_TCLASS, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_MINHOPCOUNT, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_ORIGDSTADDR, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_TRANSPARENT, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_UNICAST_IF, 4, EARLY),
	O(IPPROTO_IPV6, IPV6_FREEBIND, 4, EARLY),
	N(IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 4, EARLY),
	O(SOL_SOCKET, SO_PRIORITY, 4, EARLY),

	O(IPPROTO_TCP, TCP_NODELAY, 4, EARLY),
	O(IPPROTO_TCP, TCP_KEEPIDLE, 4, EARLY),
	O(IPPROTO_TCP, TCP_KEEPINTVL, 4, EARLY),
	O(IPPROTO_TCP, TCP_KEEPCNT, 4, EARLY),
	O(IPPROTO_TCP, TCP_SYNCNT, 4, EARLY),
	O(IPPROTO_TCP, TCP_LINGER2, 4, EARLY),
	O(IPPROTO_TCP, TCP_DEFER_ACCEPT, 4, EARLY),
	O(IPPROTO_TCP, TCP_CONGESTION, 16, EARLY | SOFT),
	O(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 4, EARLY),
	O(IPPROTO_TCP, TCP_USER_TIMEOUT, 4, EARLY),
	O(IPPROTO_TCP, TCP_FASTOPEN, 4, EARLY),
	O(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 4, EARLY),
	O(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 4, EARLY),
	O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4, EARLY),
	O(IPPROTO_TCP, TCP_SAVE_SYN, 4, EARLY),
	O(IPPROTO_TCP, TCP_INQ, 4, EARLY),
	O(IPPROTO_TCP, TCP_TX_DELAY, 4, EARLY | SOFT),
	N(IPPROTO_TCP, TCP_RTO_MAX_MS, 4, EARLY),
	N(IPPROTO_TCP, TCP_RTO_MIN_US, 4, EARLY),
	N(IPPROTO_TCP, TCP_DELACK_MAX_US, 4, EARLY),
	O(IPPROTO_TCP, TCP_CORK, 4, LATE),
	O(IPPROTO_TCP, TCP_QUICKACK, 4, LATE | SOFT),

	O(IPPROTO_UDP, UDP_CORK, 4, LATE),
	O(IPPROTO_UDP, UDP_NO_CHECK6_TX, 4, EARLY),
	O(IPPROTO_UDP, UDP_NO_CHECK6_RX, 4, EARLY),
	O(IPPROTO_UDP, UDP_SEGMENT, 4, LATE),
	O(IPPROTO_UDP, UDP_GRO, 4, LATE),
	N(OPT_SOL_UDPLITE, UDPLITE_SEND_CSCOV, 4, EARLY),
	N(OPT_SOL_UDPLITE, UDPLITE_RECV_CSCOV, 4, EARLY),
	N(OPT_SOL_RAW, ICMP_FILTER, 4, EARLY),
	N(IPPROTO_ICMPV6, ICMP6_FILTER, 32, EARLY),

	O(SOL_NETLINK, NETLINK_PKTINFO, 4, EARLY),
	O(SOL_NETLINK, NETLINK_BROADCAST_ERROR, 4, EARLY),
	O(SOL_NETLINK, NETLINK_NO_ENOBUFS, 4, EARLY),
	O(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 4, EARLY),
	O(SOL_NETLINK, NETLINK_CAP_ACK, 4, EARLY),
	O(SOL_NETLINK, NETLINK_EXT_ACK, 4, EARLY),
	O(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 4, EARLY),

	O(SOL_PACKET, PACKET_VERSION, 4, EARLY),
	O(SOL_PACKET, PACKET_RESERVE, 4, EARLY),
	O(SOL_PACKET, PACKET_AUXDATA, 4, EARLY),
	O(SOL_PACKET, PACKET_ORIGDEV, 4, EARLY),
	O(SOL_PACKET, PACKET_VNET_HDR, 4, EARLY),
	O(SOL_PACKET, PACKET_LOSS, 4, EARLY),
	O(SOL_PACKET, PACKET_TIMESTAMP, 4, EARLY),
	O(SOL_PACKET, PACKET_TX_HAS_OFF, 4, EARLY),
	O(SOL_PACKET, PACKET_QDISC_BYPASS, 4, EARLY),
	N(SOL_PACKET, PACKET_IGNORE_OUTGOING, 4, EARLY),

	O(SOL_SOCKET, SO_SNDBUF, 4, LATE | BUFFER),
	O(SOL_SOCKET, SO_RCVBUF, 4, LATE | BUFFER),
	N(SOL_SOCKET, SO_BUF_LOCK, 4, LATE), /* after the two above, which set it */
	O(SOL_SOCKET, SO_RCVLOWAT, 4, LATE), /* enlarges TCP's buffer */
	O(SOL_SOCKET, SO_PEEK_OFF, 4, LATE),
	O(SOL_SOCKET, SO_LOCK_FILTER, 4, LATE), /* last: no filter can be attached after it */
	/* clang-format on */
#undef O
#undef N
};

enum { NR_OPTIONS = sizeof(options) / sizeof(options[0]) };

static const struct option_def *find_def(int level, int name)
{
	for (size_t i = 0; i < NR_OPTIONS; i++)
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	return NULL;
}

static const Stasis__LevelOption *find_saved(const Stasis__SocketOptions *o, int level, int name)
{
	for (size_t i = 0; o && i < o->n_options; i++)
		if (o->options[i]->level == level && o->options[i]->name == name)
			return o->options[i];
	return NULL;
}

int socket_options_int(const Stasis__SocketOptions *o, int level, int name, int missing)
{
	const Stasis__LevelOption *found = find_saved(o, level, name);
	int value;

	if (!found || found->value.len < sizeof(value))
		return missing;
	memcpy(&value, found->value.data, sizeof(value));
	return value;
}

/* ---- dump ---- */

static int save_option(struct fd_save *c, int fd, const struct option_def *def,
		       Stasis__SocketOptions *ret, struct stasis_error *err)
{
	uint8_t value[VALUE_MAX_BYTES] = {0};
	socklen_t len = def->len;
	Stasis__LevelOption *o;

	if (getsockopt(fd, def->level, def->name, value, &len) < 0)
		return 0; /* not an option of this family or kernel */
	o = fd_save_alloc(c, sizeof(*o) + len + 1);
	if (!o)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for socket options");
	stasis__level_option__init(o);
	o->level = def->level;
	o->name = def->name;
	o->value.data = (uint8_t *)(o + 1);
	o->value.len = len;
	memcpy(o->value.data, value, len);
	ret->options[ret->n_options++] = o;
	return 0;
}

/* For this option lengths are instructions, not bytes: net/core/filter.c, sk_get_filter(). */
static int save_filter(struct fd_save *c, int fd, Stasis__SocketOptions *ret,
		       struct stasis_error *err)
{
	socklen_t nr = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &nr) < 0) {
		if (errno == EACCES)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "socket with an eBPF filter is not supported; attach a "
					   "classic one (SO_ATTACH_FILTER)");
		return 0;
	}
	if (!nr)
		return 0;
	ret->filter.len = nr * sizeof(struct sock_filter);
	ret->filter.data = fd_save_alloc(c, ret->filter.len);
	if (!ret->filter.data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket filter");
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, ret->filter.data, &nr) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "read a socket's filter");
	return 0;
}

int socket_options_save(struct fd_save *c, int fd, Stasis__SocketOptions **ret,
			struct stasis_error *err)
{
	Stasis__SocketOptions *o = fd_save_alloc(c, sizeof(*o));
	bool is_stream, is_unix;

	if (!o)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for socket options");
	stasis__socket_options__init(o);
	o->options = fd_save_alloc(c, NR_OPTIONS * sizeof(*o->options));
	if (!o->options)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for socket options");
	is_stream = socket_int(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
	is_unix = socket_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_UNIX; /* there may be thousands */
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		const struct option_def *def = &options[i];

		if ((is_stream && def->how & NO_STREAM) || (is_unix && def->level != SOL_SOCKET))
			continue;
		if (save_option(c, fd, def, o, err) < 0)
			return -1;
	}
	*ret = o;
	return save_filter(c, fd, o, err);
}

/* ---- restore ---- */

int socket_options_check(const Stasis__SocketOptions *o, struct stasis_error *err)
{
	if (!o)
		return 0;
	if (o->n_options > MAX_OPTIONS || o->filter.len % sizeof(struct sock_filter) ||
	    o->filter.len > BPF_MAXINSNS * sizeof(struct sock_filter))
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu options and a filter of %zu bytes",
				   o->n_options, o->filter.len);
	for (size_t i = 0; i < o->n_options; i++) {
		const Stasis__LevelOption *saved = o->options[i];
		const struct option_def *def = find_def(saved->level, saved->name);

		if (!def || saved->value.len > def->len)
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "socket option %d of level %d with %zu bytes",
					   saved->name, saved->level, saved->value.len);
	}
	return 0;
}

static bool is_set(int fd, const struct option_def *def, const Stasis__LevelOption *saved)
{
	uint8_t now[VALUE_MAX_BYTES] = {0};
	socklen_t len = def->len;

	return getsockopt(fd, def->level, def->name, now, &len) == 0 && len == saved->value.len &&
	       (!len || memcmp(now, saved->value.data, len) == 0);
}

/* Which bit of SO_BUF_LOCK tells that the program chose the size. */
static bool is_chosen(const Stasis__SocketOptions *o, int name)
{
	int lock = socket_options_int(o, SOL_SOCKET, OPT_SO_BUF_LOCK, ~0);

	return lock & (name == SO_SNDBUF ? SOCK_SNDBUF_LOCK : SOCK_RCVBUF_LOCK);
}

/* A size that the kernel chose by itself need not be reached: it will do so again. */
static void set_buffer(struct session *s, const Stasis__SocketOptions *o, int fd, int name)
{
	int want = socket_options_int(o, SOL_SOCKET, name, 0), half = want / 2, got = 0;
	socklen_t len = sizeof(got);

	if (setsockopt(fd, SOL_SOCKET, name == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE, &half,
		       sizeof(half)) < 0 &&
	    is_chosen(o, name))
		(void)setsockopt(fd, SOL_SOCKET, name, &half, sizeof(half)); /* seen below */
	if (is_chosen(o, name) && getsockopt(fd, SOL_SOCKET, name, &got, &len) == 0 && got < want)
		s_warn(s, "a socket gets a %s buffer of %d bytes instead of %d (see socket(7))",
		       name == SO_SNDBUF ? "send" : "receive", got, want);
}

static int set_option(struct session *s, const Stasis__SocketOptions *o, int fd,
		      const struct option_def *def, struct stasis_error *err)
{
	const Stasis__LevelOption *saved = find_saved(o, def->level, def->name);

	if (!saved || is_set(fd, def, saved))
		return 0;
	if (def->how & BUFFER) {
		set_buffer(s, o, fd, def->name);
		return 0;
	}
	if (setsockopt(fd, def->level, def->name, saved->value.data,
		       (socklen_t)saved->value.len) == 0)
		return 0;
	if (!s)
		return 0; /* only a look; said when it is done in earnest */
	if (!(def->how & SOFT) && errno != EPERM && errno != ENOPROTOOPT)
		return stasis_fail_errno(err, STASIS_E_IO, "set socket option %s", def->text);
	s_warn(s, "socket option %s is not restored: %s", def->text, strerror(errno));
	return 0;
}

static int set_options(struct session *s, const Stasis__SocketOptions *o, int fd,
		       enum option_how when, struct stasis_error *err)
{
	for (size_t i = 0; i < NR_OPTIONS; i++)
		if (options[i].how & when && set_option(s, o, fd, &options[i], err) < 0)
			return -1;
	return 0;
}

int socket_options_load(struct session *s, const Stasis__SocketOptions *o, int fd,
			struct stasis_error *err)
{
	return set_options(s, o, fd, EARLY, err);
}

int socket_options_finish(struct session *s, const Stasis__SocketOptions *o, int fd,
			  struct stasis_error *err)
{
	struct sock_fprog filter = {0};

	if (!o)
		return 0;
	filter.len = (unsigned short)(o->filter.len / sizeof(struct sock_filter));
	filter.filter = (struct sock_filter *)(void *)o->filter.data;
	if (filter.len &&
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "attach a socket's filter");
	return set_options(s, o, fd, LATE, err);
}
