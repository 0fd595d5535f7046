/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads what is in the queues of connections. Unread bytes can be peeked at; bytes that the peer has
 * not acknowledged, and the sequence numbers, are shown in repair mode only, and a program that finds
 * its socket in repair mode gets errors. So a socket is in it for some microseconds at a time, and in
 * the hands of two processes that watch each other: a helper in a session of its own does it and goes
 * on to the end when the engine is killed, long before the program runs again (the kernel lets
 * tracees go late in the tracer's exit); and when the helper is killed, the engine takes all sockets
 * out of it while the program still stands still.
 *
 * All send queues come before all receive queues. The programs stand still, but not the kernel: what it
 * moves from one end to the other meanwhile is then in the image at least once, and the sequence
 * numbers tell what is there twice.
 */
#include "resource/tcp.h"

#include "lib/fault.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SLACK_BYTES = 65536, MAX_TRIES = 1000 };

/* One socket, in memory shared with the helper. */
struct capture {
	int fd;
	int reuse;	/* SO_REUSEADDR, which repair mode overwrites */
	bool is_kept;
	int failure;	/* errno */
	uint32_t state; /* of one that is kept */
	uint32_t write_seq, rcv_nxt, timestamp, mss;
	uint32_t send_len, recv_len, unsent;
	uint32_t send_room, recv_room;
	uint8_t *send, *recv;
	struct repair_window window;
};

struct shared {
	size_t len, nr;
	struct capture items[];
};

static int set(int fd, int name, int value)
{
	return setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value));
}

static int get(int fd, int name, uint32_t *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, IPPROTO_TCP, name, ret, &len);
}

static void repair_off(const struct capture *k)
{
	(void)set(k->fd, TCP_REPAIR, REPAIR_OFF_NO_WP);
	(void)setsockopt(k->fd, SOL_SOCKET, SO_REUSEADDR, &k->reuse, sizeof(k->reuse));
}

/* Bytes in a queue, without taking them; recv() would also take a pending error. */
static int peek(int fd, uint8_t *buf, uint32_t room, uint32_t *ret_len)
{
	ssize_t n = recv(fd, buf, room, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		return -1;
	if (n == (ssize_t)room) {
		errno = EMSGSIZE;
		return -1;
	}
	*ret_len = n < 0 ? 0 : (uint32_t)n;
	return 0;
}

static int read_send_queue(struct capture *k)
{
	int unsent = 0;

	if (fault_point("dump.tcp-in-repair", NULL) < 0)
		return -1;
	if (set(k->fd, TCP_REPAIR_QUEUE, REPAIR_SEND_QUEUE) < 0 ||
	    ioctl(k->fd, SIOCOUTQNSD, &unsent) < 0 || get(k->fd, TCP_QUEUE_SEQ, &k->write_seq) < 0)
		return -1;
	k->unsent = unsent < 0 ? 0 : (uint32_t)unsent;
	return k->send_room > SLACK_BYTES ? peek(k->fd, k->send, k->send_room, &k->send_len) : 0;
}

static int read_state(struct capture *k)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(k->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -1;
	k->state = info.tcpi_state;
	return 0;
}

static bool has_bytes(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCINQ, &n) == 0 && n > 0;
}

/* Bytes may arrive between the two looks. */
static int read_recv_queue(struct capture *k)
{
	socklen_t len = sizeof(k->window);
	uint32_t before = 0;

	if (getsockopt(k->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &k->window, &len) < 0 ||
	    set(k->fd, TCP_REPAIR_QUEUE, REPAIR_RECV_QUEUE) < 0 ||
	    get(k->fd, TCP_TIMESTAMP, &k->timestamp) < 0 || get(k->fd, TCP_MAXSEG, &k->mss) < 0)
		return -1;
	for (int i = 0; i < MAX_TRIES; i++) {
		if (get(k->fd, TCP_QUEUE_SEQ, &before) < 0)
			return -1;
		k->recv_len = 0;
		if (has_bytes(k->fd) && peek(k->fd, k->recv, k->recv_room, &k->recv_len) < 0)
			return -1;
		if (get(k->fd, TCP_QUEUE_SEQ, &k->rcv_nxt) < 0 || before == k->rcv_nxt)
			break;
	}
	len = sizeof(k->window);
	if (getsockopt(k->fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &k->window, &len) < 0)
		return -1;
	return read_state(k);
}

static void in_repair(struct capture *k, int (*fn)(struct capture *k))
{
	if (set(k->fd, TCP_REPAIR, REPAIR_ON) < 0 || fn(k) < 0)
		k->failure = errno;
	repair_off(k);
}

/* System calls only: other threads of the engine may have held any lock when we were made. */
static void __attribute__((__noreturn__)) helper_main(struct shared *m)
{
	(void)setsid();
	for (size_t i = 0; i < m->nr; i++)
		if (m->items[i].is_kept)
			in_repair(&m->items[i], read_send_queue);
	for (size_t i = 0; i < m->nr; i++)
		if (m->items[i].is_kept)
			in_repair(&m->items[i], read_recv_queue);
	for (;;)
		(void)syscall(SYS_exit_group, 0);
}

static int run_helper(struct shared *m, struct stasis_error *err)
{
	int status = -1;
	/* no signal at its end: the caller's handler of SIGCHLD knows nothing of it */
	pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);

	if (pid == 0)
		helper_main(m);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	for (size_t i = 0; i < m->nr; i++)
		if (m->items[i].is_kept)
			repair_off(&m->items[i]);
	return stasis_fail(err, STASIS_E_INTERNAL, "who reads TCP queues died (status 0x%x)", status);
}

/* ---- memory ---- */

static void shared_done(struct shared **m)
{
	for (size_t i = 0; *m && i < (*m)->nr; i++) {
		const struct capture *k = &(*m)->items[i];

		if (k->send)
			(void)munmap(k->send, k->send_room);
		if (k->recv)
			(void)munmap(k->recv, k->recv_room);
	}
	if (*m)
		(void)munmap(*m, (*m)->len);
}

/* Only what is touched costs anything. */
static void *map(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int prepare(struct capture *k, const struct tcp_conn *conn, struct stasis_error *err)
{
	int out = 0, in = 0, room = socket_int(conn->held_fd, SOL_SOCKET, SO_RCVBUF);

	k->fd = conn->held_fd;
	k->is_kept = conn->is_kept;
	k->reuse = socket_int(k->fd, SOL_SOCKET, SO_REUSEADDR) > 0;
	if (ioctl(k->fd, SIOCOUTQ, &out) < 0 || ioctl(k->fd, SIOCINQ, &in) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "size of a TCP queue");
	k->send_room = (uint32_t)(out < 0 ? 0 : out) + SLACK_BYTES + (out > 0);
	k->recv_room = (uint32_t)(in < 0 ? 0 : in) + SLACK_BYTES + (uint32_t)(room < 0 ? 0 : room);
	k->send = map(k->send_room);
	k->recv = map(k->recv_room);
	if (!k->send || !k->recv)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP queues");
	return 0;
}

static int keep(struct tcp_conn *conn, const struct capture *k, struct stasis_error *err)
{
	Stasis__TcpState *r = &conn->state;
	uint32_t sent_fin, got_fin;

	if (k->failure) {
		errno = k->failure;
		return stasis_fail_errno(err, STASIS_E_IO, "read the queues of a TCP connection");
	}
	/* no packet has come since from outside; for others see take_late_fin() */
	if (k->is_kept && !conn->peer && k->state != TCP_CLOSE)
		r->state = k->state;
	sent_fin = tcp_sent_fin(r->state);
	got_fin = tcp_got_fin(r->state);
	conn->bytes = malloc((size_t)k->send_len + k->recv_len + 1);
	if (!conn->bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP queues");
	memcpy(conn->bytes, k->send, k->send_len);
	memcpy(conn->bytes + k->send_len, k->recv, k->recv_len);
	r->send_len = k->send_len;
	r->recv_len = k->recv_len;
	r->unsent_len = k->unsent < k->send_len ? k->unsent : k->send_len;
	r->send_seq = k->write_seq - sent_fin - k->send_len;
	r->recv_seq = k->rcv_nxt - got_fin - k->recv_len;
	r->mss = k->mss;
	r->timestamp = k->timestamp;
	r->snd_wl1 = k->window.snd_wl1;
	r->snd_wnd = k->window.snd_wnd;
	r->max_window = k->window.max_window;
	r->rcv_wnd = k->window.rcv_wnd;
	r->rcv_wup = k->window.rcv_wup;
	return 0;
}

/* The peer's FIN came after the state had been looked at, and counts as a byte. */
static void take_late_fin(struct tcp_conn *conn)
{
	const Stasis__TcpState *peer = conn->peer ? &conn->peer->state : NULL;
	Stasis__TcpState *r = &conn->state;

	if (!conn->is_kept || !peer || !tcp_sent_fin(peer->state) || tcp_got_fin(r->state) ||
	    r->recv_seq + r->recv_len != peer->send_seq + peer->send_len + 1)
		return;
	r->recv_seq--;
	r->state = tcp_sent_fin(r->state) ? TCP_CLOSING : TCP_CLOSE_WAIT;
}

/* What a restart would refuse is refused now, while the program can go on. */
static int check_fit(const struct tcp_conn *conn, struct stasis_error *err)
{
	const Stasis__TcpState *r = &conn->state, *peer = conn->peer ? &conn->peer->state : NULL;

	if (!conn->is_kept || !peer || peer->recv_seq + peer->recv_len - r->send_seq <= r->send_len)
		return 0;
	return stasis_fail(err, STASIS_E_INTERNAL,
			   "ends of a TCP connection do not fit: %u bytes from %u on in one, up to %u in the other",
			   r->send_len, r->send_seq, peer->recv_seq + peer->recv_len);
}

int tcp_capture(struct tcp_conn **conns, size_t nr, struct stasis_error *err)
{
	size_t len = sizeof(struct shared) + nr * sizeof(struct capture);
	scoped(shared_done) struct shared *m = map(len);
	bool wants_helper = false;

	if (!m)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for TCP queues");
	m->len = len;
	m->nr = nr;
	for (size_t i = 0; i < nr; i++) {
		if (prepare(&m->items[i], conns[i], err) < 0)
			return -1;
		wants_helper |= conns[i]->is_kept;
	}
	if (wants_helper && run_helper(m, err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		struct capture *k = &m->items[i];

		if (!k->is_kept && has_bytes(k->fd) &&
		    peek(k->fd, k->recv, k->recv_room, &k->recv_len) < 0)
			k->failure = errno;
		if (keep(conns[i], k, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < nr; i++)
		take_late_fin(conns[i]);
	for (size_t i = 0; i < nr; i++)
		if (check_fit(conns[i], err) < 0)
			return -1;
	return fault_point("dump.tcp-captured", err);
}
