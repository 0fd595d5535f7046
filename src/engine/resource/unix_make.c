/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes all Unix sockets of a tree in the master, connected as they were: first those that stand alone
 * or listen, then pairs and connections, last the clients that wait to be accepted, in their order.
 * A peer that was closed gets a stand-in, which fills the queue and is closed then.
 */
#include "resource/unix.h"

#include <string.h>

int unix_end_fd(const struct unix_end *e)
{
	return e->is_handed_over ? e->desc->fd : e->fd;
}

static bool is_same_name(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static struct unix_actor creds_of(const Stasis__UnixSocket *r)
{
	return (struct unix_actor){.pid = r->cred_pid, .uid = r->cred_uid, .gid = r->cred_gid};
}

static int new_socket(uint32_t type, struct stasis_error *err)
{
	int fd = socket(AF_UNIX, (int)type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "socket") : fd;
}

/* ---- alone ---- */

/* More clients wait than a second listen() with a smaller number lets in; one more always may. */
static bool is_overfull(const Stasis__UnixSocket *r)
{
	return r->n_pending > (size_t)r->backlog + 1;
}

static int make_alone(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	size_t backlog = is_overfull(e->r) ? e->r->n_pending : e->r->backlog;
	struct unix_actor actor = creds_of(e->r);

	e->is_made = true;
	e->fd = new_socket(e->r->type, err);
	if (e->fd < 0 || unix_bind(c, e, err) < 0)
		return -1;
	if (e->r->is_listening && unix_actor_listen(&actor, e->fd, (int)backlog) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "listen");
	return 0;
}

/* ---- connections ---- */

/* Both ends of one: `to` was accepted, `from` connected. Either may be a stand-in, without a record. */
struct connection {
	uint32_t type;
	const Stasis__UnixSocket *to, *from;
	const ProtobufCBinaryData *to_name, *from_name;
	int to_fd, from_fd;
};

/* A listening socket of the tree with that name. */
static struct unix_end *find_listener(struct fd_load *c, const struct connection *k)
{
	for (size_t i = 0; i < c->unix_load->nr; i++) {
		struct unix_end *e = &c->unix_load->ends[i];

		if (e->r->is_listening && e->is_made && e->r->type == k->type &&
		    is_same_name(&e->r->name, k->to_name))
			return e;
	}
	return NULL;
}

static int join(struct connection *k, int listener, const char *folder, struct stasis_error *err)
{
	struct unix_actor actor = {.pid = 0};

	if (k->to)
		actor = creds_of(k->to);
	unix_actor_place(&actor, k->to_name, folder);
	k->from_fd = new_socket(k->type, err);
	if (k->from_fd < 0)
		return -1;
	if (unix_actor_connect(&actor, k->from_fd, k->to_name) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "connect to a socket of the tree");
	k->to_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (k->to_fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "accept");
	return 0;
}

/* Nobody of the tree listens there any more. 0: no way to have that name. */
static int join_aside(struct connection *k, struct stasis_error *err)
{
	scoped_fd int listener = new_socket(k->type, err);
	struct unix_actor actor = {.pid = 0};
	char *folder;
	int result;

	if (listener < 0)
		return -1;
	if (unix_bind_aside(listener, k->to_name, &folder) < 0)
		return 0;
	if (k->from)
		actor = creds_of(k->from);
	result = unix_actor_listen(&actor, listener, 1);
	if (result < 0)
		(void)stasis_fail_errno(err, STASIS_E_IO, "listen");
	else
		result = join(k, listener, folder, err);
	unix_folder_remove(&folder, k->to_name);
	return result < 0 ? -1 : 1;
}

static int join_unnamed(struct connection *k, struct stasis_error *err)
{
	struct unix_actor actor = creds_of(k->to ? k->to : k->from);
	int fds[2];

	if (unix_actor_pair(&actor, (int)k->type, fds) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socketpair");
	k->to_fd = fds[0];
	k->from_fd = fds[1];
	return 0;
}

/* A name that is only to be seen: of a client, or of a peer that is gone. */
static void show_name(struct fd_load *c, int fd, const ProtobufCBinaryData *name)
{
	char text[UNIX_NAME_MAX + 8];
	char *folder;

	if (unix_bind_aside(fd, name, &folder) < 0)
		s_warn(c->s, "Unix socket loses its name %s: %s",
		       unix_name_text(name, text, sizeof(text)), strerror(errno));
	unix_folder_remove(&folder, name);
}

static int make_connection(struct fd_load *c, struct connection *k, struct stasis_error *err)
{
	struct unix_end *listener = k->to_name->len ? find_listener(c, k) : NULL;
	char text[UNIX_NAME_MAX + 8];
	int result;

	if (listener) {
		const char *folder = listener->root ? listener->root : listener->r->folder;

		if (join(k, unix_end_fd(listener), folder, err) < 0)
			return -1;
	} else {
		result = k->to_name->len ? join_aside(k, err) : 0;
		if (!result && k->to_name->len)
			s_warn(c->s, "Unix socket loses its name %s: %s",
			       unix_name_text(k->to_name, text, sizeof(text)), strerror(errno));
		if (result < 0 || (!result && join_unnamed(k, err) < 0))
			return -1;
	}
	show_name(c, k->from_fd, k->from_name); /* a client may have bound itself as well */
	return 0;
}

/* The kernel's choice for a client with SO_PASSCRED: NUL and five hexadecimal digits. */
static bool is_automatic(const ProtobufCBinaryData *name)
{
	return name->len == 6 && !name->data[0];
}

/* Which of the two was accepted: it has the name of the listening socket, which the tree may have. */
static bool was_accepted(struct fd_load *c, uint32_t type, const ProtobufCBinaryData *name,
			 const ProtobufCBinaryData *other)
{
	const struct connection a = {.type = type, .to_name = name};
	const struct connection b = {.type = type, .to_name = other};

	if (!name->len || !other->len)
		return name->len;
	if (find_listener(c, &a) || find_listener(c, &b))
		return find_listener(c, &a) != NULL;
	return is_automatic(other) || !is_automatic(name);
}

static int make_connected(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	const Stasis__UnixSocket *other = e->peer ? e->peer->r : NULL;
	const ProtobufCBinaryData *other_name = other ? &other->name : &e->r->peer_name;
	bool is_to = was_accepted(c, e->r->type, &e->r->name, other_name);
	struct connection k = {
		.type = e->r->type,
		.to = is_to ? e->r : other,
		.from = is_to ? other : e->r,
		.to_name = is_to ? &e->r->name : other_name,
		.from_name = is_to ? other_name : &e->r->name,
		.to_fd = -1,
		.from_fd = -1,
	};
	int result = make_connection(c, &k, err);

	e->fd = is_to ? k.to_fd : k.from_fd;
	if (e->peer)
		e->peer->fd = is_to ? k.from_fd : k.to_fd;
	else
		e->stand_in = is_to ? k.from_fd : k.to_fd;
	e->is_made = e->is_connected = true;
	if (e->peer)
		e->peer->is_made = e->peer->is_connected = true;
	return result;
}

/* ---- outside ---- */

/* As the client it was; what is left of the old connection's bytes belongs to nobody. */
static int make_by_name(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	struct unix_actor actor = creds_of(e->r);
	char text[UNIX_NAME_MAX + 8];

	if (make_alone(c, e, err) < 0)
		return -1;
	if (e->r->type == SOCK_DGRAM || /* is connected when it has its messages */
	    unix_actor_connect(&actor, e->fd, &e->r->peer_name) == 0)
		return 0;
	(void)unix_name_text(&e->r->peer_name, text, sizeof(text));
	if (!c->s->is_forced)
		return stasis_fail_errno(err, STASIS_E_IO, "connect to '%.120s'", text);
	s_warn(c->s, "connect to '%s': %s", text, strerror(errno));
	scoped_close_fd(&e->fd);
	return make_connected(c, e, err);
}

/* ---- datagrams ---- */

static int make_datagram_pair(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	struct unix_actor actor = creds_of(e->r);
	int fds[2];

	if (unix_actor_pair(&actor, SOCK_DGRAM, fds) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socketpair");
	e->fd = fds[0];
	e->is_made = e->is_connected = true;
	if (!e->peer) {
		e->stand_in = fds[1];
		show_name(c, fds[1], &e->r->peer_name);
		return unix_bind(c, e, err);
	}
	e->peer->fd = fds[1];
	e->peer->is_made = e->peer->is_connected = true;
	if (unix_bind(c, e, err) < 0)
		return -1;
	return unix_bind(c, e->peer, err);
}

/* Connected with each other, and at least one cannot have been found by its name. */
static bool is_datagram_pair(const struct unix_end *e)
{
	if (!e->peer)
		return e->r->peer_state != STASIS__UNIX_PEER__UNIX_PEER_NONE &&
		       e->r->peer_state != STASIS__UNIX_PEER__UNIX_PEER_BY_NAME;
	return e->peer != e && e->peer->peer == e && (!e->r->name.len || !e->peer->r->name.len);
}

/* ---- those that wait to be accepted ---- */

static int make_waiting(struct fd_load *c, struct unix_end *listener, struct unix_end *client,
			struct stasis_error *err)
{
	scoped_fd int gone = -1;
	struct unix_actor actor = {.pid = 0};
	int fd = new_socket(listener->r->type, err);

	if (fd < 0)
		return -1;
	if (client) {
		actor = creds_of(client->r);
		client->fd = fd;
		client->is_made = client->is_connected = true;
		if (unix_bind(c, client, err) < 0)
			return -1;
	} else {
		gone = fd;
	}
	unix_actor_place(&actor, &listener->r->name,
			 listener->root ? listener->root : listener->r->folder);
	if (unix_actor_connect(&actor, fd, &listener->r->name) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "connect to a listening socket");
	return 0;
}

static int make_all_waiting(struct fd_load *c, struct unix_end *listener, struct stasis_error *err)
{
	struct unix_actor actor = creds_of(listener->r);

	for (size_t i = 0; i < listener->r->n_pending; i++) {
		uint64_t id = listener->r->pending[i];
		struct unix_end *client = id ? unix_load_find(c, id) : NULL;

		if (client && client->is_made)
			return stasis_fail(err, STASIS_E_CORRUPT, "a socket waits twice");
		if (client && !load_is_kept(client->desc))
			client = NULL;
		if (make_waiting(c, listener, client, err) < 0)
			return -1;
	}
	if (is_overfull(listener->r) &&
	    unix_actor_listen(&actor, listener->fd, (int)listener->r->backlog) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "listen");
	return 0;
}

/* ---- all ---- */

typedef int (*make_fn)(struct fd_load *c, struct unix_end *e, struct stasis_error *err);

static int make_if_alone(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	bool is_alone = e->r->type == SOCK_DGRAM
				? !is_datagram_pair(e)
				: e->r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_NONE;

	if (e->r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_BY_NAME)
		return make_by_name(c, e, err);
	return is_alone ? make_alone(c, e, err) : 0;
}

static int make_if_connected(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	if (e->r->type == SOCK_DGRAM)
		return make_datagram_pair(c, e, err);
	if (e->r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_PENDING && e->peer)
		return 0;
	return make_connected(c, e, err);
}

static int make_each(struct fd_load *c, make_fn make, struct stasis_error *err)
{
	for (size_t i = 0; i < c->unix_load->nr; i++) {
		struct unix_end *e = &c->unix_load->ends[i];

		if (!load_is_kept(e->desc) || e->is_made)
			continue;
		if (session_enter(c->s, e->desc->proc->pid, err) < 0 || make(c, e, err) < 0)
			return -1;
	}
	return 0;
}

int unix_make_all(struct fd_load *c, struct stasis_error *err)
{
	struct unix_load *u = c->unix_load;

	if (u->is_made)
		return 0;
	u->is_made = true;
	u->made_by = getpid();
	for (size_t i = 0; i < u->nr; i++)
		if (u->ends[i].peer && !load_is_kept(u->ends[i].peer->desc))
			u->ends[i].peer = NULL;
	if (make_each(c, make_if_alone, err) < 0 || make_each(c, make_if_connected, err) < 0)
		return -1;
	for (size_t i = 0; i < u->nr; i++)
		if (load_is_kept(u->ends[i].desc) &&
		    (session_enter(c->s, u->ends[i].desc->proc->pid, err) < 0 ||
		     make_all_waiting(c, &u->ends[i], err) < 0))
			return -1;
	for (size_t i = 0; i < u->nr; i++)
		if (load_is_kept(u->ends[i].desc) && !u->ends[i].is_made)
			return stasis_fail(err, STASIS_E_CORRUPT, "a Unix socket waits nowhere");
	return 0;
}

void unix_load_free(struct fd_load *c)
{
	struct unix_load *u = c->unix_load;
	bool is_ours = u && u->made_by == getpid();

	for (size_t i = 0; u && i < u->nr; i++) {
		struct unix_end *e = &u->ends[i];

		if (is_ours && e->is_bound && !u->is_filled)
			(void)unlink(e->r->file->path); /* of a restart that failed */
		if (is_ours)
			unix_folder_remove(&e->root, &e->r->name);
		free(e->root);
		scoped_close_fd(&e->fd);
		scoped_close_fd(&e->stand_in);
	}
	if (u)
		free(u->ends);
	free(u);
}
