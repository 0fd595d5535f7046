/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TCP connections while they are saved: which of them go on after a restart, and their records. One
 * goes on when both ends are in the tree, or when the tree ends with the checkpoint and the peer is
 * kept waiting; it takes the right to use TCP_REPAIR. The others are seen as ended at the restart.
 */
#include "resource/tcp.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static bool may_repair(void)
{
	scoped_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = REPAIR_ON;

	return fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0;
}

static struct tcp_save *tcp_save_get(struct fd_save *c)
{
	if (c->tcp)
		return c->tcp;
	c->tcp = fd_save_alloc(c, sizeof(*c->tcp));
	if (c->tcp)
		c->tcp->can_repair = may_repair();
	return c->tcp;
}

static void fill_state(const struct tcp_info *info, Stasis__TcpState *r)
{
	r->state = info->tcpi_state;
	r->has_sack = info->tcpi_options & TCPI_OPT_SACK;
	r->has_timestamps = info->tcpi_options & TCPI_OPT_TIMESTAMPS;
	r->has_wscale = info->tcpi_options & TCPI_OPT_WSCALE;
	r->snd_wscale = info->tcpi_snd_wscale;
	r->rcv_wscale = info->tcpi_rcv_wscale;
}

int tcp_conn_add(struct session *s, struct fd_save *c, const struct fd_probe *p,
		 Stasis__TcpSocket *r, bool is_reset, struct stasis_error *err)
{
	struct tcp_save *all = tcp_save_get(c);
	struct tcp_conn *conn = fd_save_alloc(c, sizeof(*conn));
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	char text[INET_TEXT_BYTES];

	if (!all || !conn)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP connections");
	if (getsockopt(p->local_fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of a TCP connection");
	conn->desc = p->desc;
	conn->inet = r->inet;
	conn->held_fd = -1;
	stasis__object__init(&conn->rec);
	stasis__tcp_state__init(&conn->state);
	fill_state(&info, &conn->state);
	conn->state.is_reset = is_reset;
	conn->rec.id = r->object = c->objects.fresh(c->objects.arg);
	conn->rec.type = STASIS__OBJECT_TYPE__OBJECT_TCP;
	conn->rec.tcp = &conn->state;
	conn->next = all->conns;
	all->conns = conn;
	p->desc->tcp = conn;
	if (r->state != TCP_CLOSE && !all->can_repair)
		s_warn(s, "%s(%d) fd %d: TCP connection to %s will be reset at the restart: keeping it "
			  "takes CAP_NET_ADMIN",
		       p->task->comm, p->task->pid, p->fd, inet_text(&r->inet->peer, text));
	return 0;
}

/* ---- which of them go on ---- */

static bool is_open(const struct tcp_conn *conn)
{
	return conn->state.state != TCP_CLOSE && conn->state.state != TCP_SYN_SENT &&
	       conn->desc->is_used;
}

static bool is_mirror(const struct tcp_conn *a, const struct tcp_conn *b)
{
	struct sockaddr_in6 a_local, a_peer, b_local, b_peer;

	if (inet_port(&a->inet->local) != inet_port(&b->inet->peer) ||
	    inet_port(&a->inet->peer) != inet_port(&b->inet->local))
		return false;
	inet_normalize(&a->inet->local, &a_local);
	inet_normalize(&a->inet->peer, &a_peer);
	inet_normalize(&b->inet->local, &b_local);
	inet_normalize(&b->inet->peer, &b_peer);
	return !memcmp(&a_local, &b_peer, sizeof(a_local)) && !memcmp(&a_peer, &b_local, sizeof(a_peer));
}

static void find_peer(struct tcp_save *all, struct tcp_conn *conn)
{
	for (struct tcp_conn *other = all->conns; other && !conn->peer; other = other->next) {
		if (!is_open(other) || !is_open(conn) || !is_mirror(conn, other))
			continue;
		conn->peer = other;
		other->peer = conn;
		conn->state.peer = other->desc->rec.id;
		other->state.peer = conn->desc->rec.id;
	}
}

static void decide(struct session *s, struct fd_save *c, struct tcp_conn *conn)
{
	const struct fd_entry *e = conn->desc->first;
	char text[INET_TEXT_BYTES];

	conn->is_kept = is_open(conn) && c->tcp->can_repair && (conn->peer || c->is_ending);
	conn->state.is_kept = conn->is_kept;
	if (is_open(conn) && c->tcp->can_repair && !conn->is_kept)
		s_info(s, "%s(%d) fd %d: TCP connection to %s, outside of the hierarchy, goes on here and "
			  "would be over after a restart",
		       e->task->comm, e->task->pid, e->fd, inet_text(&conn->inet->peer, text));
}

/* ---- reading ---- */

/* Their number is limited only by memory; ours is not raised for nothing. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* what is missing shows when they are opened */
}

static int hold_all(struct tcp_save *all, struct tcp_conn **list, struct stasis_error *err)
{
	size_t nr = 0;

	for (struct tcp_conn *conn = all->conns; conn; conn = conn->next) {
		if (!conn->desc->is_used)
			continue;
		conn->held_fd = entry_get_fd(conn->desc->first, err);
		if (conn->held_fd < 0)
			return -1;
		list[nr++] = conn;
	}
	return 0;
}

static void let_go(struct tcp_save *all)
{
	for (struct tcp_conn *conn = all->conns; conn; conn = conn->next) {
		scoped_close_fd(&conn->held_fd);
		conn->held_fd = -1;
	}
}

/* Packets of those that are to go on without their peer. */
static int block(struct fd_save *c, struct tcp_conn *const *list, size_t nr, struct stasis_error *err)
{
	const Stasis__InetSocket **blocked = fd_save_alloc(c, (nr + 1) * sizeof(*blocked));
	char *name;
	size_t n = 0;

	if (!blocked)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP connections");
	for (size_t i = 0; i < nr; i++)
		if (list[i]->is_kept && !list[i]->peer)
			blocked[n++] = list[i]->inet;
	if (!n)
		return 0;
	if (net_block_create(blocked, n, &c->tcp->block, err) < 0)
		return -1;
	name = fd_save_strdup(c, net_block_name(c->tcp->block));
	if (!name)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP connections");
	for (size_t i = 0; i < nr; i++)
		if (list[i]->is_kept && !list[i]->peer)
			list[i]->state.block = name;
	return 0;
}

static int capture_all(struct session *s, struct fd_save *c, struct stasis_error *err)
{
	struct tcp_save *all = c->tcp;
	struct tcp_conn **list, *conn;
	size_t nr = 0;

	all->is_captured = true;
	raise_limit();
	for (conn = all->conns; conn; conn = conn->next)
		find_peer(all, conn);
	for (conn = all->conns; conn; conn = conn->next) {
		decide(s, c, conn);
		nr += conn->desc->is_used;
	}
	list = fd_save_alloc(c, (nr + 1) * sizeof(struct tcp_conn *));
	if (!list)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP connections");
	if (hold_all(all, list, err) < 0 || block(c, list, nr, err) < 0 ||
	    tcp_capture(list, nr, err) < 0)
		return -1;
	if (!c->is_ending)
		let_go(all);
	return 0;
}

int tcp_conn_write(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		   struct image_writer *w, struct stasis_error *err)
{
	struct tcp_conn *conn = d->tcp;
	Stasis__Object *o;

	if (!conn)
		return 0;
	if (!c->tcp->is_captured && capture_all(s, c, err) < 0)
		return -1;
	o = &conn->rec;
	if (!conn->holder) {
		conn->holder = t;
		o->holder = (uint32_t)t->vpid;
		o->content_len = (uint64_t)conn->state.send_len + conn->state.recv_len;
		o->size = o->content_len;
	}
	if (image_put_record(w, IMAGE_TAG_OBJECT, &o->base, err) < 0)
		return -1;
	if (conn->holder != t || !o->content_len)
		return 0;
	return image_put_bulk(w, o->id, 0, conn->bytes, o->content_len, err);
}

/* ---- the end of the tree ---- */

void fd_save_set_ending(struct fd_save *c)
{
	c->is_ending = true;
}

/*
 * The processes have got their SIGKILL; what keeps the sockets from being closed is that we have them
 * too. In repair mode the kernel says nothing to the peer when they are.
 */
void fd_save_end(struct fd_save *c)
{
	const int on = REPAIR_ON;
	struct stasis_error why;

	if (!c->tcp || !c->is_ending)
		return;
	if (c->tcp->block && net_block_keep(c->tcp->block, &why) < 0)
		s_warn(c->s, "connections to the outside are lost: %s", why.text);
	for (struct tcp_conn *conn = c->tcp->conns; conn; conn = conn->next)
		if (conn->is_kept && conn->held_fd >= 0 &&
		    setsockopt(conn->held_fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
			s_warn(c->s, "TCP_REPAIR: %s: a connection is lost", strerror(errno));
	let_go(c->tcp);
	if (c->tcp->block)
		s_info(c->s, "packets of TCP connections are dropped until the restart: nftables table "
			     "'inet %s'",
		       net_block_name(c->tcp->block));
}

void tcp_save_free(struct fd_save *c)
{
	if (!c->tcp)
		return;
	let_go(c->tcp);
	net_block_free(c->tcp->block);
	for (struct tcp_conn *conn = c->tcp->conns; conn; conn = conn->next)
		free(conn->bytes);
}
