/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX message queues at a checkpoint: who has them, and who wants to be told of messages. What a signal of
 * mq_notify(3) will bring along (sigev_value) the kernel does not show; it is learned by letting it happen, in
 * the stopped process, which then asks again.
 */
#include "resource/mqueue.h"

#include "inject/inject.h"
#include "lib/proc.h"

#include <string.h>
#include <sys/syscall.h>

/* A queue with all that the tree has of it. */
struct mqueue_saved {
	struct mqueue_saved *next;
	dev_t dev;
	ino_t ino;
	Stasis__Object rec;
	Stasis__MQueue mq;
	struct mqueue_messages messages;
	struct mq_attr attr;
	struct task *owner; /* who is told */
	int owner_fd;
	bool is_peeked;
	size_t written; /* like fd_desc.written */
};

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for a message queue");
}

static bool mqueue_match(const struct fd_probe *p)
{
	return p->fs_magic == MQUEUE_MAGIC && S_ISREG(p->st.st_mode) && !p->is_path;
}

/* ---- others ---- */

static bool is_of_tree(const struct fd_save *c, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(c->tree, i, t)
		if (t->pid == pid)
			return true;
	return false;
}

/* A process outside of the tree that has the queue open, 0 for none. Ourselves do not count. */
static pid_t find_outsider(const struct fd_save *c, const struct stat *queue)
{
	scoped_fd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_free int *pids = NULL;
	size_t nr = 0;

	if (proc < 0 || proc_list_numbers(proc, ".", &pids, &nr, NULL) < 0)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		scoped_fd int procfd = -1;

		if (pids[i] == getpid() || is_of_tree(c, pids[i]))
			continue;
		procfd = proc_open(pids[i], NULL);
		if (procfd >= 0 && proc_has_open(procfd, queue))
			return pids[i];
	}
	return 0;
}

static int check_outside(struct fd_save *c, const struct fd_probe *p, struct mqueue_saved *q,
			 struct stasis_error *err)
{
	pid_t outsider = find_outsider(c, &p->st);

	q->mq.is_outside = outsider != 0;
	if (!outsider || (p->st.st_nlink && !q->mq.notify_pid))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "message queue '%.100s' that is %s and that process %d, outside of the processes that "
			   "are saved, has open, too; checkpoint it as well",
			   q->rec.file->path, p->st.st_nlink ? "watched (mq_notify)" : "unlinked", outsider);
}

/* ---- the state ---- */

static char *name_of(struct fd_save *c, const struct fd_probe *p)
{
	static const char deleted[] = " (deleted)";
	const char *slash = strrchr(p->link, '/');
	char *name = fd_save_strdup(c, slash ? slash : "/");
	size_t len = name ? strlen(name) : 0, tail = sizeof(deleted) - 1;

	if (name && !p->st.st_nlink && len > tail && !strcmp(name + len - tail, deleted))
		name[len - tail] = '\0';
	return name;
}

static struct task *task_with_pid(const struct fd_save *c, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(c->tree, i, t)
		if (t->pid == pid)
			return t;
	return NULL;
}

/* What is read from a queue's file: mq_overview(7). */
static int read_notify(struct fd_save *c, int fd, struct mqueue_saved *q, struct stasis_error *err)
{
	char text[128] = "";
	int how = 0, signo = 0, pid = 0;

	if (read(fd, text, sizeof(text) - 1) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of a message queue");
	if (sscanf(text, "QSIZE:%*u NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &how, &signo, &pid) != 3)
		return stasis_fail(err, STASIS_E_INTERNAL, "state of a message queue: '%.60s'", text);
	if (!pid)
		return 0;
	q->owner = task_with_pid(c, pid);
	q->mq.notify_pid = q->owner ? (uint32_t)q->owner->vpid : UINT32_MAX;
	q->mq.notify_signo = (uint32_t)signo;
	q->mq.notify = how == SIGEV_NONE ? STASIS__MQ_NOTIFY__MQ_NOTIFY_NONE :
					   STASIS__MQ_NOTIFY__MQ_NOTIFY_SIGNAL;
	if (how == SIGEV_NONE || how == SIGEV_SIGNAL)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "message queue '%.100s' of which a thread is told (mq_notify with SIGEV_THREAD); take "
			   "that back before the checkpoint, or use a signal",
			   q->rec.file->path);
}

static int look(struct fd_save *c, const struct fd_probe *p, struct mqueue_saved *q, struct stasis_error *err)
{
	/* what is to be done later must be possible */
	scoped_fd int fd = fd_reopen(p->local_fd, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char *name = name_of(c, p);

	q->rec.file = fd_save_alloc(c, sizeof(*q->rec.file));
	if (!name || !q->rec.file)
		return no_memory(err);
	file_id_fill(q->rec.file, &p->st, name);
	q->rec.file->deleted = !p->st.st_nlink;
	if (fd < 0 || mq_getattr(fd, &q->attr) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "message queue '%.100s'", name);
	q->mq.max_messages = (uint64_t)q->attr.mq_maxmsg;
	q->mq.message_size = (uint64_t)q->attr.mq_msgsize;
	if (read_notify(c, fd, q, err) < 0)
		return -1;
	return check_outside(c, p, q, err);
}

static struct mqueue_saved *find(struct fd_save *c, const struct stat *st)
{
	struct mqueue_saved *q = c->mqueues;

	while (q && (q->dev != st->st_dev || q->ino != st->st_ino))
		q = q->next;
	return q;
}

static int mqueue_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		       Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Mq *r = fd_save_alloc(c, sizeof(*r));
	struct mqueue_saved *q = find(c, &p->st);

	(void)s;
	if (!r)
		return no_memory(err);
	stasis__mq__init(r);
	if (p->local_fd < 0)
		return stasis_fail(err, STASIS_E_DENIED, "message queue cannot be looked at; run as root");
	if (!q) {
		q = fd_save_alloc(c, sizeof(*q));
		if (!q)
			return no_memory(err);
		stasis__object__init(&q->rec);
		stasis__mqueue__init(&q->mq);
		if (look(c, p, q, err) < 0)
			return -1;
		q->dev = p->st.st_dev;
		q->ino = p->st.st_ino;
		q->rec.id = c->objects.fresh(c->objects.arg);
		q->rec.type = STASIS__OBJECT_TYPE__OBJECT_MQUEUE;
		q->rec.mqueue = &q->mq;
		q->next = c->mqueues;
		c->mqueues = q;
	}
	if (q->owner == p->task)
		q->owner_fd = p->fd;
	r->object = q->rec.id;
	ret->kind_case = STASIS__DESCRIPTION__KIND_MQ;
	ret->mq = r;
	return 0;
}

/* ---- what is queued ---- */

/* A second signal of its number would be lost if it is not a real-time one. */
static int check_pending(const struct mqueue_saved *q, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};

	if (proc_read_status(task_leaderfd(q->owner), "status", &st, err) < 0)
		return -1;
	if (!((st.shd_pnd | st.sig_pnd) >> (q->mq.notify_signo - 1) & 1))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "message queue '%.100s' is watched (mq_notify) with signal %u, which is pending for "
			   "process %d; try again",
			   q->rec.file->path, q->mq.notify_signo, q->owner->pid);
}

struct wait_data {
	uint64_t set;
	struct timespec no_time;
	siginfo_t info;
};

/* Take the signal that the process has got. */
static int learn_value(struct mqueue_saved *q, struct stasis_error *err)
{
	const uint64_t args[6] = {offsetof(struct wait_data, set), offsetof(struct wait_data, info),
				  offsetof(struct wait_data, no_time), sizeof(uint64_t)};
	struct wait_data w = {.set = 1ull << (q->mq.notify_signo - 1)};
	int64_t result;

	if (inject_syscall_data(q->owner, SYS_rt_sigtimedwait, args, 7, &w, sizeof(w), &result, err) < 0)
		return -1;
	if (result != (int64_t)q->mq.notify_signo || w.info.si_code != SI_MESGQ)
		return stasis_fail(err, STASIS_E_INTERNAL, "no signal %u from message queue '%.100s'",
				   q->mq.notify_signo, q->rec.file->path);
	memcpy(&q->mq.notify_value, &w.info.si_value, sizeof(q->mq.notify_value));
	return 0;
}

static int ask_again(struct mqueue_saved *q, struct stasis_error *err)
{
	bool is_signal = q->mq.notify == STASIS__MQ_NOTIFY__MQ_NOTIFY_SIGNAL;
	struct sigevent e = {.sigev_notify = is_signal ? SIGEV_SIGNAL : SIGEV_NONE,
			     .sigev_signo = (int)q->mq.notify_signo};
	const uint64_t args[6] = {(uint64_t)q->owner_fd, 0};
	int64_t result;

	memcpy(&e.sigev_value, &q->mq.notify_value, sizeof(e.sigev_value));
	if (inject_syscall_data(q->owner, SYS_mq_notify, args, 2, &e, sizeof(e), &result, err) < 0)
		return -1;
	return result == 0 ? 0 :
			     stasis_fail(err, STASIS_E_INTERNAL, "mq_notify for '%.100s' gives %lld",
					 q->rec.file->path, (long long)result);
}

static int keep_content(struct fd_save *c, struct mqueue_saved *q, struct stasis_error *err)
{
	const struct mqueue_messages *m = &q->messages;

	q->rec.packets = fd_save_alloc(c, (m->sum->nr + 1) * sizeof(*q->rec.packets));
	q->mq.priorities = fd_save_alloc(c, (m->sum->nr + 1) * sizeof(*q->mq.priorities));
	if (!q->rec.packets || !q->mq.priorities)
		return no_memory(err);
	memcpy(q->rec.packets, m->lengths, m->sum->nr * sizeof(*m->lengths));
	memcpy(q->mq.priorities, m->priorities, m->sum->nr * sizeof(*m->priorities));
	q->rec.n_packets = q->mq.n_priorities = m->sum->nr;
	q->rec.content_len = m->sum->len;
	return 0;
}

static int peek(struct fd_save *c, struct mqueue_saved *q, const struct fd_desc *d, struct stasis_error *err)
{
	bool is_told = q->owner && q->owner->inject;
	bool has_value = is_told && q->mq.notify == STASIS__MQ_NOTIFY__MQ_NOTIFY_SIGNAL;
	scoped_fd int local = entry_get_fd(d->first, err), fd = -1;

	if (local < 0 || mqueue_messages_init(&q->messages, &q->attr, err) < 0)
		return -1;
	fd = fd_reopen(local, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "message queue '%.100s'", q->rec.file->path);
	if (has_value && check_pending(q, err) < 0)
		return -1;
	if (mqueue_peek(fd, &q->attr, &q->messages, err) < 0)
		return stasis_fail_prefix(err, "'%.100s'", q->rec.file->path);
	q->is_peeked = true;
	if ((has_value && learn_value(q, err) < 0) || (is_told && ask_again(q, err) < 0))
		return -1;
	return keep_content(c, q, err);
}

static int mqueue_write(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
			struct image_writer *w, struct stasis_error *err)
{
	struct mqueue_saved *q = find(c, &d->st);

	(void)s;
	if (!q)
		return stasis_fail(err, STASIS_E_INTERNAL, "message queue was not saved");
	if (q->written == t->index + 1)
		return 0;
	q->written = t->index + 1;
	if (!q->rec.holder)
		q->rec.holder = (uint32_t)t->vpid;
	if (!q->is_peeked && !q->mq.is_outside && peek(c, q, d, err) < 0)
		return -1;
	if (image_put_record(w, IMAGE_TAG_OBJECT, &q->rec.base, err) < 0)
		return -1;
	if (q->rec.holder != (uint32_t)t->vpid || !q->rec.content_len)
		return 0;
	return image_put_bulk(w, q->rec.id, 0, q->messages.text, q->rec.content_len, err);
}

void mqueue_save_done(struct fd_save *c)
{
	for (struct mqueue_saved *q = c->mqueues; q; q = q->next)
		mqueue_messages_done(&q->messages);
}

const struct resource_kind kind_mqueue = {
	.name = "message queue",
	.tag = STASIS__DESCRIPTION__KIND_MQ,
	.match = mqueue_match,
	.save = mqueue_save,
	.write = mqueue_write,
	.verify = mqueue_verify,
	.load = mqueue_load,
	.wire = mqueue_wire,
	.attach = mqueue_attach,
};
