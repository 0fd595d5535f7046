/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is queued in a Unix socket, read without being taken: MSG_PEEK. A plain peek shows the first
 * message of a datagram or seqpacket socket, and of a stream what comes before the first descriptor in
 * flight; for the rest SO_PEEK_OFF is set, under guard (unix_guard.c), and set back.
 *
 * Never is an empty queue peeked into, nor one of messages with an error waiting: the kernel would
 * report the error, and so take it from the program.
 */
#include "resource/unix.h"

#include "lib/fault.h"

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { BUFFER_BYTES = 1 << 16, OFFSET_NONE = -1 };

#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

union control {
	char bytes[CMSG_SPACE(UNIX_RIGHTS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) +
		   CMSG_SPACE(sizeof(int)) + 512]; /* the rest is for a security label */
	struct cmsghdr align;
};

/* One look. */
struct peek {
	ssize_t len;  /* of the message, or of what a stream gave */
	size_t copied;
	size_t nr_rights;
	int rights[UNIX_RIGHTS_MAX]; /* ours */
	bool has_creds;
	struct ucred creds;
	size_t from_len;
	struct sockaddr_un from;
};

struct reader {
	struct fd_save *c;
	const struct fd_probe *p;
	Stasis__UnixSocket *r;
	struct unix_saved *u;
	int fd, old_offset;
	size_t pos; /* where the next look begins: all bytes before it are read */
	uint8_t *buf;
	size_t room, keep_room, messages_room;
	uint8_t *keep;
	struct peek look;
};

static void close_rights(struct peek *k)
{
	for (size_t i = 0; i < k->nr_rights; i++)
		scoped_close_fd(&k->rights[i]);
	k->nr_rights = 0;
}

static void take_control(struct peek *k, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t len = h->cmsg_len - CMSG_LEN(0);
		int pidfd;

		if (h->cmsg_level != SOL_SOCKET)
			continue;
		if (h->cmsg_type == SCM_RIGHTS && len <= sizeof(k->rights)) {
			memcpy(k->rights, CMSG_DATA(h), len);
			k->nr_rights = len / sizeof(int);
		} else if (h->cmsg_type == SCM_CREDENTIALS && len >= sizeof(k->creds)) {
			memcpy(&k->creds, CMSG_DATA(h), sizeof(k->creds));
			k->has_creds = true;
		} else if (h->cmsg_type == SCM_PIDFD && len >= sizeof(pidfd)) {
			memcpy(&pidfd, CMSG_DATA(h), sizeof(pidfd));
			scoped_close_fd(&pidfd);
		}
	}
}

static int peek(struct reader *rd, size_t max, struct stasis_error *err)
{
	struct peek *k = &rd->look;
	union control control;
	struct iovec iov = {.iov_base = rd->buf, .iov_len = max};
	struct msghdr msg = {.msg_name = &k->from,
			     .msg_namelen = sizeof(k->from),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};

	close_rights(k);
	k->has_creds = false;
	k->len = recvmsg(rd->fd, &msg, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (k->len < 0 && errno == EAGAIN)
		return 0;
	if (k->len < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "look into a socket's queue");
	take_control(k, &msg);
	if (msg.msg_flags & MSG_CTRUNC)
		return stasis_fail(err, STASIS_E_IO,
				   "descriptors in flight cannot be looked at; raise the limit of open "
				   "files (ulimit -n)");
	k->copied = (size_t)k->len < max ? (size_t)k->len : max;
	k->from_len = msg.msg_namelen > sizeof(sa_family_t) ? msg.msg_namelen - sizeof(sa_family_t)
							    : 0;
	return 1;
}

static int set_offset(int fd, int offset, struct stasis_error *err)
{
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set SO_PEEK_OFF");
	return 0;
}

/* ---- what was found goes into the record ---- */

static int keep_bytes(struct reader *rd, size_t len)
{
	if (rd->u->len + len > rd->keep_room) {
		size_t room = 2 * rd->keep_room + len;
		uint8_t *more = realloc(rd->keep, room);

		if (!more)
			return -1;
		rd->keep = more;
		rd->keep_room = room;
	}
	if (len)
		memcpy(rd->keep + rd->u->len, rd->buf, len);
	rd->u->len += len;
	return 0;
}

static Stasis__UnixMessage *new_message(struct reader *rd)
{
	Stasis__UnixMessage *m = fd_save_alloc(rd->c, sizeof(*m));

	if (rd->r->n_messages == rd->messages_room) {
		size_t room = rd->messages_room ? 2 * rd->messages_room : 4;
		Stasis__UnixMessage **more = fd_save_alloc(rd->c, room * sizeof(*more));

		if (!more)
			return NULL;
		if (rd->r->n_messages)
			memcpy(more, rd->r->messages, rd->r->n_messages * sizeof(*more));
		rd->r->messages = more;
		rd->messages_room = room;
	}
	if (!m)
		return NULL;
	stasis__unix_message__init(m);
	rd->r->messages[rd->r->n_messages++] = m;
	return m;
}

/* Descriptors in flight become descriptions that ours refers to. */
static int keep_rights(struct reader *rd, Stasis__UnixMessage *m, struct stasis_error *err)
{
	struct peek *k = &rd->look;

	m->rights = fd_save_alloc(rd->c, (k->nr_rights + 1) * sizeof(*m->rights));
	if (!m->rights)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors in flight");
	for (size_t i = 0; i < k->nr_rights; i++) {
		struct fd_desc *d =
			fd_save_adopt(rd->c, rd->p->desc, fd_take(&k->rights[i]), err);

		if (!d)
			return -1;
		m->rights[i] = fd_save_refer(rd->c, rd->p->desc, d);
		if (!m->rights[i])
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for descriptors");
		m->n_rights++;
	}
	k->nr_rights = 0;
	return 0;
}

static int keep_message(struct reader *rd, size_t len, bool with_rights, struct stasis_error *err)
{
	Stasis__UnixMessage *m = new_message(rd);
	const struct peek *k = &rd->look;

	if (!m || keep_bytes(rd, len) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's queue");
	m->len = len;
	m->has_creds = k->has_creds;
	if (m->has_creds) {
		m->pid = (uint32_t)tree_vpid_of(rd->p->task->tree, k->creds.pid);
		m->uid = k->creds.uid;
		m->gid = k->creds.gid;
	}
	if (rd->r->type == SOCK_DGRAM && k->from_len) {
		m->from.len = k->from_len;
		m->from.data = arena_memdup(&rd->c->arena, k->from.sun_path, k->from_len);
		if (!m->from.data)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's queue");
	}
	rd->pos += len;
	return with_rights ? keep_rights(rd, m, err) : 0;
}

/* ---- streams ---- */

/*
 * A look at a stream goes on through bytes without descriptors and ends behind those that have some; it
 * does not tell where these begin. But each piece, as it was sent, is copied whole or not at all: in
 * front of memory that may not be written, with room for all but the last byte, the look ends before
 * the last piece.
 */
static int find_rights(struct reader *rd, size_t len, size_t *ret_before, struct stasis_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (len + page - 1) / page * page;
	uint8_t *area = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {.iov_base = area + room - (len - 1), .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = -1;

	if (area == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_NOMEM, "memory for a socket's queue");
	if (mprotect(area + room, page, PROT_NONE) == 0 && set_offset(rd->fd, (int)rd->pos, err) == 0)
		n = recvmsg(rd->fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	*ret_before = n > 0 ? (size_t)n : 0;
	if (n < 0 && errno != EFAULT)
		(void)stasis_fail_errno(err, STASIS_E_IO, "look into a socket's queue");
	else
		n = 0;
	(void)munmap(area, room + page);
	return n < 0 ? -1 : 0;
}

static int keep_stretch(struct reader *rd, size_t len, struct stasis_error *err)
{
	size_t before = 0;

	if (rd->look.nr_rights && find_rights(rd, len, &before, err) < 0)
		return -1;
	if (before) {
		if (set_offset(rd->fd, (int)rd->pos, err) < 0 || peek(rd, before, err) < 0 ||
		    keep_message(rd, before, false, err) < 0)
			return -1;
		len -= before;
	}
	if (set_offset(rd->fd, (int)rd->pos, err) < 0 || peek(rd, len, err) < 0)
		return -1;
	return keep_message(rd, len, true, err);
}

/* Read on until `end`. */
static int walk_stream(struct reader *rd, size_t end, struct stasis_error *err)
{
	while (rd->pos < end) {
		int got;

		if (set_offset(rd->fd, (int)rd->pos, err) < 0)
			return -1;
		got = peek(rd, end - rd->pos, err);
		if (got < 0 || fault_point("dump.peeking", err) < 0)
			return -1;
		if (!got || !rd->look.len)
			return stasis_fail(err, STASIS_E_IO, "socket's queue holds %zu bytes, not %zu",
					   rd->pos, end);
		if (keep_stretch(rd, (size_t)rd->look.len, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * An out-of-band byte ends a look that begins before it. One that begins at it passes it over, and
 * only recv(MSG_OOB) sees it; with SO_OOBINLINE it is the other way round.
 */
struct oob {
	bool is_there, is_inline, is_at_mark;
	char byte;
};

static void find_oob(struct reader *rd, struct oob *o, size_t queued)
{
	int is_inline = 0, at_mark = 0;
	socklen_t len = sizeof(is_inline);

	(void)getsockopt(rd->fd, SOL_SOCKET, SO_OOBINLINE, &is_inline, &len);
	(void)ioctl(rd->fd, SIOCATMARK, &at_mark);
	o->is_inline = is_inline;
	o->is_at_mark = at_mark;
	if (!is_inline)
		o->is_there = recv(rd->fd, &o->byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) == 1;
	else
		o->is_there = at_mark || ((size_t)rd->look.len < queued && !rd->look.nr_rights &&
					  !rd->look.has_creds);
}

static int keep_oob(struct reader *rd, char byte, struct stasis_error *err)
{
	rd->look.has_creds = false;
	rd->buf[0] = (uint8_t)byte;
	if (keep_message(rd, 1, false, err) < 0)
		return -1;
	rd->r->messages[rd->r->n_messages - 1]->is_oob = true;
	return 0;
}

/* The byte at the head: what follows is counted from there, as if it were not. */
static int walk_after_oob(struct reader *rd, const struct oob *o, size_t queued,
			  struct stasis_error *err)
{
	if (keep_oob(rd, o->is_inline ? (char)rd->buf[0] : o->byte, err) < 0)
		return -1;
	if (o->is_inline)
		return walk_stream(rd, queued, err);
	rd->pos = 0;
	return walk_stream(rd, queued - 1, err);
}

static int walk_with_oob(struct reader *rd, const struct oob *o, size_t queued,
			 struct stasis_error *err)
{
	if (o->is_at_mark)
		return walk_after_oob(rd, o, queued, err);
	if (rd->look.nr_rights || rd->look.has_creds)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "socket holds an out-of-band byte behind descriptors or credentials; "
				   "let the program read them first");
	if (keep_message(rd, (size_t)rd->look.len, false, err) < 0 ||
	    set_offset(rd->fd, (int)rd->pos, err) < 0 || peek(rd, 1, err) < 0 ||
	    keep_oob(rd, (char)rd->buf[0], err) < 0)
		return -1;
	return walk_stream(rd, queued, err);
}

/* Most streams end here: one look shows all. */
static int read_stream(struct reader *rd, size_t queued, bool *ret_is_all, struct oob *o,
		       struct stasis_error *err)
{
	int got = peek(rd, queued, err);

	*ret_is_all = false;
	if (got < 0)
		return -1;
	find_oob(rd, o, queued);
	if (!got || (size_t)rd->look.len != queued || rd->look.nr_rights || o->is_there)
		return 0;
	*ret_is_all = true;
	return keep_message(rd, queued, false, err);
}

/* ---- datagrams and packets ---- */

/* Larger than the buffer: once more. (What is empty must not be looked at twice, see below.) */
static int look_again(struct reader *rd, struct stasis_error *err)
{
	size_t room = (size_t)rd->look.len;
	uint8_t *more = realloc(rd->buf, room);

	if (!more)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a message of %zu bytes", room);
	rd->buf = more;
	rd->room = room;
	if (set_offset(rd->fd, (int)rd->pos, err) < 0)
		return -1;
	return peek(rd, rd->room, err) < 0 ? -1 : 0;
}

/* A seqpacket socket whose peer is done gives 0 at the end of its queue for ever. */
static bool is_end(const struct reader *rd, size_t queued)
{
	return rd->r->type == SOCK_SEQPACKET && !rd->look.len && !rd->look.nr_rights &&
	       rd->pos >= queued && rd->u->info->shutdown & UNIX_MAY_READ;
}

/*
 * The kernel moves the offset on by what it showed. An empty message is marked as seen by that, and
 * the next look passes it over; a second walk would not find it unless it is the first in the queue.
 */
static int walk_messages(struct reader *rd, size_t queued, struct stasis_error *err)
{
	int got;

	if (set_offset(rd->fd, 0, err) < 0)
		return -1;
	while ((got = peek(rd, rd->room, err)) > 0 && !is_end(rd, queued)) {
		if (fault_point("dump.peeking", err) < 0)
			return -1;
		if ((size_t)rd->look.len > rd->room && look_again(rd, err) < 0)
			return -1;
		if (keep_message(rd, (size_t)rd->look.len, true, err) < 0)
			return -1;
	}
	return got < 0 ? -1 : 0;
}

/* ---- both ---- */

static int walk(struct reader *rd, size_t queued, const struct oob *o, struct stasis_error *err)
{
	struct stasis_error why;
	int result;

	if (unix_guard_arm(rd->c, rd->fd, rd->old_offset, err) < 0)
		return -1;
	if (rd->r->type != SOCK_STREAM)
		result = walk_messages(rd, queued, err);
	else if (o->is_there)
		result = walk_with_oob(rd, o, queued, err);
	else
		result = walk_stream(rd, queued, err);
	if (set_offset(rd->fd, rd->old_offset, &why) < 0 && result == 0) {
		if (err)
			*err = why;
		result = -1;
	}
	unix_guard_disarm(rd->c);
	return result;
}

/* With an offset of the program's own the first look needs the guard as well. */
static int look_first(struct reader *rd, size_t queued, bool *ret_is_all, struct oob *o,
		      struct stasis_error *err)
{
	struct stasis_error why;
	int result;

	*ret_is_all = false;
	if (rd->r->type != SOCK_STREAM)
		return 0;
	if (rd->old_offset == OFFSET_NONE)
		return read_stream(rd, queued, ret_is_all, o, err);
	if (unix_guard_arm(rd->c, rd->fd, rd->old_offset, err) < 0)
		return -1;
	result = set_offset(rd->fd, 0, err) < 0 ? -1 : read_stream(rd, queued, ret_is_all, o, err);
	if (set_offset(rd->fd, rd->old_offset, &why) < 0)
		result = -1;
	unix_guard_disarm(rd->c);
	return result;
}

static int read_queue(struct reader *rd, size_t queued, struct stasis_error *err)
{
	struct oob oob = {.is_there = false};
	socklen_t len = sizeof(rd->old_offset);
	bool is_all;

	if (getsockopt(rd->fd, SOL_SOCKET, SO_PEEK_OFF, &rd->old_offset, &len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "get SO_PEEK_OFF");
	rd->room = queued > BUFFER_BYTES ? queued : BUFFER_BYTES;
	rd->buf = malloc(rd->room);
	if (!rd->buf)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's queue");
	if (look_first(rd, queued, &is_all, &oob, err) < 0)
		return -1;
	return is_all ? 0 : walk(rd, queued, &oob, err);
}

static void reader_done(struct reader *rd)
{
	close_rights(&rd->look);
	free(rd->buf);
	free(rd->keep);
}

int unix_queue_save(struct fd_save *c, const struct fd_probe *p, struct unix_saved *u,
		    Stasis__UnixSocket *r, struct stasis_error *err)
{
	scoped(reader_done) struct reader rd = {.c = c, .p = p, .r = r, .u = u, .fd = p->local_fd};
	struct pollfd state = {.fd = p->local_fd, .events = POLLIN};
	int queued = 0;

	(void)ioctl(p->local_fd, SIOCINQ, &queued); /* of a datagram socket: the first one */
	if (poll(&state, 1, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "poll a socket");
	r->is_reset = state.revents & POLLERR;
	if (r->is_reset && r->type != SOCK_STREAM && (queued || r->type == SOCK_DGRAM))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "socket has an error waiting (ECONNRESET) before its messages, which "
				   "cannot be read without taking it; let the program read them first");
	if (r->is_reset ? !queued : !(state.revents & POLLIN))
		return 0;
	if (r->type == SOCK_STREAM && !queued)
		return 0;
	if (read_queue(&rd, (size_t)queued, err) < 0)
		return -1;
	u->bytes = arena_memdup(&c->arena, rd.keep, u->len);
	if (!u->bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a socket's queue");
	return 0;
}
