/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts back what was queued in Unix sockets, then what may only come after that: datagram sockets
 * are connected, stand-ins closed, directions shut down, options set. All processes exist by then, so
 * that credentials of messages can name them. Every send is non-blocking.
 */
#include "resource/unix.h"

#include <string.h>
#include <sys/socket.h>

enum { FILL_SNDBUF_BYTES = 8 << 20 }; /* as much as the sender's limit lets it be while it fills */

union control {
	char bytes[CMSG_SPACE(UNIX_RIGHTS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	struct cmsghdr align;
};

/* Who sends it. */
struct sender {
	int fd;
	int own_fd;    /* to be closed */
	bool by_name;  /* not connected with the receiver */
	char *folder;  /* where its own name was bound */
};

static bool is_same_name(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static void add_control(struct msghdr *msg, union control *control, int type, const void *data,
			size_t len)
{
	struct cmsghdr *h = (void *)(control->bytes + msg->msg_controllen);

	memset(h, 0, CMSG_SPACE(len));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = type;
	h->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(h), data, len);
	msg->msg_control = control->bytes;
	msg->msg_controllen += CMSG_SPACE(len);
}

static int add_rights(struct fd_load *c, const Stasis__UnixMessage *m, struct msghdr *msg,
		      union control *control, struct stasis_error *err)
{
	int fds[UNIX_RIGHTS_MAX];

	if (!m->n_rights)
		return 0;
	for (size_t i = 0; i < m->n_rights; i++) {
		const struct load_desc *l = load_find_desc(c, m->rights[i]);

		if (!l || l->fd < 0)
			return stasis_fail(err, STASIS_E_INTERNAL, "descriptor in flight is not open");
		fds[i] = l->fd;
	}
	add_control(msg, control, SCM_RIGHTS, fds, m->n_rights * sizeof(int));
	return 0;
}

/* Whose credentials we may not give, or who is not there any more, is replaced by ourselves. */
static ssize_t send_as(struct fd_load *c, const struct unix_actor *actor, int fd, struct msghdr *msg,
		       union control *control, const Stasis__UnixMessage *m, int flags)
{
	struct ucred creds = {.pid = (pid_t)m->pid, .uid = m->uid, .gid = m->gid};
	size_t without = msg->msg_controllen;
	ssize_t n;

	if (!m->has_creds)
		return unix_actor_send(actor, fd, msg, flags);
	add_control(msg, control, SCM_CREDENTIALS, &creds, sizeof(creds));
	n = unix_actor_send(actor, fd, msg, flags);
	if (n >= 0 || (errno != EPERM && errno != ESRCH && errno != EINVAL))
		return n;
	s_warn(c->s, "credentials of a message from process %u cannot be restored: %s", m->pid,
	       strerror(errno));
	msg->msg_controllen = without;
	msg->msg_control = without ? control->bytes : NULL;
	return unix_actor_send(actor, fd, msg, flags);
}

static int fail_full(const Stasis__UnixSocket *r, struct stasis_error *err)
{
	if (errno == EAGAIN && r->type == SOCK_DGRAM)
		return stasis_fail(err, STASIS_E_IO,
				   "queue of a datagram socket takes less than its %zu messages here "
				   "(net.unix.max_dgram_qlen)",
				   r->n_messages);
	return stasis_fail_errno(err, STASIS_E_IO, "fill a socket's queue");
}

/* A stream may take a part at a time; descriptors and credentials go with the first. */
static int send_message(struct fd_load *c, const struct unix_end *e, const struct sender *from,
			const Stasis__UnixMessage *m, uint8_t *bytes, struct stasis_error *err)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (m->is_oob ? MSG_OOB : 0);
	struct unix_actor actor = {.pid = 0};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct iovec iov = {.iov_base = bytes, .iov_len = m->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;

	if (from->by_name) {
		memcpy(to.sun_path, e->r->name.data, e->r->name.len);
		msg.msg_name = &to;
		msg.msg_namelen = (socklen_t)(sizeof(sa_family_t) + e->r->name.len);
		unix_actor_place(&actor, &e->r->name, e->root ? e->root : e->r->folder);
	}
	if (add_rights(c, m, &msg, &control, err) < 0)
		return -1;
	for (;;) {
		ssize_t n = send_as(c, &actor, from->fd, &msg, &control, m, flags);

		if (n < 0)
			return fail_full(e->r, err);
		if ((size_t)n >= iov.iov_len || e->r->type != SOCK_STREAM)
			return 0;
		iov.iov_base = (uint8_t *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
}

/* ---- senders ---- */

/* One that is not there any more, or was never in the tree. */
static int stranger(struct fd_load *c, const ProtobufCBinaryData *name, struct sender *ret,
		    struct stasis_error *err)
{
	char text[UNIX_NAME_MAX + 8];

	ret->fd = ret->own_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (ret->fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socket");
	if (unix_bind_aside(ret->fd, name, &ret->folder) < 0)
		s_warn(c->s, "a message loses the name of its sender %s: %s",
		       unix_name_text(name, text, sizeof(text)), strerror(errno));
	return 0;
}

static int find_sender(struct fd_load *c, const struct unix_end *e, const Stasis__UnixMessage *m,
		       struct sender *ret, struct stasis_error *err)
{
	ret->by_name = false;
	ret->fd = e->stand_in;
	if (e->peer && e->is_connected)
		ret->fd = unix_end_fd(e->peer);
	if (ret->fd >= 0)
		return 0;
	if (!e->r->name.len)
		return stasis_fail(err, STASIS_E_CORRUPT, "messages in a socket that nobody can reach");
	ret->by_name = true;
	for (size_t i = 0; m->from.len && i < c->unix_load->nr; i++) {
		const struct unix_end *s = &c->unix_load->ends[i];

		if (!load_is_kept(s->desc) || s->r->type != SOCK_DGRAM ||
		    !is_same_name(&s->r->name, &m->from))
			continue;
		ret->fd = unix_end_fd(s);
		return 0;
	}
	return stranger(c, &m->from, ret, err);
}

/* ---- one socket ---- */

static void widen(int fd)
{
	const int bytes = FILL_SNDBUF_BYTES;

	/* what was there fitted into the sender's buffer, but perhaps before it was made smaller */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int size_of_buffer(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	(void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len);
	return size;
}

static void narrow(int fd, int size)
{
	const int half = size / 2; /* the kernel doubles it */

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
}

static int fill_message(struct fd_load *c, struct unix_end *e, const Stasis__UnixMessage *m,
			uint8_t *bytes, struct stasis_error *err)
{
	struct sender from = {.fd = -1, .own_fd = -1};
	int result, size;

	if (find_sender(c, e, m, &from, err) < 0)
		return -1;
	size = size_of_buffer(from.fd);
	widen(from.fd);
	result = send_message(c, e, &from, m, bytes, err);
	narrow(from.fd, size);
	scoped_close_fd(&from.own_fd);
	unix_folder_remove(&from.folder, &m->from);
	return result;
}

static bool is_by_name(const struct unix_end *e)
{
	return e->r->peer_state == STASIS__UNIX_PEER__UNIX_PEER_BY_NAME;
}

static int fill(struct fd_load *c, struct unix_end *e, struct stasis_error *err)
{
	const Stasis__Object *o = e->r->queue ? fd_load_object(c, e->r->queue) : NULL;
	scoped_free uint8_t *bytes = o ? malloc(o->content_len) : NULL;
	uint8_t *at = bytes;

	if (is_by_name(e) && e->r->type != SOCK_DGRAM)
		return 0; /* it begins anew */
	if (o && !bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's queue");
	if (o && fd_load_object_bytes(c, o->id, 0, bytes, o->content_len, err) < 0)
		return -1;
	for (size_t i = 0; i < e->r->n_messages; i++) {
		if (fill_message(c, e, e->r->messages[i], at, err) < 0)
			return -1;
		at += e->r->messages[i]->len;
	}
	return 0;
}

/* ---- afterwards ---- */

static bool is_connected_or_done(const struct unix_end *e)
{
	return !load_is_kept(e->desc) || e->r->type != SOCK_DGRAM || !e->peer || e->is_connected;
}

/* The kernel lets a socket connect only to one that is not connected elsewhere: first come those that
 * are connected to this one. */
static bool may_connect(const struct fd_load *c, const struct unix_end *e)
{
	for (size_t i = 0; i < c->unix_load->nr; i++) {
		const struct unix_end *other = &c->unix_load->ends[i];

		if (other != e && other->peer == e && other != e->peer &&
		    !is_connected_or_done(other))
			return false;
	}
	return true;
}

static int connect_datagram(struct unix_end *e, struct stasis_error *err)
{
	const Stasis__UnixSocket *to = e->peer->r;
	struct unix_actor actor = {.pid = 0};

	e->is_connected = true;
	unix_actor_place(&actor, &to->name, e->peer->root ? e->peer->root : to->folder);
	if (unix_actor_connect(&actor, unix_end_fd(e), &to->name) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "connect a datagram socket");
	return 0;
}

static int connect_datagrams(struct fd_load *c, struct stasis_error *err)
{
	size_t left = c->unix_load->nr, before;

	do {
		before = left;
		left = 0;
		for (size_t i = 0; i < c->unix_load->nr; i++) {
			struct unix_end *e = &c->unix_load->ends[i];

			if (is_connected_or_done(e))
				continue;
			if (!may_connect(c, e))
				left++;
			else if (connect_datagram(e, err) < 0)
				return -1;
		}
	} while (left && left < before);
	if (left)
		return stasis_fail(err, STASIS_E_CORRUPT, "datagram sockets are connected in a circle");
	return 0;
}

/* The server is not ours: it may be away, which the program learns when it sends. */
static void connect_outside(struct fd_load *c, const struct unix_end *e)
{
	char text[UNIX_NAME_MAX + 8];

	if (!is_by_name(e) || e->r->type != SOCK_DGRAM ||
	    unix_actor_connect(NULL, unix_end_fd(e), &e->r->peer_name) == 0)
		return;
	s_info(c->s, "connect to '%s': %s",
	       unix_name_text(&e->r->peer_name, text, sizeof(text)), strerror(errno));
}

/* The end of a peer that was closed; with something unread it is a reset. */
static void close_stand_in(struct unix_end *e)
{
	if (e->stand_in < 0)
		return;
	if (e->r->is_reset)
		(void)send(unix_end_fd(e), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	scoped_close_fd(&e->stand_in);
	e->stand_in = -1;
}

/* A direction of a connection is shut at both ends: the sender's is enough, and tells both. */
static void shut(const struct unix_end *e)
{
	if (e->r->shutdown & UNIX_MAY_WRITE)
		(void)shutdown(unix_end_fd(e), SHUT_WR);
	if (e->r->shutdown & UNIX_MAY_READ && !is_by_name(e)) /* what the server shut was its own */
		(void)shutdown(unix_end_fd(e), SHUT_RD);
}

/* No SIGIO for what happens here. */
static bool silence(const struct unix_end *e)
{
	int flags = fcntl(unix_end_fd(e), F_GETFL);

	return flags >= 0 && flags & O_ASYNC &&
	       fcntl(unix_end_fd(e), F_SETFL, flags & ~O_ASYNC) == 0;
}

static void let_speak(const struct unix_end *e)
{
	(void)fcntl(unix_end_fd(e), F_SETFL, fcntl(unix_end_fd(e), F_GETFL) | O_ASYNC);
}

static int fill_kept(struct fd_load *c, struct stasis_error *err)
{
	struct unix_load *u = c->unix_load;

	for (size_t i = 0; i < u->nr; i++)
		if (load_is_kept(u->ends[i].desc) &&
		    (session_enter(c->s, u->ends[i].desc->proc->pid, err) < 0 ||
		     fill(c, &u->ends[i], err) < 0))
			return -1;
	if (connect_datagrams(c, err) < 0)
		return -1;
	for (size_t i = 0; i < u->nr; i++)
		if (load_is_kept(u->ends[i].desc))
			close_stand_in(&u->ends[i]);
	for (size_t i = 0; i < u->nr; i++) {
		const struct unix_end *e = &u->ends[i];

		if (!load_is_kept(e->desc))
			continue;
		connect_outside(c, e);
		shut(e);
		if (socket_options_load(c->s, e->r->options, unix_end_fd(e), err) < 0 ||
		    socket_options_finish(c->s, e->r->options, unix_end_fd(e), err) < 0)
			return -1;
	}
	return 0;
}

int unix_fill_all(struct fd_load *c, struct stasis_error *err)
{
	struct unix_load *u = c->unix_load;
	scoped_free bool *is_async = calloc(u->nr + 1, sizeof(*is_async));

	if (u->is_filled)
		return 0;
	if (!is_async)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for sockets");
	for (size_t i = 0; i < u->nr; i++)
		is_async[i] = load_is_kept(u->ends[i].desc) && silence(&u->ends[i]);
	if (fill_kept(c, err) < 0)
		return -1;
	for (size_t i = 0; i < u->nr; i++) {
		struct unix_end *e = &u->ends[i];

		if (is_async[i])
			let_speak(e);
		if (e->root && session_enter(c->s, e->desc->proc->pid, err) < 0)
			return -1;
		unix_folder_remove(&e->root, &e->r->name);
	}
	u->is_filled = true;
	return session_enter(c->s, 0, err);
}
