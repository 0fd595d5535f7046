/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TCP connections at a restart. With CAP_NET_ADMIN a new socket becomes an end of the old connection in
 * repair mode, without a packet sent; it leaves that mode when every socket of the tree is there and no
 * process runs yet. What its peer in the tree has received already is left out of its send queue, so the
 * two agree. Without it, tcp_pair.c connects two ends of the tree.
 */
#include "resource/tcp.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	MAX_QUEUE_BYTES = 1 << 30,
	MAX_WSCALE = 14,
	CHUNK_BYTES = 32768, /* one packet buffer of whole pages in the kernel */
	ROOM_BYTES = 1 << 18,
};

struct repair_opt {
	uint32_t code, val;
};

static int set(int fd, int name, uint32_t value)
{
	return setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value));
}

static const Stasis__TcpState *state_of(struct fd_load *c, const Stasis__TcpSocket *r)
{
	const Stasis__Object *o = fd_load_object(c, r->object);

	return o && o->type == STASIS__OBJECT_TYPE__OBJECT_TCP ? o->tcp : NULL;
}

/* The other end, when it is restarted as well. */
static const Stasis__TcpSocket *peer_socket(struct fd_load *c, const Stasis__TcpState *st)
{
	const struct load_desc *l = st->peer ? load_find_desc(c, st->peer) : NULL;

	return l && load_is_kept(l) && l->d->kind_case == STASIS__DESCRIPTION__KIND_TCP ? l->d->tcp : NULL;
}

static const Stasis__TcpState *peer_of(struct fd_load *c, const Stasis__TcpState *st)
{
	const Stasis__TcpSocket *peer = peer_socket(c, st);

	return peer ? state_of(c, peer) : NULL;
}

/* Bytes at the front of the send queue that the peer has. */
uint32_t tcp_nr_received(const Stasis__TcpState *st, const Stasis__TcpState *peer)
{
	return peer ? peer->recv_seq + peer->recv_len - st->send_seq : 0;
}

static int begin_repair(int fd, struct stasis_error *err)
{
	if (set(fd, TCP_REPAIR, REPAIR_ON) == 0)
		return 0;
	return stasis_fail_errno(err, STASIS_E_DENIED, "TCP_REPAIR");
}

enum fate {
	KEPT,	/* the old connection */
	PAIRED, /* a new one between the same two */
	ENDED,
};

static enum fate fate_of(struct fd_load *c, const Stasis__TcpState *st)
{
	scoped_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const Stasis__TcpState *peer = peer_of(c, st);

	if (!st->is_kept || (st->peer && !peer))
		return ENDED;
	if (fd >= 0 && begin_repair(fd, NULL) == 0)
		return KEPT;
	return peer && peer->is_kept && peer_of(c, peer) == st && tcp_pair_fits(st, peer) ? PAIRED : ENDED;
}

/* ---- checks ---- */

static int check_state(const Stasis__TcpState *st, const Stasis__Object *o, struct stasis_error *err)
{
	if (st->send_len > MAX_QUEUE_BYTES || st->recv_len > MAX_QUEUE_BYTES ||
	    o->content_len != (uint64_t)st->send_len + st->recv_len ||
	    st->unsent_len > st->send_len || st->snd_wscale > MAX_WSCALE ||
	    st->rcv_wscale > MAX_WSCALE || st->mss > UINT16_MAX || st->state > TCP_CLOSING)
		return stasis_fail(err, STASIS_E_CORRUPT, "state of a TCP connection");
	if (st->block && *st->block && !net_block_name_is_sane(st->block))
		return stasis_fail(err, STASIS_E_CORRUPT, "nftables table '%.40s'", st->block);
	return 0;
}

/* Into repair mode, to its addresses, connected: nobody is told. */
static int become(const Stasis__InetSocket *inet, const Stasis__TcpState *st, uint32_t send_seq, int fd,
		  struct stasis_error *err)
{
	char local[INET_TEXT_BYTES], peer[INET_TEXT_BYTES];

	if (begin_repair(fd, err) < 0 || inet_bind(inet, fd, err) < 0)
		return -1;
	if (set(fd, TCP_REPAIR_QUEUE, REPAIR_RECV_QUEUE) < 0 ||
	    set(fd, TCP_QUEUE_SEQ, st->recv_seq) < 0 ||
	    set(fd, TCP_REPAIR_QUEUE, REPAIR_SEND_QUEUE) < 0 ||
	    set(fd, TCP_QUEUE_SEQ, send_seq) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "sequence numbers of a TCP connection");
	if (inet_connect(inet, fd, NULL) == 0)
		return 0;
	if (errno == EADDRNOTAVAIL)
		return stasis_fail_errno(err, STASIS_E_BUSY,
					 "TCP connection from %s to %s exists; end who has it (ss -tnp)",
					 inet_text(&inet->local, local), inet_text(&inet->peer, peer));
	return stasis_fail_errno(err, STASIS_E_GONE, "TCP connection to %s",
				 inet_text(&inet->peer, peer));
}

int tcp_conn_verify(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r,
		    struct stasis_error *err)
{
	const Stasis__TcpState *st = state_of(c, r);
	char text[INET_TEXT_BYTES];
	scoped_fd int fd = -1;
	enum fate fate;

	if (!st)
		return stasis_fail(err, STASIS_E_CORRUPT, "record of TCP connection %llu is missing",
				   (unsigned long long)r->object);
	if (check_state(st, fd_load_object(c, r->object), err) < 0 ||
	    load_check_object(c, r->object, STASIS__OBJECT_TYPE__OBJECT_TCP, err) < 0)
		return -1;
	fate = fate_of(c, st);
	if (fate == ENDED) {
		if (st->state != TCP_CLOSE)
			s_warn(s, "TCP connection to %s is over: the program gets %s",
			       inet_text(&r->inet->peer, text),
			       tcp_got_fin(st->state) ? "its end" : "ECONNRESET");
		return 0;
	}
	if (!r->inet->local.len || !r->inet->peer.len)
		return stasis_fail(err, STASIS_E_CORRUPT, "TCP connection without address");
	if (tcp_nr_received(st, peer_of(c, st)) > st->send_len)
		return stasis_fail(err, STASIS_E_CORRUPT, "ends of a TCP connection do not fit");
	if (fate == PAIRED)
		return 0;
	fd = inet_open(NULL, r->inet, err);
	return fd < 0 ? -1 : become(r->inet, st, st->send_seq, fd, err);
}

/* ---- making it ---- */

static int set_parameters(const Stasis__TcpState *st, int fd, struct stasis_error *err)
{
	struct repair_opt opts[4];
	size_t nr = 0;

	if (st->has_sack)
		opts[nr++] = (struct repair_opt){TCPOPT_SACK_PERMITTED, 0};
	if (st->has_wscale)
		opts[nr++] = (struct repair_opt){TCPOPT_WINDOW, st->snd_wscale | st->rcv_wscale << 16};
	if (st->has_timestamps)
		opts[nr++] = (struct repair_opt){TCPOPT_TIMESTAMP, 0};
	opts[nr++] = (struct repair_opt){TCPOPT_MAXSEG, st->mss};
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, opts, (socklen_t)(nr * sizeof(opts[0]))) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "parameters of a TCP connection");
	if (st->has_timestamps && set(fd, TCP_TIMESTAMP, st->timestamp) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "clock of a TCP connection");
	return 0;
}

/* What the sender knows of the receiver's window is told by the receiver when it is here. */
static int set_window(const Stasis__TcpState *st, const Stasis__TcpState *peer, int fd,
		      struct stasis_error *err)
{
	struct repair_window w = {st->snd_wl1, st->snd_wnd, st->max_window, st->rcv_wnd, st->rcv_wup};

	if (peer) {
		uint32_t rcv_nxt = peer->recv_seq + peer->recv_len;

		w.snd_wnd = peer->rcv_wup + peer->rcv_wnd - rcv_nxt;
		if (w.snd_wnd > peer->rcv_wnd) /* it has shrunk */
			w.snd_wnd = 0;
	}
	/* a FIN that was received counted in these and comes again */
	if ((int32_t)(w.rcv_wup - (st->recv_seq + st->recv_len)) > 0)
		w.rcv_wup = st->recv_seq + st->recv_len;
	if (w.max_window < w.snd_wnd)
		w.max_window = w.snd_wnd;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "window of a TCP connection");
	return 0;
}

int tcp_put_bytes(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err)
{
	while (len) {
		ssize_t n = send(fd, bytes, len < CHUNK_BYTES ? len : CHUNK_BYTES,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO, "fill a TCP queue");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static void make_room(const Stasis__TcpSocket *r, int fd, int name, int force_name, uint32_t len)
{
	int saved = socket_options_int(r->inet->options, SOL_SOCKET, name, 0) / 2;
	int room = (int)(len < MAX_QUEUE_BYTES / 2 ? 2 * len : len) + ROOM_BYTES;

	if (room < saved)
		room = saved;
	(void)setsockopt(fd, SOL_SOCKET, force_name, &room, sizeof(room)); /* else it does not fit: seen then */
}

int tcp_read_bytes(struct fd_load *c, const Stasis__TcpSocket *r, uint8_t **ret, struct stasis_error *err)
{
	uint64_t len = fd_load_object(c, r->object)->content_len;

	*ret = malloc(len + 1); /* verified: bounded */
	if (!*ret)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP queues");
	return fd_load_object_bytes(c, r->object, 0, *ret, len, err);
}

static int load_kept(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r,
		     const Stasis__TcpState *st, struct stasis_error *err)
{
	const Stasis__TcpState *peer = peer_of(c, st);
	scoped_fd int fd = inet_open(s, r->inet, err);
	scoped_free uint8_t *bytes = NULL;

	if (fd < 0 || tcp_read_bytes(c, r, &bytes, err) < 0)
		return -1;
	make_room(r, fd, SO_RCVBUF, SO_RCVBUFFORCE, 2 * st->recv_len);
	make_room(r, fd, SO_SNDBUF, SO_SNDBUFFORCE, st->send_len);
	if (become(r->inet, st, st->send_seq + tcp_nr_received(st, peer), fd, err) < 0 ||
	    set_parameters(st, fd, err) < 0)
		return -1;
	if (set(fd, TCP_REPAIR_QUEUE, REPAIR_RECV_QUEUE) < 0 ||
	    tcp_put_bytes(fd, bytes + st->send_len, st->recv_len, err) < 0)
		return -1;
	if (set(fd, TCP_REPAIR_QUEUE, REPAIR_SEND_QUEUE) < 0 ||
	    (!peer && tcp_put_bytes(fd, bytes, st->send_len - st->unsent_len, err) < 0))
		return -1;
	if (set_window(st, peer, fd, err) < 0 || set(fd, TCP_REPAIR_QUEUE, REPAIR_NO_QUEUE) < 0)
		return -1;
	return fd_take(&fd);
}

static int load_ended(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpState *st,
		      struct stasis_error *err)
{
	int family = (int)r->inet->family;
	scoped_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_reset = st->state == TCP_CLOSE ? st->is_reset : !tcp_got_fin(st->state);
	bool sent_fin = st->state == TCP_CLOSE || tcp_sent_fin(st->state);
	scoped_free uint8_t *bytes = NULL;

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make a socket");
	if (tcp_read_bytes(c, r, &bytes, err) < 0 ||
	    tcp_make_ended(fd, family, bytes + st->send_len, st->recv_len, is_reset, sent_fin, err) < 0)
		return -1;
	/* what is too late for them does not matter any more */
	(void)socket_options_load(NULL, r->inet->options, fd, NULL);
	return fd_take(&fd);
}

int tcp_conn_load(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r,
		  struct stasis_error *err)
{
	const Stasis__TcpState *st = state_of(c, r);

	switch (fate_of(c, st)) {
	case KEPT:
		return load_kept(s, c, r, st, err);
	case PAIRED:
		return tcp_pair_load(c, r, peer_socket(c, st), err);
	default:
		return load_ended(c, r, st, err);
	}
}

/* ---- letting it go ---- */

/* Packets reach the sockets again; the table is one for the whole tree. */
static void unblock(struct session *s, struct fd_load *c, const Stasis__TcpState *st)
{
	struct stasis_error why;

	if (!st->block || !*st->block || c->is_unblocked)
		return;
	c->is_unblocked = true;
	if (net_block_remove(st->block, &why) < 0)
		s_warn(s, "packets of TCP connections may still be dropped (nft delete table inet %s): "
			  "%s",
		       st->block, why.text);
}

/* The far end may be gone: its answer to what we send is a reset. Such an error is for the program to
 * get: poll() leaves it where it is, send() would take it away. One send(), for the same reason. */
static int send_rest(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err)
{
	while (len) {
		struct pollfd p = {.fd = fd};
		ssize_t n;

		if (poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP))
			return 0;
		n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == ECONNRESET || errno == EPIPE))
			return 0;
		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO, "send what a TCP connection had not sent");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A window probe is sent when a socket leaves repair mode: its answer makes both ends go on at once. */
static int probe_window(int fd, struct stasis_error *err)
{
	if (begin_repair(fd, err) < 0)
		return -1;
	if (set(fd, TCP_REPAIR, REPAIR_OFF) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "leave TCP_REPAIR");
	return 0;
}

static int finish_paired(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpState *st, int fd,
			 struct stasis_error *err)
{
	uint32_t begin = tcp_nr_received(st, peer_of(c, st));
	scoped_free uint8_t *bytes = NULL;

	if (tcp_read_bytes(c, r, &bytes, err) < 0)
		return -1;
	return tcp_put_bytes(fd, bytes + begin, st->send_len - begin, err);
}

/* All that was not sent, or will be sent again, goes the usual way. */
static int finish_kept(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpState *st, int fd,
		       struct stasis_error *err)
{
	const Stasis__TcpState *peer = peer_of(c, st);
	uint32_t begin = peer ? tcp_nr_received(st, peer) : st->send_len - st->unsent_len;
	scoped_free uint8_t *bytes = NULL;

	if (tcp_read_bytes(c, r, &bytes, err) < 0)
		return -1;
	if (set(fd, TCP_REPAIR, (uint32_t)REPAIR_OFF_NO_WP) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "leave TCP_REPAIR");
	if (send_rest(fd, bytes + begin, st->send_len - begin, err) < 0 ||
	    (!peer && probe_window(fd, err) < 0))
		return -1;
	if (tcp_sent_fin(st->state) && shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return stasis_fail_errno(err, STASIS_E_IO, "shutdown of a TCP connection");
	if (!peer && tcp_got_fin(st->state))
		return tcp_inject_fin(r->inet, st->recv_seq + st->recv_len, st->send_seq, err);
	return 0;
}

int tcp_conn_finish(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r, int fd,
		    struct stasis_error *err)
{
	const Stasis__TcpState *st = state_of(c, r);
	enum fate fate = fate_of(c, st);

	if (fate == KEPT)
		unblock(s, c, st);
	if (fate == KEPT && finish_kept(c, r, st, fd, err) < 0)
		return -1;
	if (fate == PAIRED && finish_paired(c, r, st, fd, err) < 0)
		return -1;
	return socket_options_finish(s, r->inet->options, fd, err);
}
