/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TCP sockets: closed, bound, listening; connections are in tcp_save.c and tcp_load.c. A connection that
 * is over is one as well: it has an end, or an error, to tell of.
 */
#include "resource/tcp.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static bool tcp_match(const struct fd_probe *p)
{
	return (socket_is(p, AF_INET, SOCK_STREAM) || socket_is(p, AF_INET6, SOCK_STREAM)) &&
	       socket_int(p->local_fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
}

static int check_ulp(int fd, struct stasis_error *err)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len) < 0 || !len || !*name)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "TCP socket with '%.16s' in the kernel (TCP_ULP) is not supported; close it "
			   "before the checkpoint",
			   name);
}

/* tcp(7): in TCP_LISTEN, tcpi_unacked counts connections that wait for accept(), tcpi_sacked is the
 * backlog. */
static int save_listener(struct session *s, const struct fd_probe *p, const struct tcp_info *info,
			 Stasis__TcpSocket *r, struct stasis_error *err)
{
	char text[INET_TEXT_BYTES];

	r->backlog = info->tcpi_sacked;
	if (info->tcpi_unacked && s->is_patient)
		return stasis_fail(err, STASIS_E_BUSY, "TCP connections wait to be accepted");
	if (info->tcpi_unacked)
		s_warn(s, "%s(%d) fd %d: %u connections wait to be accepted at %s: not saved, they are "
			  "reset at the restart",
		       p->task->comm, p->task->pid, p->fd, info->tcpi_unacked,
		       inet_text(&r->inet->local, text));
	return 0;
}

/* A socket that was connected once can be read to its end, or has an error to tell. */
static bool was_connected(int fd, bool *ret_is_reset)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	(void)poll(&p, 1, 0);
	*ret_is_reset = p.revents & POLLERR;
	return p.revents & (POLLERR | POLLRDHUP);
}

static int tcp_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		    Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__TcpSocket *r = fd_save_alloc(c, sizeof(*r));
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	bool is_reset = false;

	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	stasis__tcp_socket__init(r);
	if (check_ulp(p->local_fd, err) < 0 || inet_save(s, c, p, &r->inet, err) < 0)
		return -1;
	if (getsockopt(p->local_fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of a TCP socket");
	r->state = info.tcpi_state;
	if (r->state == TCP_LISTEN && save_listener(s, p, &info, r, err) < 0)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_TCP;
	ret->tcp = r;
	if (r->state == TCP_LISTEN || (r->state == TCP_CLOSE && !was_connected(p->local_fd, &is_reset)))
		return 0;
	return tcp_conn_add(s, c, p, r, is_reset, err);
}

static int tcp_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const Stasis__TcpSocket *r = d->tcp;

	if (inet_check(r->inet, err) < 0)
		return -1;
	if (r->inet->type != SOCK_STREAM || r->inet->protocol != IPPROTO_TCP ||
	    (!r->object && r->state != TCP_CLOSE && r->state != TCP_LISTEN))
		return stasis_fail(err, STASIS_E_CORRUPT, "TCP socket of type %u in state %u",
				   r->inet->type, r->state);
	return r->object ? tcp_conn_verify(s, c, r, err) : inet_probe(r->inet, err);
}

static int tcp_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	const Stasis__TcpSocket *r = d->tcp;
	scoped_fd int fd = -1;

	if (r->object)
		return tcp_conn_load(s, c, r, err);
	fd = inet_open(s, r->inet, err);
	if (fd < 0 || inet_bind(r->inet, fd, err) < 0)
		return -1;
	if (r->state == TCP_LISTEN && listen(fd, (int)r->backlog) < 0)
		return stasis_fail_errno(err, STASIS_E_BUSY, "listen");
	if (socket_options_finish(s, r->inet->options, fd, err) < 0)
		return -1;
	return fd_take(&fd);
}

static int tcp_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	return d->tcp->object ? tcp_conn_finish(s, c, d->tcp, c->current->fd, err) : 0;
}

const struct resource_kind kind_tcp = {
	.name = "tcp",
	.tag = STASIS__DESCRIPTION__KIND_TCP,
	.match = tcp_match,
	.save = tcp_save,
	.write = tcp_conn_write,
	.verify = tcp_verify,
	.load = tcp_load,
	.finish = tcp_finish,
};
