/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX message queues at a restart. A named one that outlived the program is used again, with the messages of
 * the checkpoint; one that is gone is made again.
 */
#include "resource/mqueue.h"

#include "lib/proc.h"

#include <string.h>
#include <time.h>

enum { MOMENTS = 100, MOMENT_NS = 20000000 };

/* A queue of the restart. */
struct load_mqueue {
	struct load_mqueue *next;
	const Stasis__Object *rec;
	int fd; /* O_RDWR | O_NONBLOCK */
	bool is_made, is_registered;
	struct mqueue_messages before; /* of one that was there */
	pid_t maker; /* a forked child undoes nothing */
};

static const Stasis__Object *object_of(struct fd_load *c, const Stasis__Description *d)
{
	return fd_load_object(c, d->mq->object);
}

/* ---- checks ---- */

static bool has_sound_messages(const Stasis__Object *o)
{
	const Stasis__MQueue *q = o->mqueue;
	uint64_t sum = 0;

	if (o->n_packets != q->n_priorities || o->n_packets > q->max_messages)
		return false;
	for (size_t i = 0; i < o->n_packets; i++) {
		if (o->packets[i] > q->message_size || q->priorities[i] >= MQUEUE_MAX_PRIORITY)
			return false;
		sum += o->packets[i];
	}
	return sum == o->content_len;
}

static bool is_sound(const Stasis__Object *o)
{
	const Stasis__MQueue *q = o->mqueue;
	const char *path = o->file ? o->file->path : "";

	if (!q || path[0] != '/' || !path[1] || strchr(path + 1, '/') || strlen(path) > NAME_MAX)
		return false;
	if (!q->max_messages || q->max_messages > MQUEUE_MAX_MESSAGES || !q->message_size ||
	    q->message_size > MQUEUE_MAX_BYTES || q->max_messages * q->message_size > MQUEUE_MAX_BYTES)
		return false;
	if (q->notify_pid && q->notify == STASIS__MQ_NOTIFY__MQ_NOTIFY_SIGNAL &&
	    (q->notify_signo < 1 || q->notify_signo > 64))
		return false;
	return has_sound_messages(o) && !(q->is_outside && o->file->deleted);
}

/* A process that has it open, as far as the caller of the restart sees; 0 for none. We must not have it. */
static pid_t find_user(struct session *s, const struct stat *queue)
{
	scoped_fd int proc = s->procdir > 0 ? openat(s->procdir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
						 open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	size_t nr = 0;

	if (proc < 0 || proc_list_numbers(proc, ".", &pids, &nr, NULL) < 0)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		scoped_fd int procfd = -1;
		char name[16];

		(void)snprintf(name, sizeof(name), "%d", pids[i]);
		procfd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (procfd >= 0 && proc_has_open(procfd, queue))
			return pids[i];
	}
	return 0;
}

static int check_survivor(const Stasis__Object *o, int fd, struct stat *ret, struct stasis_error *err)
{
	struct mq_attr a;

	if (mq_getattr(fd, &a) < 0 || fstat(fd, ret) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "message queue '%s'", o->file->path);
	if ((uint64_t)a.mq_maxmsg == o->mqueue->max_messages &&
	    (uint64_t)a.mq_msgsize == o->mqueue->message_size)
		return 0;
	return stasis_fail(err, STASIS_E_BUSY,
			   "another message queue '%s' (%ld messages of %ld bytes) is where that of the "
			   "program was; remove it (mq_unlink)",
			   o->file->path, a.mq_maxmsg, a.mq_msgsize);
}

/* The queue of that name as it is now; -1 with ENOENT in errno when there is none. */
static int open_survivor(const Stasis__Object *o)
{
	int fd = o->file->deleted ? -1 : mq_open(o->file->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (o->file->deleted)
		errno = ENOENT;
	return fd;
}

/* 1: it is there, and free; 0: it is not. */
static int find_survivor(struct session *s, const Stasis__Object *o, struct stasis_error *err)
{
	const struct timespec moment = {.tv_nsec = MOMENT_NS};
	int fd = open_survivor(o), result;
	struct stat queue;
	pid_t user;

	if (fd < 0 && errno == ENOENT && !o->mqueue->is_outside)
		return 0;
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "message queue '%s'%s", o->file->path,
					 o->mqueue->is_outside ? ", which others used, too" : "");
	result = check_survivor(o, fd, &queue, err);
	(void)close(fd);
	if (result < 0)
		return -1;
	user = o->mqueue->is_outside ? 0 : find_user(s, &queue);
	/* one that was killed a moment ago may be just going */
	for (int i = 0; i < MOMENTS && user; i++) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
		user = find_user(s, &queue);
	}
	return user ? stasis_fail(err, STASIS_E_BUSY, "message queue '%s' is used by process %d; end it first",
				  o->file->path, user) :
		      1;
}

int mqueue_verify(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	const Stasis__Object *o;

	if (load_check_object(c, d->mq->object, STASIS__OBJECT_TYPE__OBJECT_MQUEUE, err) < 0)
		return -1;
	o = object_of(c, d);
	if (!is_sound(o))
		return stasis_fail(err, STASIS_E_CORRUPT, "message queue that cannot be");
	if (session_enter_ipc(s, (pid_t)o->holder, err) < 0 || find_survivor(s, o, err) < 0)
		return -1;
	return session_enter_ipc(s, 0, err);
}

/* ---- making ---- */

static int read_messages(struct fd_load *c, const Stasis__Object *o, const struct mq_attr *a,
			 struct mqueue_messages *m, struct stasis_error *err)
{
	if (mqueue_messages_init(m, a, err) < 0)
		return -1;
	m->sum->nr = o->n_packets;
	m->sum->len = o->content_len;
	memcpy(m->lengths, o->packets, m->sum->nr * sizeof(*m->lengths));
	memcpy(m->priorities, o->mqueue->priorities, m->sum->nr * sizeof(*m->priorities));
	return fd_load_object_bytes(c, o->id, 0, m->text, m->sum->len, err);
}

static int fill(struct fd_load *c, const struct load_mqueue *q, struct stasis_error *err)
{
	const struct mq_attr a = {.mq_maxmsg = (long)q->rec->mqueue->max_messages,
				  .mq_msgsize = (long)q->rec->mqueue->message_size};
	struct mqueue_messages m;
	int result = read_messages(c, q->rec, &a, &m, err);

	if (result == 0)
		result = mqueue_put(q->fd, &m, err);
	mqueue_messages_done(&m);
	return result;
}

static int create(const Stasis__Object *o, struct stasis_error *err)
{
	struct mq_attr a = {.mq_maxmsg = (long)o->mqueue->max_messages,
			    .mq_msgsize = (long)o->mqueue->message_size};
	char unnamed[48];
	const char *name = o->file->path;
	int fd;

	(void)snprintf(unnamed, sizeof(unnamed), "/stasis-%d-%llu", getpid(), (unsigned long long)o->id);
	if (o->file->deleted)
		name = unnamed;
	fd = mq_open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_CREAT | O_EXCL, 0600, &a);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO,
					 "make message queue '%s' for %ld messages of %ld bytes (see "
					 "/proc/sys/fs/mqueue)",
					 name, a.mq_maxmsg, a.mq_msgsize);
	if (o->file->deleted)
		(void)mq_unlink(name);
	return fd;
}

static int make(struct fd_load *c, struct load_mqueue *q, struct stasis_error *err)
{
	int found = find_survivor(c->s, q->rec, err);
	struct mq_attr a;

	if (found < 0)
		return -1;
	q->maker = getpid();
	if (found) {
		q->fd = open_survivor(q->rec);
		if (q->fd < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "message queue '%s'", q->rec->file->path);
	}
	if (q->rec->mqueue->is_outside)
		return 0;
	if (found) {
		if (mq_getattr(q->fd, &a) < 0 || mqueue_messages_init(&q->before, &a, err) < 0 ||
		    mqueue_take(q->fd, &a, &q->before, err) < 0)
			return -1;
	} else {
		q->fd = create(q->rec, err);
		q->is_made = q->fd >= 0;
	}
	return q->fd < 0 ? -1 : fill(c, q, err);
}

static struct load_mqueue *get(struct session *s, struct fd_load *c, const Stasis__Object *o,
			       struct stasis_error *err)
{
	struct load_mqueue *q = c->mqueues;

	while (q && q->rec != o)
		q = q->next;
	if (q)
		return q;
	q = arena_alloc(&c->arena, sizeof(*q));
	if (!q)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for a message queue");
	*q = (struct load_mqueue){.next = c->mqueues, .rec = o, .fd = -1};
	c->mqueues = q;
	if (session_enter_ipc(s, (pid_t)o->holder, err) < 0 || make(c, q, err) < 0 ||
	    session_enter_ipc(s, 0, err) < 0)
		return NULL;
	return q;
}

int mqueue_load(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	struct load_mqueue *q = get(s, c, object_of(c, d), err);
	int fd;

	if (!q)
		return -1;
	fd = fd_reopen(q->fd, file_open_flags(d->flags) | O_CLOEXEC);
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "open message queue '%s'", q->rec->file->path) : fd;
}

/* Owner and mode, when all are open. */
int mqueue_wire(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err)
{
	struct load_mqueue *q = get(s, c, object_of(c, d), err);
	const Stasis__FileId *f = q ? q->rec->file : NULL;

	if (!q)
		return -1;
	if (q->rec->mqueue->is_outside)
		return 0;
	if (s->caps.is_root && fchown(q->fd, f->uid, f->gid) < 0)
		s_warn(s, "owner of message queue '%s': %s", f->path, strerror(errno));
	if (fchmod(q->fd, f->mode & 07777) < 0)
		s_warn(s, "mode of message queue '%s': %s", f->path, strerror(errno));
	return 0;
}

int mqueue_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid, int fd,
		  struct stasis_error *err)
{
	struct load_mqueue *q = get(s, c, object_of(c, d), err);
	const Stasis__MQueue *m = q ? q->rec->mqueue : NULL;
	struct sigevent e = {.sigev_notify = SIGEV_NONE};

	if (!q)
		return -1;
	if (!m->notify_pid || m->notify_pid != (uint32_t)pid || q->is_registered)
		return 0;
	q->is_registered = true;
	if (m->notify == STASIS__MQ_NOTIFY__MQ_NOTIFY_SIGNAL) {
		e.sigev_notify = SIGEV_SIGNAL;
		e.sigev_signo = (int)m->notify_signo;
		memcpy(&e.sigev_value, &m->notify_value, sizeof(e.sigev_value));
	}
	return mq_notify(fd, &e) < 0 ? stasis_fail_errno(err, STASIS_E_IO, "watch message queue '%s'",
							 q->rec->file->path) :
				       0;
}

/* ---- afterwards ---- */

void mqueue_load_keep(struct fd_load *c)
{
	for (struct load_mqueue *q = c->mqueues; q; q = q->next) {
		scoped_close_fd(&q->fd);
		q->fd = -1;
		mqueue_messages_done(&q->before);
	}
	c->mqueues = NULL;
}

static void undo(struct fd_load *c, struct load_mqueue *q)
{
	struct mqueue_messages now;
	struct mq_attr a;

	if (q->maker != getpid() || q->fd < 0)
		return;
	if (q->is_made && !q->rec->file->deleted && session_enter_ipc(c->s, (pid_t)q->rec->holder, NULL) == 0)
		(void)mq_unlink(q->rec->file->path);
	if (q->is_made || !q->before.map || mq_getattr(q->fd, &a) < 0)
		return;
	if (mqueue_messages_init(&now, &a, NULL) == 0 && mqueue_take(q->fd, &a, &now, NULL) == 0)
		(void)mqueue_put(q->fd, &q->before, NULL); /* nobody is left to be told */
	mqueue_messages_done(&now);
}

void mqueue_load_undo(struct fd_load *c)
{
	for (struct load_mqueue *q = c->mqueues; q; q = q->next)
		undo(c, q);
	mqueue_load_keep(c);
}
