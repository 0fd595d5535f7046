/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in System V objects, read in their IPC namespace (by a process that goes there, if it is not ours)
 * and written to a file.
 * Messages are copied with MSG_COPY (Linux 3.8, CONFIG_CHECKPOINT_RESTORE); without it they are taken out
 * and put back in their order by a process that nobody's death interrupts.
 */
#include "ipc/ipc_priv.h"

#include "lib/io.h"

#include <signal.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

/* An object being read. */
struct reading {
	Stasis__Object rec;
	Stasis__SysvIpc sysv;
	void *content;
	size_t content_len;
	bool is_attached; /* the content is a segment */
};

static int fail(enum ipc_type type, int32_t id, struct stasis_error *err)
{
	return stasis_fail_errno(err, STASIS_E_DENIED, "read %s %d", ipc_words(type), id);
}

/* ---- shared memory ---- */

static int read_shm(const struct ipc_row *row, struct reading *r, struct stasis_error *err)
{
	void *at = shmat(row->id, NULL, SHM_RDONLY);

	if (at == (void *)-1)
		return fail(IPC_SHM, row->id, err);
	r->content = at;
	r->content_len = row->size;
	r->is_attached = true;
	return 0;
}

/* ---- semaphores ---- */

static int alloc_lists(struct reading *r, size_t nr, struct stasis_error *err)
{
	r->sysv.values = calloc(nr + 1, sizeof(*r->sysv.values));
	r->sysv.pids = calloc(nr + 1, sizeof(*r->sysv.pids));
	if (!r->sysv.values || !r->sysv.pids)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a semaphore set");
	return 0;
}

static int read_sem(const struct ipc_row *row, bool wants_pids_only, struct reading *r,
		    struct stasis_error *err)
{
	scoped_free unsigned short *values = calloc(row->size + 1, sizeof(*values));
	union ipc_semun arg = {.array = values};

	if (!values)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a semaphore set");
	if (alloc_lists(r, row->size, err) < 0)
		return -1;
	if (!wants_pids_only && semctl(row->id, 0, GETALL, arg) < 0)
		return fail(IPC_SEM, row->id, err);
	for (size_t i = 0; i < row->size; i++) {
		int pid = semctl(row->id, (int)i, GETPID, arg);

		if (pid < 0)
			return fail(IPC_SEM, row->id, err);
		r->sysv.values[i] = values[i];
		r->sysv.pids[i] = (uint32_t)pid;
	}
	r->sysv.n_values = r->sysv.n_pids = row->size;
	return 0;
}

/* ---- messages ---- */

struct message {
	long type;
	char text[];
};

static int add_message(struct reading *r, size_t *room, const struct message *m, size_t len,
		       struct stasis_error *err)
{
	size_t nr = r->rec.n_packets;

	if (nr == *room) {
		size_t want = *room ? 2 * *room : 64;
		uint32_t *packets = reallocarray(r->rec.packets, want, sizeof(*packets));
		int64_t *types;

		r->rec.packets = packets ? packets : r->rec.packets;
		types = reallocarray(r->sysv.types, want, sizeof(*types));
		r->sysv.types = types ? types : r->sysv.types;
		if (!packets || !types)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for messages");
		*room = want;
	}
	if (nr >= IPC_MAX_MESSAGES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "message queue with more than %u messages",
				   IPC_MAX_MESSAGES);
	memcpy((char *)r->content + r->content_len, m->text, len);
	r->content_len += len;
	r->rec.packets[nr] = (uint32_t)len;
	r->sysv.types[nr] = m->type;
	r->rec.n_packets = r->sysv.n_types = nr + 1;
	return 0;
}

static int copy_messages(int id, struct reading *r, struct message *m, size_t bytes, struct stasis_error *err)
{
	size_t room = 0;
	ssize_t len;

	for (long i = 0;; i++) {
		len = msgrcv(id, m, bytes, i, MSG_COPY | IPC_NOWAIT);
		if (len < 0 && errno == ENOMSG)
			return 0;
		if (len < 0)
			return errno == ENOSYS ? -2 : fail(IPC_MSG, id, err);
		if (r->content_len + (size_t)len > bytes)
			return stasis_fail(err, STASIS_E_IO, "message queue %d changes while it is read", id);
		if (add_message(r, &room, m, (size_t)len, err) < 0)
			return -1;
	}
}

static int put_back(int id, const struct reading *r, struct message *m, struct stasis_error *err)
{
	const char *text = r->content;

	for (size_t i = 0; i < r->rec.n_packets; text += r->rec.packets[i++]) {
		m->type = r->sysv.types[i];
		memcpy(m->text, text, r->rec.packets[i]);
		if (msgsnd(id, m, r->rec.packets[i], IPC_NOWAIT) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "put a message back into queue %d", id);
	}
	return 0;
}

static int take_messages(int id, struct reading *r, struct message *m, size_t bytes, struct stasis_error *err)
{
	size_t room = 0;
	ssize_t len = 0;
	int result = 0;

	(void)prctl(PR_SET_PDEATHSIG, 0);
	while (result == 0 && (len = msgrcv(id, m, bytes, 0, IPC_NOWAIT)) >= 0)
		result = add_message(r, &room, m, (size_t)len, err);
	if (result == 0 && errno != ENOMSG)
		result = fail(IPC_MSG, id, err);
	if (put_back(id, r, m, err) < 0)
		result = -1;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return result;
}

static int read_msg(const struct ipc_row *row, struct reading *r, struct stasis_error *err)
{
	scoped_free struct message *m = NULL;
	struct msqid_ds ds;
	int result;

	if (msgctl(row->id, IPC_STAT, &ds) < 0)
		return fail(IPC_MSG, row->id, err);
	r->sysv.max_bytes = ds.msg_qbytes;
	if (alloc_lists(r, 2, err) < 0)
		return -1;
	r->sysv.n_pids = 2;
	r->sysv.pids[0] = (uint32_t)row->pids[0];
	r->sysv.pids[1] = (uint32_t)row->pids[1];
	m = malloc(sizeof(*m) + row->size + 1);
	r->content = malloc(row->size + 1);
	if (!m || !r->content)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %llu bytes of messages",
				   (unsigned long long)row->size);
	result = copy_messages(row->id, r, m, row->size, err);
	if (result == -2)
		result = take_messages(row->id, r, m, row->size, err);
	r->rec.content_len = r->content_len;
	return result;
}

/* ---- all of them ---- */

static void fill(const struct ipc_row *row, struct reading *r)
{
	stasis__object__init(&r->rec);
	stasis__sysv_ipc__init(&r->sysv);
	r->rec.type = ipc_object_type(row->type);
	r->rec.size = row->type == IPC_SHM ? row->size : 0;
	r->rec.sysv = &r->sysv;
	r->sysv.id = row->id;
	r->sysv.key = row->key;
	r->sysv.mode = row->mode & 0777;
	r->sysv.uid = row->uid;
	r->sysv.gid = row->gid;
	r->sysv.cuid = row->cuid;
	r->sysv.cgid = row->cgid;
	r->sysv.is_removed = row->mode & IPC_MODE_REMOVED && row->type == IPC_SHM;
	r->sysv.is_locked = row->mode & IPC_MODE_LOCKED && row->type == IPC_SHM;
}

static void reading_done(struct reading *r)
{
	free(r->sysv.values);
	free(r->sysv.pids);
	free(r->sysv.types);
	free(r->rec.packets);
	if (r->is_attached)
		(void)shmdt(r->content);
	else
		free(r->content);
}

static int put(const struct reading *r, int fd, struct stasis_error *err)
{
	const struct ipc_read_head head = {
		.record_len = stasis__object__get_packed_size(&r->rec),
		.content_len = r->content_len,
	};
	scoped_free uint8_t *record = malloc(head.record_len + 1);

	if (!record)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a record");
	(void)stasis__object__pack(&r->rec, record); /* returns the size that was asked for above */
	if (io_write_full(fd, &head, sizeof(head), err) < 0 ||
	    io_write_full(fd, record, head.record_len, err) < 0)
		return -1;
	return r->content_len ? io_write_full(fd, r->content, r->content_len, err) : 0;
}

static int read_one(const struct ipc_wish *w, const struct ipc_row *row, int to_fd, struct stasis_error *err)
{
	scoped(reading_done) struct reading r = {.content = NULL};
	int result;

	fill(row, &r);
	if (w->type == IPC_SHM)
		result = read_shm(row, &r, err);
	else if (w->type == IPC_SEM)
		result = read_sem(row, w->wants_pids_only, &r, err);
	else
		result = read_msg(row, &r, err);
	if (result < 0 && w->wants_pids_only)
		return 0; /* not ours to read, so it is not ours at all */
	return result < 0 ? -1 : put(&r, to_fd, err);
}

/* Wishes come in the order of the tables, so each is looked for behind the one before, *at, first. */
static const struct ipc_row *next_row(const struct ipc_rows *rows, size_t *at, const struct ipc_wish *w)
{
	for (size_t k = 0; k < rows->nr; k++) {
		size_t i = (*at + k) % rows->nr;

		if (rows->v[i].type != w->type || rows->v[i].id != w->id)
			continue;
		*at = i + 1;
		return &rows->v[i];
	}
	return NULL;
}

int ipc_read_objects(const struct ipc_wish *wishes, size_t nr, int to_fd, struct stasis_error *err)
{
	struct ipc_rows rows;
	int result = 0;
	size_t at = 0;

	if (ipc_read_rows(&rows, err) < 0)
		return -1;
	for (size_t i = 0; i < nr && result == 0; i++) {
		const struct ipc_row *row = next_row(&rows, &at, &wishes[i]);

		if (row)
			result = read_one(&wishes[i], row, to_fd, err);
	}
	ipc_rows_done(&rows);
	return result;
}
