/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RESOURCE_RESOURCE_H
#define RESOURCE_RESOURCE_H

#include "image/image.h"
#include "tree/tree.h"

#include <fcntl.h>
#include <sys/stat.h>

struct fd_desc; /* one open file description of a dump */

/* Everything known of one descriptor of a stopped task without asking its kind. */
struct fd_probe {
	struct task *task;
	int fd; /* -1: held by no table, but in flight to one; see fd_save_adopt() */
	struct fd_desc *desc;
	char link[4200];  /* readlink of /proc/PID/fd/N */
	struct stat st;	  /* of the object behind it */
	uint32_t fs_magic; /* statfs f_type of its file system */
	uint32_t flags;	  /* F_GETFL, with O_CLOEXEC taken out */
	bool is_cloexec;
	bool is_path;	  /* O_PATH */
	uint64_t pos;
	uint64_t mnt_id;
	int local_fd;	  /* duplicate in this process (pidfd_getfd), or -1 when that is denied */
	char *fdinfo;	  /* text of /proc/PID/fdinfo/N */
};

struct fd_save; /* the descriptors of a whole dump; resource/fd_save.c */
struct fd_load; /* the descriptors of a whole restart; resource/fd_load.c */

/* How one kind of descriptor is saved and loaded. One per file, listed in kinds.c; the first whose
 * match() says yes has it. */
struct resource_kind {
	const char *name;			 /* "pipe": for messages and stasis_fd_info.kind */
	Stasis__Description__KindCase tag;	 /* record member it fills */
	bool (*match)(const struct fd_probe *p);
	/* Fill the kind's part of *ret (memory from fd_save_alloc()). An obstacle is UNSUPPORTED with
	 * text "what it is; way out" (session_passing() when the program is about to remove it); the caller adds "NAME(PID) fd N: ". With s->is_forced the caller
	 * turns it into an Unsupported record (unless *ret has a kind already: then that one is
	 * kept) and goes on. Must not change the target. */
	int (*save)(struct session *s, struct fd_save *c, const struct fd_probe *p,
		    Stasis__Description *ret, struct stasis_error *err);
	/* What depends on other descriptions, when save() was called for all of the tree: which of
	 * them is at the other end. May be NULL; obstacles as with save(). */
	int (*settle)(struct session *s, struct fd_save *c, struct fd_desc *d,
		      struct stasis_error *err);
	/* Write further records and bulk content of a description that save() recorded, behind its
	 * DESCRIPTION record; once for each file, which is t's. May be NULL. */
	int (*write)(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		     struct image_writer *w, struct stasis_error *err);
	/* Check, without changing anything, that load() can succeed here. May be NULL. With
	 * s->is_forced a failure that can be survived makes the descriptor /dev/null. */
	int (*verify)(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err);
	/* Open it in the restoring master and return the descriptor (any number; the caller moves it,
	 * sets F_SETFL flags that open could not, and F_SETOWN). */
	int (*load)(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err);
	/* The rest may be NULL; in the order in which they are called. Not called for a description
	 * that became /dev/null or a path of the user's; one that it refers to may have. */

	/* In the master, when every description is open and no process exists: what needs others. */
	int (*wire)(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err);
	/* In each restored process, for each of its descriptors that refer to it, when they are at
	 * their numbers, the master's copies are closed and every process of the tree exists. */
	int (*attach)(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid,
		      int fd, struct stasis_error *err);
	/* In the master, whose copies are still open, when every process and thread exists and
	 * stands still. Failure still ends the restart, without a trace. */
	int (*finish)(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err);
	bool is_finished_last; /* after all kinds without it */
};

extern const struct resource_kind *const resource_kinds[]; /* NULL at the end */

/* ---- dump ---- */

/*
 * Look at every descriptor of every live task: find shared descriptions (same key, then kcmp order),
 * match kinds, save each description once. Obstacles go to `obstacle` (may be NULL), all of them, with
 * a text that does not name task and descriptor; then the function fails with the first, as "NAME(PID)
 * fd N: text", unless s->is_forced: then it goes on, and warns itself only when `obstacle` is NULL.
 * fd is -1 for what concerns the whole descriptor table. Nothing is written to the image.
 *
 *   objects       owner of deleted files and memfds (the memory module) and of object ids
 *   choices       from the options: descriptors to ignore or to copy
 */
struct object_source {
	void *arg;
	/* See mem_save_object(): id of the object behind `fd`, 0 with *err on failure. */
	uint64_t (*get)(void *arg, struct task *t, const struct stat *st, int fd, const char *link,
			struct stasis_error *err);
	uint64_t (*fresh)(void *arg); /* an id for an object of our own (pipe) */
};
typedef void (*fd_obstacle_fn)(void *arg, struct task *t, int fd, const char *text);
int fd_save_collect(struct session *s, struct tree *tree, const struct stasis_fd_choice *choices,
		    size_t nr_choices, fd_obstacle_fn obstacle, void *obstacle_arg,
		    const struct object_source *objects, struct fd_save **ret,
		    struct stasis_error *err);

/* Write FDTABLE, the DESCRIPTIONs it refers to, an OBJECT record for each pipe it refers to, and the
 * content of those pipes whose first holder in pre-order this task is. */
int fd_save_write(struct fd_save *c, struct task *t, struct image_writer *w,
		  struct stasis_error *err);

/* -C: copy the chosen regular files into dirfd as <com>.<pid>.<filename>.<fd>, before
 * fd_save_write(), which records the names. Owner, mode and times are the file's, so that a copy put
 * back by hand is not taken for a changed file. On failure the copies made so far are deleted; when a
 * later step fails, fd_save_discard_copies() does it. */
int fd_save_copy_files(struct fd_save *c, int dirfd, bool all, struct stasis_error *err);
void fd_save_discard_copies(struct fd_save *c);

/* Before fd_save_write(): every process of the tree is killed when all is saved. Connections to the
 * outside then go on after a restart. */
void fd_save_set_ending(struct fd_save *c);
/* The processes have been sent their SIGKILL, and run no more: let go of their connections, in silence.
 * Does nothing without the call above. */
void fd_save_end(struct fd_save *c);

/* Descriptors of one task for stasis_tree_info (malloc()ed as that structure demands). */
int fd_save_describe(struct fd_save *c, struct task *t, struct stasis_proc_info *ret,
		     struct stasis_error *err);
void fd_save_free(struct fd_save *c); /* NULL is fine */

/* The same from an image file, without looking at the files it names. */
int fd_describe_image(struct image *img, struct stasis_proc_info *ret, struct stasis_error *err);

/*
 * A description may need others: an epoll instance its members, a socket the descriptors in flight in
 * it. These are then saved, are in each file that has the one that refers to them, and are loaded,
 * also when no table holds them. For save(), whose own description is fd_probe.desc.
 */

/* The description behind a descriptor of a task; NULL when it has no such descriptor. */
struct fd_desc *fd_save_desc_at(struct fd_save *c, const struct task *t, int fd);

/* The description behind a descriptor of this process, which is taken over, also on failure (NULL):
 * the one of the tree when kcmp(2) finds it there, else a new one that is held by no table. `from` is
 * the description whose save() came across it. */
struct fd_desc *fd_save_adopt(struct fd_save *c, const struct fd_desc *from, int local_fd,
			      struct stasis_error *err);

/* Let `from` refer to `to`. Returns the id of `to`, 0 without memory. */
uint64_t fd_save_refer(struct fd_save *c, struct fd_desc *from, struct fd_desc *to);

/* Is the control terminal of session sid (an id of ours) a pseudo-terminal whose master is in the tree? */
bool fd_save_has_tty(struct fd_save *c, pid_t sid);

/* Zeroed memory that lives as long as c, for records. */
void *fd_save_alloc(struct fd_save *c, size_t len);
char *fd_save_strdup(struct fd_save *c, const char *text);

/* ---- restore ---- */

struct fd_proc {
	pid_t pid;
	struct image *image;
	const Stasis__FdTable *table;
};

/* Object content for load(): size and bytes of an object from its holder's image. */
const Stasis__Object *fd_load_object(struct fd_load *c, uint64_t id);
int fd_load_object_bytes(struct fd_load *c, uint64_t id, uint64_t offset, void *buf, size_t len,
			 struct stasis_error *err);

/* Index all descriptions of the tree (a description is in every file that refers to it: the copies
 * must agree), apply choices, check each (files there and unchanged: else a warning; missing: error).
 * Changes nothing. */
int fd_load_plan(struct session *s, const struct fd_proc *procs, size_t nr,
		 const struct stasis_restore_opts *opts, struct fd_load **ret,
		 struct stasis_error *err);

/* The descriptors of the restart itself have numbers from the base up to, not including, the end: no
 * process of the tree uses those. */
int fd_load_base(const struct fd_load *c);
int fd_load_end(const struct fd_load *c);

/* How a memfd or deleted file that is also mapped is found: one descriptor for both. */
typedef int (*object_fd_fn)(void *arg, uint64_t object);
void fd_load_set_object_fd(struct fd_load *c, object_fd_fn fn, void *arg);

/* The foreground process group that the terminal shall get in fd_load_finish(), as a pid of the
 * caller's pid namespace; 0 (the default) leaves the terminal to whom it belongs. */
void fd_load_set_foreground(struct fd_load *c, pid_t pgrp);

/* Let fd_load_open_all() cut files that are open for writing and grew since the checkpoint back to
 * their length then; the cut tail is kept beside them as NAME.after-checkpoint. */
void fd_load_set_rollback(struct fd_load *c);

/* In the master: open every description once, numbered fd_load_base() and up. Files that this changes
 * on demand (STASIS_RESTORE_COPY_BACK, rollback) are put back by fd_load_free() unless fd_load_finish()
 * was called, both in the process that called this. */
int fd_load_open_all(struct fd_load *c, struct stasis_error *err);

/* In a restored process: put the descriptors of this process at their numbers. All others are closed,
 * but for the master's copies, which stay open until the caller closes them (close_range). */
int fd_load_install(struct fd_load *c, pid_t pid, struct stasis_error *err);

/* In a restored process, after fd_load_install() and when the copies are closed: what belongs to the
 * process rather than to the description, POSIX locks aside. */
int fd_load_attach(struct fd_load *c, pid_t pid, struct stasis_error *err);

/* In a restored process, between fd_load_open_all() and fd_load_install(), for a session whose control
 * terminal is a pseudo-terminal of the tree (else nothing): its leader takes it, before it has children
 * in the session; a member lets go of what it did not have; the leader sets the foreground group, when
 * all have joined theirs. */
int fd_load_take_tty(struct fd_load *c, pid_t sid, struct stasis_error *err);
void fd_load_leave_tty(struct fd_load *c, pid_t sid);
void fd_load_set_tty_group(struct fd_load *c, pid_t sid);

/* POSIX locks of a process, which it must take itself (F_SETLK) when it will not close another descriptor
 * of the same file. `from` is 0 for the first, then what the call before returned; 0: no more. */
struct fd_lock {
	uint32_t index; /* for fd_describe_lock() */
	int fd;
	struct flock range;
};
size_t fd_load_next_lock(struct fd_load *c, pid_t pid, size_t from, struct fd_lock *ret);
/* "'FILE': write lock of bytes 3 to 7", for a message. */
void fd_describe_lock(struct image *img, const Stasis__FdTable *table, uint64_t index, char *buf,
		      size_t len);

/* After everything else: owners of descriptors (F_SETOWN), terminals' settings and foreground group,
 * SIGWINCH when the window changed. Called in the master while its copies are still open, when every
 * process and thread exists and none runs yet; closes them. */
int fd_load_finish(struct fd_load *c, struct stasis_error *err);
void fd_load_free(struct fd_load *c); /* NULL is fine */

#endif
