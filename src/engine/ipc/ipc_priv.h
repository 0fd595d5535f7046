/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder know of each other. */
#ifndef IPC_IPC_PRIV_H
#define IPC_IPC_PRIV_H

#include "ipc/ipc.h"
#include "lib/arena.h"
#include "lib/scoped.h"

#include <sys/ipc.h>
#include <sys/stat.h>

/* Limits of the kernel: include/linux/ipc_namespace.h, uapi/linux/sem.h. */
#define IPC_MAX_SEMAPHORES  32000u /* SEMMSL */
#define IPC_MAX_SEM_VALUE   32767 /* SEMVMX, SEMAEM */
#define IPC_MAX_MESSAGES    (1u << 20)
#define IPC_MODE_REMOVED    01000u /* SHM_DEST */
#define IPC_MODE_LOCKED	    02000u /* SHM_LOCKED */

/* An object as its table shows it. */
struct ipc_row {
	enum ipc_type type;
	int32_t id;
	uint32_t key, mode, uid, gid, cuid, cgid;
	uint64_t size; /* segment: bytes; set: semaphores; queue: bytes in it */
	uint64_t nr;   /* segment: attachments; queue: messages */
	pid_t pids[2]; /* segment: creator and last user; queue: last sender and receiver */
	int64_t used_at, changed_at; /* seconds */
};

struct ipc_rows {
	size_t nr, room;
	struct ipc_row *v;
};

/* table.c */
int ipc_read_rows(struct ipc_rows *ret, struct stasis_error *err);
const struct ipc_row *ipc_row_of(const struct ipc_rows *rows, enum ipc_type type, int32_t id);
void ipc_rows_done(struct ipc_rows *rows);
const char *ipc_words(enum ipc_type type); /* "semaphore set" */
const char *ipc_ipcrm_option(enum ipc_type type);

/* object.c */
enum ipc_type ipc_type_of(const Stasis__Object *o); /* IPC_NR_TYPES: it is none of ours */
Stasis__ObjectType ipc_object_type(enum ipc_type type);
/* May one be made with a chosen id here? */
int ipc_check_may_make(const Stasis__Object *o, struct stasis_error *err);
union ipc_semun { /* semctl(2) */
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

/* messages.c: at a restart. */
struct ipc_queue {
	const Stasis__Object *rec;
	int image_fd; /* and where in it the text of its messages is */
	uint64_t content_at;
	void *before; /* the messages that were in a queue that was there */
	size_t before_len, before_room;
};
/* Its messages become those of the record. */
int ipc_queue_fill(struct ipc_queue *q, struct stasis_error *err);
void ipc_queue_undo(struct ipc_queue *q);
/* In the process with that pid: be who sent, or received, the last one. */
int ipc_queue_touch(const struct ipc_queue *q, uint32_t pid, struct stasis_error *err);

/* read.c: inside of the IPC namespace. */
struct ipc_wish {
	enum ipc_type type;
	int32_t id;
	bool wants_pids_only; /* of a set: who used it */
};

/* Objects read, one behind the other: a head, a packed Object without id and holder, and content_len
 * bytes for messages or `size` for a segment. */
struct ipc_read_head {
	uint64_t record_len, content_len;
};
int ipc_read_objects(const struct ipc_wish *wishes, size_t nr, int to_fd, struct stasis_error *err);

/* ---- dump: save.c ---- */

/* An IPC namespace that processes of the tree are in. */
struct ipc_space {
	struct ipc_space *next;
	uint64_t ino;
	struct task *first; /* in it, in pre-order */
	bool is_own;
	struct ipc_rows rows;
};

struct ipc_saved {
	struct ipc_saved *next;
	struct ipc_space *space;
	Stasis__Object *rec; /* unpacked */
	uint64_t content_at; /* in the space's file */
	int content_fd;
};

struct ipc_save {
	struct session *s;
	struct tree *tree;
	const struct ipc_memory *memory;
	ns_obstacle_fn obstacle;
	void *obstacle_arg;
	struct arena arena;
	struct ipc_space *spaces;
	struct ipc_saved *saved; /* sets and queues */
	pid_t idle;		 /* a process without adjustments, to compare with: see undo.c */
};

/* queues.c */
int ipc_check_queues(struct ipc_save *i, const struct ipc_space *sp, struct stasis_error *err);

/* undo.c */
void ipc_undo_done(struct ipc_save *i);
/* Let `value` be added to the semaphore when the calling process ends; its value stays. */
int ipc_undo_set(const Stasis__SemUndo *u, struct stasis_error *err);
/* Be who changed it last. */
int ipc_undo_touch(int32_t id, size_t num, struct stasis_error *err);

#endif
