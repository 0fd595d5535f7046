/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unix domain sockets. A description is one socket: its name, what it is connected with, what is queued
 * for it. At the dump each is looked at alone, then who is whose peer is settled; at the restart all of
 * the tree are made at once, since connecting them takes several at a time.
 */
#include "resource/unix.h"

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

static bool unix_match(const struct fd_probe *p)
{
	int family = 0;
	socklen_t len = sizeof(family);

	return S_ISSOCK(p->st.st_mode) && !p->is_path && p->local_fd >= 0 &&
	       getsockopt(p->local_fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 &&
	       family == AF_UNIX;
}

/* A listening socket shows who called listen(), every other one who made the other end. */
static void save_creds(struct fd_save *c, const struct fd_probe *p, Stasis__UnixSocket *r)
{
	struct ucred creds, inside;
	socklen_t len = sizeof(creds);

	if (getsockopt(p->local_fd, SOL_SOCKET, SO_PEERCRED, &creds, &len) < 0 || creds.pid <= 0)
		return;
	r->cred_pid = (uint32_t)tree_vpid_of(p->task->tree, creds.pid);
	if (!r->cred_pid && unix_guard_look(c, p->task, p->local_fd, &inside) == 0)
		r->cred_pid = inside.pid > 0 ? (uint32_t)inside.pid : 0;
	r->cred_uid = creds.uid;
	r->cred_gid = creds.gid;
}

static int save_peer_name(struct fd_save *c, const struct fd_probe *p, Stasis__UnixSocket *r,
			  struct stasis_error *err)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	if (getpeername(p->local_fd, (struct sockaddr *)&a, &len) < 0 || len <= sizeof(sa_family_t))
		return 0;
	r->peer_name.len = len - sizeof(sa_family_t);
	if (r->peer_name.len > UNIX_NAME_MAX)
		r->peer_name.len = UNIX_NAME_MAX;
	r->peer_name.data = arena_memdup(&c->arena, a.sun_path, r->peer_name.len);
	if (!r->peer_name.data)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's name");
	return 0;
}

static int save_all(struct fd_save *c, const struct fd_probe *p, struct unix_saved *u,
		    Stasis__UnixSocket *r, struct stasis_error *err)
{
	socklen_t len = sizeof(r->type);
	int unsent = 0;

	if (getsockopt(p->local_fd, SOL_SOCKET, SO_TYPE, &r->type, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "look at a socket");
	(void)ioctl(p->local_fd, SIOCOUTQ, &unsent);
	u->unsent = (uint32_t)unsent;
	r->is_listening = u->info->is_listening;
	r->backlog = r->is_listening ? u->info->backlog : 0;
	r->shutdown = u->info->shutdown;
	save_creds(c, p, r);
	if (unix_name_save(c, p, u->info, r, err) < 0 || save_peer_name(c, p, r, err) < 0 ||
	    socket_options_save(c, p->local_fd, &r->options, err) < 0)
		return -1;
	if (r->is_listening)
		return 0;
	if (unix_queue_save(c, p, u, r, err) < 0)
		return -1;
	if (!u->len)
		return 0;
	stasis__object__init(&u->queue);
	r->queue = u->queue.id = c->objects.fresh(c->objects.arg);
	u->queue.type = STASIS__OBJECT_TYPE__OBJECT_UNIX_QUEUE;
	u->queue.content_len = u->len;
	return 0;
}

static int unix_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		     Stasis__Description *ret, struct stasis_error *err)
{
	struct stasis_error why = {.cls = STASIS_E_UNSUPPORTED,
				   .text = "Unix socket was made in another network namespace and "
					   "handed over, which is not supported; close it"};
	struct unix_info *info = unix_info_get(c, p->task, p->st.st_ino, &why);
	struct unix_saved *u = fd_save_alloc(c, sizeof(*u));
	Stasis__UnixSocket *r = fd_save_alloc(c, sizeof(*r));

	(void)s;
	if (!u || !r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	if (!info)
		return stasis_fail(err, why.cls, "%s", why.text);
	stasis__unix_socket__init(r);
	p->desc->unix_socket = u;
	u->info = info;
	info->desc = p->desc;
	if (save_all(c, p, u, r, err) < 0)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_UNIX_SOCKET;
	ret->unix_socket = r;
	return 0;
}

/* ---- who is connected with whom ---- */

static Stasis__UnixSocket *record_of(const struct fd_desc *d)
{
	return d && d->rec.kind_case == STASIS__DESCRIPTION__KIND_UNIX_SOCKET ? d->rec.unix_socket
									       : NULL;
}

/* The listening socket of the tree at which it waits. */
static struct fd_desc *find_listener(struct fd_save *c, uint32_t ino)
{
	for (size_t i = 0; i < c->nr_descs; i++) {
		const struct unix_saved *u = c->descs[i]->unix_socket;

		for (size_t k = 0; u && k < u->info->nr_pending; k++)
			if (u->info->pending[k] == ino)
				return c->descs[i];
	}
	return NULL;
}

/* Where the system's log listens: whoever writes there finds it at the restart as well, and syslog(3)
 * bears that it is away for a time. */
static bool is_log(const Stasis__UnixSocket *r)
{
	static const char *const names[] = {"/dev/log", "/run/systemd/journal/dev-log",
					    "/run/systemd/journal/socket",
					    "/run/systemd/journal/syslog"};
	char text[UNIX_NAME_MAX + 8];

	(void)unix_name_text(&r->peer_name, text, sizeof(text));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (r->type == SOCK_DGRAM && !strcmp(text, names[i]))
			return true;
	return false;
}

/* A client knows its server by name. Who has a name and was not asked for it was accepted. */
static bool is_client(const Stasis__UnixSocket *r)
{
	return r->peer_name.len && (r->type == SOCK_DGRAM || !r->name.len);
}

static int settle_outside(struct session *s, const struct fd_desc *d, Stasis__UnixSocket *r,
			  struct stasis_error *err)
{
	char name[UNIX_NAME_MAX + 8], who[64];
	bool is_allowed = s->external & STASIS_EXTERNAL_UNIX;

	if (is_log(r) || (is_allowed && is_client(r))) {
		r->peer_state = STASIS__UNIX_PEER__UNIX_PEER_BY_NAME;
		r->cred_pid = (uint32_t)d->first->task->vpid;
		r->cred_uid = d->st.st_uid;
		r->cred_gid = d->st.st_gid;
		return 0;
	}
	r->peer_state = STASIS__UNIX_PEER__UNIX_PEER_OUTSIDE;
	if (is_allowed && r->name.len)
		return 0;
	unix_info_holder(d->unix_socket->info->peer, who, sizeof(who));
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "Unix socket connected with %.50s of %s, outside of selected processes; "
			   "checkpoint both (-r and their common parent)%s, or -F",
			   unix_name_text(r->name.len && !r->peer_name.len ? &r->name : &r->peer_name,
					  name, sizeof(name)),
			   who, r->name.len || r->peer_name.len ? ", --external=unix" : "");
}

/* Who connected and was not yet accepted may have sent something, but to a socket that no process has:
 * there is no way to look into its queue. */
static int settle_pending(struct fd_save *c, struct fd_desc *d, Stasis__UnixSocket *r,
			  const struct fd_desc *listener, struct stasis_error *err)
{
	char name[UNIX_NAME_MAX + 8];

	r->peer_state = STASIS__UNIX_PEER__UNIX_PEER_PENDING;
	r->peer = listener->rec.id;
	r->cred_pid = (uint32_t)d->first->task->vpid;
	r->cred_uid = d->st.st_uid;
	r->cred_gid = d->st.st_gid;
	if (!d->unix_socket->unsent)
		return 0;
	return stasis_fail(err, session_passing(c->s),
			   "Unix socket has sent data to %.60s and was not yet accepted there; try "
			   "again a little later",
			   unix_name_text(&r->peer_name, name, sizeof(name)));
}

static int settle_listener(struct fd_save *c, struct fd_desc *d, Stasis__UnixSocket *r,
			   struct stasis_error *err)
{
	struct unix_info *info = d->unix_socket->info;
	char name[UNIX_NAME_MAX + 8];

	r->pending = fd_save_alloc(c, (info->nr_pending + 1) * sizeof(*r->pending));
	if (!r->pending)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket");
	for (size_t i = 0; i < info->nr_pending; i++) {
		const struct unix_info *client = unix_info_find(c, info->pending[i]);

		if (client && client->desc)
			r->pending[r->n_pending++] = client->desc->rec.id;
		else if (!info->pending[i])
			r->pending[r->n_pending++] = 0;
		else
			s_warn(c->s, "a client from outside waits to be accepted by Unix socket %s; it "
				     "is not part of the checkpoint",
			       unix_name_text(&r->name, name, sizeof(name)));
	}
	if (!unix_info_has_orphan_data(c, info))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "Unix socket %.60s has connections waiting with data of clients that are "
			   "gone; try again a little later",
			   unix_name_text(&r->name, name, sizeof(name)));
}

/* An unnamed datagram socket can be reached by its pair only. */
static int settle_datagram(const struct fd_desc *d, const struct fd_desc *peer,
			   struct stasis_error *err)
{
	const struct unix_info *back = peer->unix_socket->info;

	if (peer->rec.unix_socket->name.len || (back->has_peer && back->peer == d->unix_socket->info->ino))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "one end of a pair of datagram sockets has been connected to another one, "
			   "which is not supported; give it a name (bind)");
}

static int settle_peer(struct fd_save *c, struct fd_desc *d, Stasis__UnixSocket *r,
		       struct stasis_error *err)
{
	const struct unix_info *info = d->unix_socket->info;
	const struct unix_info *peer = unix_info_find(c, info->peer);
	bool is_datagram = r->type == SOCK_DGRAM;
	const struct fd_desc *listener;

	if (peer && peer->desc && record_of(peer->desc)) {
		r->peer_state = STASIS__UNIX_PEER__UNIX_PEER_TREE;
		r->peer = peer->desc->rec.id;
		return is_datagram ? settle_datagram(d, peer->desc, err) : 0;
	}
	listener = is_datagram || info->peer ? NULL : find_listener(c, info->ino);
	if (listener)
		return settle_pending(c, d, r, listener, err);
	/* a peer without inode was closed, which shuts a connection down, or waits to be accepted */
	if (info->peer || (!is_datagram && info->shutdown != (UNIX_MAY_READ | UNIX_MAY_WRITE)))
		return settle_outside(c->s, d, r, err);
	r->peer_state = STASIS__UNIX_PEER__UNIX_PEER_GONE;
	return 0;
}

static int unix_settle(struct session *s, struct fd_save *c, struct fd_desc *d,
		       struct stasis_error *err)
{
	Stasis__UnixSocket *r = d->rec.unix_socket;

	(void)s;
	if (r->is_listening)
		return settle_listener(c, d, r, err);
	if (!d->unix_socket->info->has_peer)
		return 0;
	return settle_peer(c, d, r, err);
}

static int unix_write(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		      struct image_writer *w, struct stasis_error *err)
{
	struct unix_saved *u = d->unix_socket;
	bool is_first = !u->queue.holder;

	(void)s;
	(void)c;
	if (!d->rec.unix_socket->queue)
		return 0;
	if (is_first)
		u->queue.holder = (uint32_t)t->vpid;
	if (image_put_record(w, IMAGE_TAG_OBJECT, &u->queue.base, err) < 0)
		return -1;
	return is_first ? image_put_bulk(w, u->queue.id, 0, u->bytes, u->len, err) : 0;
}

/* ---- restart ---- */

static int unix_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	(void)s;
	return unix_check(c, d, err);
}

static int unix_load_one(struct session *s, struct fd_load *c, const Stasis__Description *d,
			 struct stasis_error *err)
{
	struct unix_end *e = unix_load_find(c, d->id);

	(void)s;
	if (!e)
		return stasis_fail(err, STASIS_E_INTERNAL, "Unix socket was not verified");
	if (unix_make_all(c, err) < 0)
		return -1;
	e->is_handed_over = true;
	return fd_take(&e->fd);
}

static int unix_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
		       struct stasis_error *err)
{
	(void)s;
	(void)d;
	return unix_fill_all(c, err);
}

const struct resource_kind kind_unix = {
	.name = "unix socket",
	.tag = STASIS__DESCRIPTION__KIND_UNIX_SOCKET,
	.match = unix_match,
	.save = unix_save,
	.settle = unix_settle,
	.write = unix_write,
	.verify = unix_verify,
	.load = unix_load_one,
	.finish = unix_finish,
};
