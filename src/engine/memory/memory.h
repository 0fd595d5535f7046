/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "image/image.h"
#include "ipc/ipc.h"
#include "memory/vma.h"
#include "tree/tree.h"

#include <sys/stat.h>

/*
 * Dump side. One mem_save per dump; knows every task's mappings, which pages hold data, which shared
 * objects they refer to and which pages are one with the parent's.
 */
struct mem_save;

/*
 * Read the mappings of every live task (tree stopped, before any parasite is in), classify them,
 * find shared objects (by device and inode) and the pages to store. Nothing is written. A mapping
 * that cannot be saved is reported through `obstacle` ("mapping START-END (name): what; way out"),
 * all of them, then the function fails with the first, unless s->is_forced.
 */
typedef void (*obstacle_fn)(void *arg, struct task *t, int fd, const char *text);
int mem_save_plan(struct session *s, struct tree *tree, obstacle_fn obstacle, void *arg,
		  struct mem_save **ret, struct stasis_error *err);

/*
 * Memory owns every object of type SHARED_ANON, MEMFD and DELETED_FILE, also when it is only open and
 * not mapped. The descriptors' side registers what it finds: the object behind `fd` (a duplicate in
 * this process; memory duplicates it again for reading the content) of task t. Returns its id (> 0),
 * the same for every holder of one (st_dev, st_ino), or 0 with *err.
 */
uint64_t mem_save_object(struct mem_save *m, struct task *t, const struct stat *st, int fd,
			 const char *link, struct stasis_error *err);

/* A fresh object id, for objects of others (pipes). */
uint64_t mem_save_fresh_id(struct mem_save *m);

/* Fill the Mm record of a task (strings and arrays belong to m). */
int mem_save_record(struct mem_save *m, struct task *t, Stasis__Mm *ret, struct stasis_error *err);

/* Have the parasite, which is in, put together what mem_save_record() and inject_collect() will want. */
int mem_save_ask(struct mem_save *m, struct task *t, struct stasis_error *err);

/*
 * Write into the image of this task (parasite in, asked by inject_collect()) its pages, with digests. The task
 * does that itself; it may be busy with the last of them until the end, which adds the Object records of
 * everything it maps or registered, the content of those objects whose first holder in pre-order it
 * is, and the "CORE" NT_FILE note. For a process of which no memory is saved, the end alone.
 */
int mem_save_begin_write(struct mem_save *m, struct task *t, struct image_writer *w,
			 struct stasis_error *err);
int mem_save_end_write(struct mem_save *m, struct task *t, struct image_writer *w,
		       struct stasis_error *err);

/* The segments of System V shared memory, for ipc_save_collect(). */
struct ipc_memory mem_save_sysv(struct mem_save *m);

void mem_save_free(struct mem_save *m); /* NULL is fine */

/*
 * Restore side. Memory of a process is built in a staging area of the restoring process itself, at
 * addresses that no process of the tree uses, before its children are forked, so that they inherit
 * copy-on-write pages; the restorer only moves it into place (mremap).
 */
struct mem_load;

/* One process to restore. */
struct mem_proc {
	pid_t pid, ppid;
	struct image *image;
	const Stasis__Mm *mm;
};

/*
 * Plan for all processes of the tree: checks every mapping (overlaps, bounds, files present and
 * unchanged: warnings; missing: error), finds room for the staging area and `zone_len` bytes for the
 * restorer (`mem_load_zone()`) outside of every address any process uses or the caller has mapped.
 */
int mem_load_plan(struct session *s, const struct mem_proc *procs, size_t nr, size_t zone_len,
		  bool quiet_files, struct mem_load **ret, struct stasis_error *err);
uint64_t mem_load_zone(const struct mem_load *m);

/* In the restoring master, once: make shared objects (anonymous shared memory, memfds, deleted files)
 * and fill them from the holders' images. Descriptors made here are numbered fd_base and up.
 * mem_load_object_fd() gives the descriptor of a memfd or deleted file, opened O_RDWR, or -1. */
int mem_load_objects(struct mem_load *m, int fd_base, struct stasis_error *err);
int mem_load_object_fd(const struct mem_load *m, uint64_t object);

/* In the master, when every process stands still: the content of System V segments and files in /dev/shm that
 * were there before, and our own attachments go. After a failure instead: what was made by us goes. */
int mem_load_finish(struct mem_load *m, struct stasis_error *err);
void mem_load_undo(struct mem_load *m);

/* In process `index` (of procs), before it forks its children: map and fill its private memory in
 * the staging area. Files for its mappings are opened and mapped here too. */
int mem_load_stage(struct mem_load *m, size_t index, struct stasis_error *err);

/* After its children are forked: the moves that the restorer has to make, in order. */
struct mem_move {
	uint64_t from, to, len;
	uint64_t advice; /* enum vma_flags that want an madvise or mlock after the move */
};
/* vDSO, vvar and vsyscall mappings are not in this list: restore/ places them. */
int mem_load_moves(struct mem_load *m, size_t index, struct mem_move **ret, size_t *ret_nr,
		   struct stasis_error *err);

/* Address ranges of the staging areas and object mappings of process `index`, ascending, merged:
 * everything the restorer must not unmap before the moves, besides its zone. */
struct mem_range {
	uint64_t start, end;
};
int mem_load_keep(struct mem_load *m, size_t index, struct mem_range **ret, size_t *ret_nr,
		  struct stasis_error *err);

void mem_load_free(struct mem_load *m);

#endif
