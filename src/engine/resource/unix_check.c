/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unix sockets before a restart: do the records fit together, and are the names free? Records come from
 * a file that anybody may have written.
 */
#include "resource/unix.h"

#include <string.h>

enum { BACKLOG_MAX = 1 << 20, PAIR_OF_BITS = UNIX_MAY_READ | UNIX_MAY_WRITE };

static bool is_same_type(const Stasis__UnixSocket *a, const Stasis__UnixSocket *b)
{
	return a->type == b->type;
}

struct unix_end *unix_load_find(struct fd_load *c, uint64_t id)
{
	size_t low = 0, high = c->unix_load ? c->unix_load->nr : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct unix_end *e = &c->unix_load->ends[middle];

		if (e->d->id == id)
			return e;
		if (e->d->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* All of the files, whether kept or not: in the order of the descriptions, which is by id. */
static int list_ends(struct fd_load *c, struct stasis_error *err)
{
	struct unix_load *u = calloc(1, sizeof(*u));
	size_t nr = 0;

	if (!u)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for sockets");
	c->unix_load = u;
	for (size_t i = 0; i < c->nr_descs; i++)
		nr += c->descs[i].kind == &kind_unix;
	u->ends = calloc(nr + 1, sizeof(*u->ends));
	if (!u->ends)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for sockets");
	for (size_t i = 0; i < c->nr_descs; i++)
		if (c->descs[i].kind == &kind_unix)
			u->ends[u->nr++] = (struct unix_end){.d = c->descs[i].d,
							     .r = c->descs[i].d->unix_socket,
							     .desc = &c->descs[i],
							     .fd = -1,
							     .stand_in = -1};
	return 0;
}

/* ---- one record ---- */

static int check_message(struct fd_load *c, const Stasis__Description *d,
			 const Stasis__UnixMessage *m, struct stasis_error *err)
{
	if (m->n_rights > UNIX_RIGHTS_MAX || m->from.len > UNIX_NAME_MAX ||
	    (d->unix_socket->type == SOCK_STREAM && !m->len) || (m->is_oob && m->len != 1))
		return stasis_fail(err, STASIS_E_CORRUPT, "socket's queue holds an impossible message");
	for (size_t i = 0; i < m->n_rights; i++) {
		size_t k = 0;

		while (k < d->n_refers && d->refers[k] != m->rights[i])
			k++;
		if (k == d->n_refers || !load_find_desc(c, m->rights[i]))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "descriptor in flight has no description");
	}
	return 0;
}

static int check_queue(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__UnixSocket *r = d->unix_socket;
	const Stasis__Object *o = r->queue ? fd_load_object(c, r->queue) : NULL;
	uint64_t sum = 0;

	for (size_t i = 0; i < r->n_messages; i++) {
		if (check_message(c, d, r->messages[i], err) < 0)
			return -1;
		if (r->messages[i]->len > UINT32_MAX || sum > UINT32_MAX)
			return stasis_fail(err, STASIS_E_CORRUPT, "socket's queue is too long");
		sum += r->messages[i]->len;
	}
	if (!r->queue && !sum)
		return 0;
	if (load_check_object(c, r->queue, STASIS__OBJECT_TYPE__OBJECT_UNIX_QUEUE, err) < 0)
		return -1;
	if (o->content_len != sum)
		return stasis_fail(err, STASIS_E_CORRUPT, "messages of a socket hold %llu bytes, not %llu",
				   (unsigned long long)sum, (unsigned long long)o->content_len);
	return 0;
}

static int check_record(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__UnixSocket *r = d->unix_socket;
	bool is_known = r->type == SOCK_STREAM || r->type == SOCK_DGRAM || r->type == SOCK_SEQPACKET;

	if (!is_known || r->shutdown > PAIR_OF_BITS || r->backlog > BACKLOG_MAX ||
	    r->name.len > UNIX_NAME_MAX || r->peer_name.len > UNIX_NAME_MAX ||
	    r->n_pending > BACKLOG_MAX || (r->n_pending && !r->is_listening))
		return stasis_fail(err, STASIS_E_CORRUPT, "record of a Unix socket is impossible");
	if (r->is_listening && (r->type == SOCK_DGRAM || !r->name.len || r->n_messages ||
				r->peer_state != STASIS__UNIX_PEER__UNIX_PEER_NONE))
		return stasis_fail(err, STASIS_E_CORRUPT, "record of a listening socket is impossible");
	if (r->file && file_id_check(r->file, err) < 0)
		return -1;
	if (socket_options_check(r->options, err) < 0)
		return -1;
	return check_queue(c, d, err);
}

/* ---- what belongs together ---- */

static int fail_not_there(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "other end of a Unix socket belongs to processes that are not restarted; "
			   "restart the hierarchy from its root");
}

static int check_pending(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	for (size_t i = 0; i < d->unix_socket->n_pending; i++) {
		uint64_t id = d->unix_socket->pending[i];
		const struct unix_end *client = id ? unix_load_find(c, id) : NULL;

		if (!id)
			continue;
		if (!client || !client->desc->is_referred)
			return fail_not_there(err);
		if (client->r->peer_state != STASIS__UNIX_PEER__UNIX_PEER_PENDING ||
		    client->r->peer != d->id || !is_same_type(client->r, d->unix_socket))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "waiting connection of a Unix socket is impossible");
	}
	return 0;
}

/* Only a name in the file system can be asked without being noticed. A datagram socket bears that nobody
 * is there. */
static int check_server(struct fd_load *c, const Stasis__UnixSocket *r, struct stasis_error *err)
{
	char name[UNIX_NAME_MAX + 8];

	if (!r->peer_name.len)
		return stasis_fail(err, STASIS_E_CORRUPT, "server of a Unix socket has no name");
	(void)unix_name_text(&r->peer_name, name, sizeof(name));
	if (name[0] != '/' || unix_is_alive(name))
		return 0;
	if (c->s->is_forced || r->type == SOCK_DGRAM) {
		s_warn(c->s, "nobody listens at '%s', with which a Unix socket was connected", name);
		return 0;
	}
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "nobody listens at '%s', with which a Unix socket was connected; start it, or "
			   "-F",
			   name);
}

static int check_peer(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__UnixSocket *r = d->unix_socket;
	struct unix_end *e = unix_load_find(c, d->id), *peer = unix_load_find(c, r->peer);
	bool is_pending = r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_PENDING;

	if (r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_BY_NAME)
		return check_server(c, r, err);
	if (r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_NONE && r->is_listening)
		return check_pending(c, d, err);
	if (!is_pending && r->peer_state != STASIS__UNIX_PEER__UNIX_PEER_TREE)
		return 0;
	if (!peer || !peer->desc->is_referred)
		return fail_not_there(err);
	if (!is_same_type(r, peer->r) || peer->r->is_listening != is_pending ||
	    (is_pending && r->type == SOCK_DGRAM) || (r->type != SOCK_DGRAM && peer == e) ||
	    (!is_pending && r->type != SOCK_DGRAM && peer->r->peer != d->id))
		return stasis_fail(err, STASIS_E_CORRUPT, "ends of a Unix socket do not fit together");
	if (r->type == SOCK_DGRAM && !peer->r->name.len && peer->r->peer != d->id)
		return stasis_fail(err, STASIS_E_CORRUPT, "peer of a datagram socket has no name");
	e->peer = peer;
	return 0;
}

int unix_check(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	if (!c->unix_load && list_ends(c, err) < 0)
		return -1;
	if (check_record(c, d, err) < 0 || check_peer(c, d, err) < 0)
		return -1;
	return unix_name_check(c->unix_load, d->unix_socket, err);
}
