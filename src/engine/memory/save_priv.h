/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the dump side share: the plan of a dump's memory. */
#ifndef MEMORY_SAVE_PRIV_H
#define MEMORY_SAVE_PRIV_H

#include "lib/arena.h"
#include "memory/memory.h"
#include "memory/pagemap.h"
#include "memory/table.h"

#define MEM_PAGE 4096u
#define NO_FILE	 SIZE_MAX
#define HUGETLB_BYTES (2u << 20)
#define SAVE_AIO_EVENT 32u /* bytes of a struct io_event */

/* A file behind mappings, as found at its path. */
struct save_file {
	char *vma_path; /* as smaps has it */
	uint64_t dev, ino;
	size_t next;	/* file with the same dev and ino, or NO_FILE */
	Stasis__FileId id; /* id.deleted: it is gone from its path, or another one is there */
};

/* A mapping of an object: where its bytes can be read when there is no descriptor. */
struct object_map {
	size_t task, vma;
};

/* Shared memory, memfd or deleted file. */
struct save_object {
	uint64_t id, dev, ino;
	Stasis__ObjectType type;
	uint64_t size;
	bool has_size; /* known from the inode, not only from its mappings */
	bool has_swap;
	uint32_t seals;
	Stasis__FileId file;
	uint64_t ns_ino; /* System V: its IPC namespace and id, and what ipc/ says of it */
	int32_t shmid;
	Stasis__SysvIpc *sysv;
	size_t holder; /* index of the first task in pre-order */
	int fd;	       /* ours, -1 for none */
	size_t nr_maps, cap_maps;
	struct object_map *maps;
};

/* What is saved of one mapping. */
struct save_vma {
	Stasis__VmaKind kind;
	bool is_skipped; /* an obstacle that was forced: not in the image */
	uint32_t file_flags;
	size_t file;	/* NO_FILE for none */
	uint64_t object; /* id, 0 for none */
	size_t first_run, nr_runs; /* of save_task.runs */
};

struct save_task {
	struct task *t;
	struct vma_list vmas;
	struct save_vma *sv; /* one per mapping */
	struct run_list runs, inherited, guards;
	size_t nr_objects, cap_objects;
	uint64_t *objects; /* ids it refers to, each once */
	int pagemap_fd;
	uint64_t vdso_start, vdso_end;
	uint8_t *vdso; /* its bytes */
	struct save_batch *batch; /* pages on their way, see save_write.c */
};

struct mem_save {
	struct session *s;
	struct tree *tree;
	obstacle_fn obstacle;
	void *obstacle_arg;
	size_t nr_obstacles;
	struct stasis_error first; /* first obstacle */
	struct pagemap pm;
	uint64_t shm_dev; /* the kernel's own tmpfs: shared anonymous memory and memfds */
	uint64_t next_id;
	size_t nr_tasks;
	struct save_task *tasks; /* one per task of the tree */
	size_t nr_files, cap_files;
	struct save_file *files;
	struct index file_index;
	size_t nr_objects, cap_objects;
	struct save_object *objects;
	struct index object_index; /* (dev, ino) */
	struct index object_by_id;
	struct index refs; /* (object id, task) */
	struct arena arena; /* what the records point to */
};

/* "mapping START-END (name): text", to the caller of mem_save_plan(). */
void save_obstacle(struct mem_save *m, struct task *t, const struct vma *v, const char *text);

/* save_file.c: the file behind a mapping; *ret_file gets its index. */
int save_find_file(struct mem_save *m, struct task *t, const struct vma *v, size_t *ret_file,
		   struct stasis_error *err);
void save_file_id(Stasis__FileId *id, const struct stat *st);
bool save_is_same_file(uint64_t dev, uint64_t ino, const struct stat *st);

/* save_classify.c: what kind of mapping is it; obstacles are reported. */
int save_classify(struct mem_save *m, size_t task, size_t vma, struct stasis_error *err);

/* save_object.c */
struct save_object *save_object_by_id(struct mem_save *m, uint64_t id);
int save_object_of_vma(struct mem_save *m, size_t task, size_t vma, Stasis__ObjectType type,
		       uint64_t *ret_id, struct stasis_error *err);
int save_object_of_sysv(struct mem_save *m, size_t task, size_t vma, uint64_t *ret_id,
			struct stasis_error *err);
int save_object_refer(struct mem_save *m, size_t task, uint64_t id, struct stasis_error *err);
/* Open what a task maps, as root; -1 without a message. */
int save_open_mapped(const struct task *t, const struct vma *v);
void save_objects_done(struct mem_save *m);

/* save_object.c: POSIX shared memory that has its name still? */
bool save_is_shm_file(const struct mem_save *m, const char *path, uint64_t dev);

/* save_object.c, for save_sysv.c */
struct save_object *save_object_get(struct mem_save *m, uint64_t dev, uint64_t ino, size_t task,
				    bool *ret_is_new, struct stasis_error *err);
int save_object_add_map(struct save_object *o, size_t task, size_t vma, const struct vma *v,
			struct stasis_error *err);

/* save_content.c: bytes of an object into the image of its holder. */
int save_object_content(struct mem_save *m, struct save_object *o, struct image_writer *w,
			struct stasis_error *err);

/* save_pages.c: stored and inherited runs of a task. */
int save_find_pages(struct mem_save *m, size_t task, struct stasis_error *err);

/* save_aio.c: wait for requests in flight, then (parasite in) fill the record of a ring. */
void save_aio_settle(const struct mem_save *m);
int save_aio_record(struct mem_save *m, const struct save_task *st, const struct vma *v,
		    Stasis__Vma *ret, struct stasis_error *err);

/* save_lock.c: is what the task maps from now on locked? MCL_* flags; the parasite is in. */
int save_lock_future(const struct save_task *st, uint32_t *ret, struct stasis_error *err);

/* save_policy.c: NUMA policies into the record, whose mappings are there. */
int save_policies(struct mem_save *m, struct task *t, Stasis__Mm *mm, struct stasis_error *err);

/* save_notes.c */
int save_note_files(struct mem_save *m, struct save_task *st, struct image_writer *w,
		    struct stasis_error *err);

#endif
