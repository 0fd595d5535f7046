/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of a System V queue at a restart, and who is known to have used it last: by that, the next
 * checkpoint finds that it belongs to the tree.
 */
#include "ipc/ipc_priv.h"

#include "lib/io.h"

#include <limits.h>
#include <string.h>
#include <sys/msg.h>

/* Types of empty messages that come and go while no process of the tree runs. */
#define TYPE_PASS LONG_MAX
#define TYPE_OWN  (LONG_MAX - 1)

enum { MAX_TEXT = 64 << 20 };

struct message {
	long type;
	char text[];
};

/* A message that was taken out. */
struct taken {
	long type;
	size_t len;
};

/* ---- what was in it ---- */

static int keep(struct ipc_queue *q, const struct message *m, size_t len, struct stasis_error *err)
{
	const struct taken head = {.type = m->type, .len = len};
	size_t want = q->before_len + sizeof(head) + len;
	void *grown;

	if (want > q->before_room) {
		grown = realloc(q->before, 2 * want);
		if (!grown)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for messages");
		q->before = grown;
		q->before_room = 2 * want;
	}
	memcpy((char *)q->before + q->before_len, &head, sizeof(head));
	memcpy((char *)q->before + q->before_len + sizeof(head), m->text, len);
	q->before_len = want;
	return 0;
}

static int take_all(struct ipc_queue *q, struct stasis_error *err)
{
	struct msqid_ds ds;
	scoped_free struct message *m = NULL;
	size_t room;
	ssize_t len;

	if (msgctl(q->rec->sysv->id, IPC_STAT, &ds) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "message queue %d", q->rec->sysv->id);
	room = ds.__msg_cbytes < MAX_TEXT ? ds.__msg_cbytes : MAX_TEXT;
	m = malloc(sizeof(*m) + room + 1);
	if (!m)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for messages");
	while ((len = msgrcv(q->rec->sysv->id, m, room, 0, IPC_NOWAIT)) >= 0)
		if (keep(q, m, (size_t)len, err) < 0)
			return -1;
	return errno == ENOMSG ? 0 :
				 stasis_fail_errno(err, STASIS_E_IO, "message queue %d", q->rec->sysv->id);
}

void ipc_queue_undo(struct ipc_queue *q)
{
	struct ipc_queue now = {.rec = q->rec};
	const char *at = q->before, *end = at + q->before_len;
	struct taken head;
	struct message *m;

	(void)take_all(&now, NULL);
	free(now.before);
	for (; at < end; at += sizeof(head) + head.len) {
		memcpy(&head, at, sizeof(head));
		m = malloc(sizeof(*m) + head.len + 1);
		if (!m)
			return;
		m->type = head.type;
		memcpy(m->text, at + sizeof(head), head.len);
		(void)msgsnd(q->rec->sysv->id, m, head.len, IPC_NOWAIT); /* nobody is left to be told */
		free(m);
	}
}

/* ---- what shall be in it ---- */

static int pass(int id, long type, struct stasis_error *err)
{
	const struct message m = {.type = type};

	if (msgsnd(id, &m, 0, IPC_NOWAIT) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "send to message queue %d", id);
	return 0;
}

static int take(int id, long type, struct stasis_error *err)
{
	struct message m;

	if (msgrcv(id, &m, 0, type, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "receive from message queue %d", id);
	return 0;
}

static size_t longest(const Stasis__Object *o)
{
	size_t most = 0;

	for (size_t k = 0; k < o->n_packets; k++)
		most = o->packets[k] > most ? o->packets[k] : most;
	return most;
}

static int send_all(void *arg, struct stasis_error *err)
{
	const struct ipc_queue *q = arg;
	const Stasis__Object *o = q->rec;
	scoped_free struct message *m = malloc(sizeof(*m) + longest(o) + 1);
	uint64_t at = q->content_at;

	if (!m)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for messages");
	if (pass(o->sysv->id, TYPE_OWN, err) < 0 || take(o->sysv->id, TYPE_OWN, err) < 0)
		return -1; /* whoever emptied it was not the last */
	for (size_t k = 0; k < o->n_packets; at += o->packets[k++]) {
		m->type = o->sysv->types[k];
		if (io_pread_full(q->image_fd, m->text, o->packets[k], at, err) < 0)
			return -1;
		if (msgsnd(o->sysv->id, m, o->packets[k], IPC_NOWAIT) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "message %zu of queue %d", k + 1,
						 o->sysv->id);
	}
	/* who received last waits for a message by who sent last */
	return o->sysv->pids[0] || !o->sysv->pids[1] ? 0 : pass(o->sysv->id, TYPE_PASS, err);
}

/* In a process that ends then: the kernel remembers who used a queue last. */
int ipc_queue_fill(struct ipc_queue *q, struct stasis_error *err)
{
	return take_all(q, err) < 0 ? -1 : ns_run_apart(send_all, q, "fill a message queue", err);
}

int ipc_queue_touch(const struct ipc_queue *q, uint32_t pid, struct stasis_error *err)
{
	const uint32_t *last = q->rec->sysv->pids;
	int id = q->rec->sysv->id;

	if (last[0] == pid) {
		if (pass(id, TYPE_OWN, err) < 0 || take(id, TYPE_OWN, err) < 0)
			return -1;
		if (last[1] && last[1] != pid)
			return pass(id, TYPE_PASS, err);
	} else if (last[1] == pid) {
		return take(id, TYPE_PASS, err);
	}
	return 0;
}
