/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about TCP know of each other. */
#ifndef RESOURCE_TCP_H
#define RESOURCE_TCP_H

#include "resource/sockets.h"

#include <netinet/tcp.h>

/* linux/tcp.h, which cannot be had beside netinet/tcp.h */
enum {
	REPAIR_ON = 1,
	REPAIR_OFF = 0,	       /* and ask the peer for its window */
	REPAIR_OFF_NO_WP = -1, /* without a packet; Linux 4.19 */
	REPAIR_NO_QUEUE = 0,
	REPAIR_RECV_QUEUE = 1,
	REPAIR_SEND_QUEUE = 2,
};

struct repair_window {
	uint32_t snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup;
};

static inline bool tcp_sent_fin(uint32_t state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
	       state == TCP_LAST_ACK;
}

static inline bool tcp_got_fin(uint32_t state)
{
	return state == TCP_CLOSE_WAIT || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* ---- dump ---- */

/* One connection of the tree. */
struct tcp_conn {
	struct fd_desc *desc;
	const Stasis__InetSocket *inet;
	struct tcp_conn *peer; /* the other end, when the tree has it */
	bool is_kept;	       /* goes on after a restart; else it is seen as reset, or at its end */
	struct task *holder;   /* its file has the bytes */
	size_t written;	       /* like fd_desc.written */
	Stasis__Object rec;
	Stasis__TcpState state; /* what rec.tcp points to */
	uint8_t *bytes;		/* send queue, then receive queue */
	int held_fd;		/* while the tree is killed */
	struct tcp_conn *next;
};

/* All connections of a dump; made by the first. */
struct tcp_save {
	struct tcp_conn *conns;
	bool can_repair;
	bool is_captured;
	struct net_block *block; /* no packets for those that are kept without their peer */
};

/* tcp_save.c */
int tcp_conn_add(struct session *s, struct fd_save *c, const struct fd_probe *p,
		 Stasis__TcpSocket *r, bool is_reset, struct stasis_error *err);
int tcp_conn_write(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		   struct image_writer *w, struct stasis_error *err);

/* tcp_capture.c: read what is in the queues of `conns`, those that are kept with their sequence
 * numbers. The sockets are open as held_fd. */
int tcp_capture(struct tcp_conn **conns, size_t nr, struct stasis_error *err);

/* ---- restore ---- */

/* tcp_load.c */
int tcp_conn_verify(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r,
		    struct stasis_error *err);
int tcp_conn_load(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r,
		  struct stasis_error *err);
int tcp_conn_finish(struct session *s, struct fd_load *c, const Stasis__TcpSocket *r, int fd,
		    struct stasis_error *err);

/* Bytes at the front of the send queue of `st` that the other end has; 0 for NULL. */
uint32_t tcp_nr_received(const Stasis__TcpState *st, const Stasis__TcpState *peer);
/* Send queue, then receive queue; malloc()ed. */
int tcp_read_bytes(struct fd_load *c, const Stasis__TcpSocket *r, uint8_t **ret, struct stasis_error *err);
/* Send all of them at once, or fail. */
int tcp_put_bytes(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err);

/* tcp_pair.c: both ends by a real connection. Needs no privilege. What was not received yet is sent later. */
bool tcp_pair_fits(const Stasis__TcpState *st, const Stasis__TcpState *peer);
int tcp_pair_load(struct fd_load *c, const Stasis__TcpSocket *r, const Stasis__TcpSocket *peer,
		  struct stasis_error *err);
void tcp_pairs_done(struct fd_load *c);

/* tcp_ended.c: a socket whose connection is over: it has these bytes to read, then its end, or when
 * is_reset the error ECONNRESET. Needs no privilege. */
int tcp_make_ended(int fd, int family, const uint8_t *bytes, size_t len, bool is_reset, bool sent_fin,
		   struct stasis_error *err);

/* tcp_fin.c: let the kernel receive the peer's FIN, as if it came from the network. */
int tcp_inject_fin(const Stasis__InetSocket *r, uint32_t seq, uint32_t ack,
		   struct stasis_error *err);

/* ---- net_block.c: a table of nftables that drops all packets of some connections ---- */

#define NET_BLOCK_NAME_BYTES 24

struct net_block;

/* From now on, until it is freed or this process ends however it may, no packet of these connections
 * goes through. UNSUPPORTED when there is no nftables. */
int net_block_create(const Stasis__InetSocket *const *conns, size_t nr, struct net_block **ret,
		     struct stasis_error *err);
const char *net_block_name(const struct net_block *b);
/* Make it stay, until net_block_remove() or `nft delete table inet NAME`. */
int net_block_keep(struct net_block *b, struct stasis_error *err);
void net_block_free(struct net_block *b); /* NULL is fine */
bool net_block_name_is_sane(const char *name);
int net_block_remove(const char *name, struct stasis_error *err); /* none there: fine */

#endif
