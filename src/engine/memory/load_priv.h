/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the restart side share. After mem_load_plan() all of it is checked: addresses
 * are in bounds, runs lie in mappings, objects exist. */
#ifndef MEMORY_LOAD_PRIV_H
#define MEMORY_LOAD_PRIV_H

#include "memory/memory.h"
#include "memory/table.h"

#define MEM_PAGE 4096ull
#define HUGE	 (2ull << 20)
#define TASK_MAX 0x7ffffffff000ull /* end of user addresses, 4-level page tables */
#define NONE	 SIZE_MAX

/* Stored pages of a process: where they go and where they are in its file. */
struct load_seg {
	uint64_t addr, len, offset;
	size_t vma;
	bool is_late; /* its digest is checked when it is loaded */
	uint64_t digest;
};

struct load_vma {
	const Stasis__Vma *v;
	size_t object;	/* index into mem_load.objects, NONE */
	size_t first_seg, nr_segs;
	bool is_staged; /* not one of the kernel's */
	bool is_private;
	bool has_inherited; /* some of its pages are the parent's */
	bool is_wanted;	    /* some of its pages are a child's */
};

struct load_proc {
	const struct mem_proc *p;
	size_t parent; /* index, NONE */
	bool has_children;
	bool may_huge;
	size_t nr_vmas, nr_segs;
	struct load_vma *vmas;
	struct load_seg *segs;
};

/* Stored bytes of an object: in the file of its holder. */
struct bulk_seg {
	size_t object;
	uint64_t at, len, offset;
};

struct load_object {
	const Stasis__Object *rec;
	size_t holder; /* process index, NONE when its file is not there */
	size_t first_bulk, nr_bulk;
	bool is_mapped_shared;
	bool has_master; /* reached through a mapping instead of a descriptor */
	bool is_reserved; /* some mapping of it counts as committed memory */
	uint64_t master; /* address */
	bool has_reader; /* System V: some mapping of it may only read */
	bool is_made;	 /* System V, /dev/shm: by us; else it was there */
	bool differs;	 /* /dev/shm: it was there with other bytes */
	uint64_t reader; /* address of a master mapping of that kind */
	int fd;
};

/* A stretch of addresses that is moved as one: final [start, end) is staged at + delta. Where nothing
 * of ours is in the way it is reserved and staged in place: delta 0, nothing to move. */
struct load_span {
	uint64_t start, end, delta;
};

/* A mapping now in the staging area of this process, at its final address. One kernel mapping, or
 * part of one. */
struct piece {
	uint64_t start, end;
	uint32_t prot; /* that it has now */
	size_t vma;    /* of the process that made it */
	bool is_private;
	bool is_dontfork; /* by us */
};

struct piece_list {
	size_t nr, cap;
	struct piece *v; /* ascending */
};

struct mem_load {
	struct session *s;
	bool quiet_files;
	bool warned_policy;
	size_t nr_procs;
	struct load_proc *procs;
	struct index by_pid;
	size_t nr_objects, cap_objects;
	struct load_object *objects;
	struct index object_index;
	size_t nr_bulk, cap_bulk;
	struct bulk_seg *bulk;
	size_t nr_spans;
	struct load_span *spans;
	uint64_t zone;
	pid_t owner; /* process that made the reservations of spans that are staged in place */
	bool is_released; /* this process has given them up */
	struct piece_list pieces; /* of the process that this is a copy in */
	size_t current;		  /* its index, NONE in the builder */
};

/* load_check.c: one process's mappings, stored and inherited pages. */
int load_check_proc(struct mem_load *m, size_t index, struct stasis_error *err);
int load_check_inherited(struct mem_load *m, size_t index, struct stasis_error *err);

/* load_index.c: objects of all images. */
int load_find_objects(struct mem_load *m, struct stasis_error *err);
int load_check_objects(struct mem_load *m, struct stasis_error *err);
size_t load_object_index(const struct mem_load *m, uint64_t id); /* or NONE */

/* load_files.c */
int load_check_files(struct mem_load *m, struct stasis_error *err);
int load_open_file(const Stasis__Vma *v, struct stasis_error *err);

/* load_space.c */
int load_plan_space(struct mem_load *m, size_t zone_len, struct stasis_error *err);
int load_check_commit(struct mem_load *m, struct stasis_error *err);
int load_check_hugetlb(const struct mem_load *m, struct stasis_error *err);
void load_free_space(struct mem_load *m);
const struct load_span *load_span_of(const struct mem_load *m, uint64_t addr); /* it is in one */
uint64_t load_staging(const struct mem_load *m, uint64_t addr);

/* load_aio.c: is the record sound; do contexts like these come out here; make one whose ring is at
 * `at`, where something of its length is mapped. */
int load_check_aio(const Stasis__Vma *v, struct stasis_error *err);
int load_try_aio(const struct mem_load *m, struct stasis_error *err);
int load_make_aio(const Stasis__Vma *v, void *at, struct stasis_error *err);

/* load_object.c */
uint64_t load_object_len(const struct load_object *o); /* whole pages */

/* Fill a mapping of the whole object, which is zero. */
int load_fill_object(struct mem_load *m, const struct load_object *o, void *at, struct stasis_error *err);

/* The bytes that are stored, at their places in a file of its size; owner, mode and time of a file. */
int load_fill_file(struct mem_load *m, const struct load_object *o, int fd, struct stasis_error *err);
void load_set_attributes(const struct mem_load *m, const Stasis__FileId *id, int fd);

/* load_shm.c: files of /dev/shm; is there an object for this path, which makes it if need be? */
int load_make_shm(struct mem_load *m, struct load_object *o, struct stasis_error *err);
int load_finish_shm(struct mem_load *m, struct load_object *o, struct stasis_error *err);
void load_undo_shm(struct mem_load *m, const struct load_object *o);
bool load_has_shm(const struct mem_load *m, const char *path);

/* load_sysv.c */
int load_finish_sysv(struct mem_load *m, struct load_object *o, struct stasis_error *err);
void load_undo_sysv(struct mem_load *m, const struct load_object *o);
int load_make_sysv(struct mem_load *m, struct load_object *o, struct stasis_error *err);

/* load_map.c: a new mapping at its staging address. The cache keeps the last file open, because
 * the mappings of a library follow each other. */
struct file_cache {
	int fd; /* -1 for none */
	const Stasis__Vma *v;
};
void file_cache_done(struct file_cache *c);
int load_map_piece(struct mem_load *m, const struct load_vma *lv, struct file_cache *cache,
		   uint64_t start, uint64_t end, struct piece *ret, struct stasis_error *err);

/* NUMA policy of a mapping that is at `at` now; one that is not possible here is warned of. */
void load_set_policy(struct mem_load *m, const Stasis__Vma *v, void *at, uint64_t len);

/* Protection with which a mapping is staged, before its content is in: load_keys.c tells why. */
uint32_t load_staged_prot(const Stasis__Vma *v);

enum { LOAD_NR_PKEYS = 16 };

/* Allocate the protection keys that a process has (and those that its mappings still have), with full access for
 * the calling thread; give a mapping that is at `at` now its own, and its final protection; free what the
 * process had freed. */
int load_take_pkeys(const struct load_proc *lp, struct stasis_error *err);
int load_set_pkey(const struct load_proc *lp, const Stasis__Vma *v, void *at, uint64_t len,
		  struct stasis_error *err);
void load_free_pkeys(const struct load_proc *lp);

/* One readable and writable anonymous mapping for neighbours that are like lv. */
int load_map_group(struct mem_load *m, const struct load_vma *lv, uint64_t start, uint64_t end,
		   struct stasis_error *err);

/* load_fill.c */
int load_fill(struct mem_load *m, const struct load_proc *lp, struct stasis_error *err);

/* Neighbouring pieces from *i on that are kept from children, as one range of final addresses; *i
 * goes on behind them. false: there are no more. */
bool piece_next_dontfork(const struct mem_load *m, const struct piece_list *l, size_t *i,
			 uint64_t *ret_start, uint64_t *ret_end);
int piece_add(struct piece_list *l, const struct piece *p, struct stasis_error *err);

#endif
