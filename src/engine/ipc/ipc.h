/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System V IPC (sysvipc(7)): shared memory segments, semaphore sets and message queues. The kernel does not say
 * which process uses a set or a queue, so this module decides which of them belong to a tree. The bytes and
 * attachments of shared memory are the memory module's; what a segment is besides is known here.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include "image/image.h"
#include "ns/ns.h"
#include "tree/tree.h"

enum ipc_type { IPC_SHM, IPC_SEM, IPC_MSG, IPC_NR_TYPES };

/* ---- dump ---- */

struct ipc_save;

/* A segment as the memory module knows it. */
struct ipc_segment {
	uint64_t object;    /* id of its Object */
	uint64_t ns_ino;    /* IPC namespace: inode of the file in /proc/PID/ns */
	int32_t id;
	size_t nr_attached; /* mappings of it in the tree */
	size_t task;	    /* index of the first that maps it */
	uint64_t readable;  /* bytes of it, from its start, that can be read without attaching it */
};

/* The memory module's side; `arg` goes along. */
struct ipc_memory {
	void *arg;
	/* The next one, from *pos = 0 on. */
	bool (*next)(void *arg, size_t *pos, struct ipc_segment *ret);
	/* One that nobody has attached, held by that task: id of its new Object, 0 with *err. */
	uint64_t (*add)(void *arg, size_t task, uint64_t ns_ino, int32_t id, struct stasis_error *err);
	/* What it is: rec stays; content_fd (-1: none), taken over, has its bytes. */
	int (*describe)(void *arg, uint64_t object, uint64_t size, Stasis__SysvIpc *rec, int content_fd,
			struct stasis_error *err);
};

/*
 * Find the objects of a stopped tree: all of an IPC namespace of its own, else those that a process of it
 * is attached to, created, used last or waits for. One that processes outside of the tree use as
 * well is recorded by its id; as an attached segment it is an obstacle without STASIS_EXTERNAL_SYSV. Reads
 * content (segments that nobody is attached to, values, messages) without changing it.
 */
int ipc_save_collect(struct session *s, struct tree *tree, struct ns_save *ns, const struct ipc_memory *memory,
		     ns_obstacle_fn obstacle, void *arg, struct ipc_save **ret, struct stasis_error *err);

/* Adjustments for the task's end (SEM_UNDO) into its record; the parasite is in. The list belongs to i. */
int ipc_save_undo(struct ipc_save *i, struct task *t, Stasis__Process *ret, struct stasis_error *err);

/* Write Object records and content of the sets and queues that t is the first to hold. */
int ipc_save_write(struct ipc_save *i, const struct task *t, uint64_t (*fresh)(void *arg), void *arg,
		   struct image_writer *w, struct stasis_error *err);
void ipc_save_free(struct ipc_save *i); /* NULL is fine */

/* ---- restart, one object, in the IPC namespace of the caller ---- */

/* Is the record sound? CORRUPT if not. */
int ipc_check_record(const Stasis__Object *o, struct stasis_error *err);

/* What is there under its id: 1 that very object, which nobody uses; 0 nothing, and its key is free. -1:
 * something is in the way, or an object of others is gone. */
int ipc_find(const Stasis__Object *o, struct stasis_error *err);

/* Make it with its id, without content and attributes. Needs CAP_CHECKPOINT_RESTORE. */
int ipc_make(struct session *s, const Stasis__Object *o, int flags, struct stasis_error *err);

/* Owner and mode, and whether shared memory is locked; what is not allowed is a warning. */
void ipc_set_attributes(struct session *s, const Stasis__Object *o);
void ipc_remove(const Stasis__Object *o);

/* ---- restart, sets and queues of a tree ---- */

struct ipc_load;

struct ipc_proc {
	pid_t pid;
	struct image *image;
	const Stasis__Process *process;
};

/* Read and check the records of all processes; `procs` must stay. Changes nothing. */
int ipc_load_plan(struct session *s, const struct ipc_proc *procs, size_t nr, struct ipc_load **ret,
		  struct stasis_error *err);

/* Can the objects of processes that have no IPC namespace of their own be had in the caller's? -1 with *err:
 * they can not; *ret_may_move: an IPC namespace of their own would do. */
int ipc_load_look(struct ipc_load *i, bool *ret_may_move, struct stasis_error *err);

/* In the master: make sets and queues, with what is in them. */
int ipc_load_make(struct ipc_load *i, struct stasis_error *err);

/* In process `index` of procs, which is in its namespaces, when the children exist: take over its
 * adjustments, and be who used a set or queue last. */
int ipc_load_attach(struct ipc_load *i, size_t index, struct stasis_error *err);

/* In the master after a failure: remove what was made, put back what was changed. */
void ipc_load_undo(struct ipc_load *i);
void ipc_load_free(struct ipc_load *i); /* NULL is fine */

#endif
