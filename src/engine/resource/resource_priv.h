/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder know of each other. */
#ifndef RESOURCE_RESOURCE_PRIV_H
#define RESOURCE_RESOURCE_PRIV_H

#include "lib/arena.h"
#include "lib/io.h"
#include "lib/scoped.h"
#include "resource/resource.h"

#include <fcntl.h>
#include <signal.h>

/* Bits of F_GETFL that fdinfo shows in addition: close-on-exec belongs to the descriptor. */
#define FDINFO_CLOEXEC 02000000u

/* ---- dump ---- */

/* One descriptor of one task. */
struct fd_entry {
	struct task *task;
	int fd;	      /* -1 when adopted */
	int local_fd; /* ours, -1 unless adopted: see refer.c */
	uint32_t flags;
	bool is_cloexec;
	bool is_ignored; /* the user does not want it saved */
	bool wants_copy; /* the user wants a copy of the file */
	uint64_t pos, mnt_id, ino;
	char *fdinfo;
	struct fd_desc *desc;
};

/* One open file description. */
struct fd_desc {
	Stasis__Description rec;
	const struct resource_kind *kind; /* NULL: unsupported and forced, or not saved */
	struct fd_entry *first;		  /* through which it is looked at */
	struct stat st;
	uint32_t fs_magic;
	char *link;
	struct pipe_object *pipe; /* when it is an end of one */
	struct tcp_conn *tcp;	  /* when it is one; see tcp.h */
	struct unix_saved *unix_socket; /* when it is one; see unix.h */
	char *obstacle;	 /* why it cannot be saved */
	bool is_used;	 /* a descriptor or description that is to be saved refers to it */
	bool is_counted; /* save_desc() has looked at it */
	bool is_saved;
	size_t nr_refers, refers_room;
	struct fd_desc **refers; /* those it refers to; rec.refers has their ids */
	size_t held;		 /* 1 + index of the last task found to hold it: pipe_find_holders() */
	bool wants_copy; /* one of its descriptors does */
	size_t written;	 /* 1 + index of the last task whose image got it */
};

/* A pipe or FIFO with all that the tree has of it; see pipe_bytes.c. */
struct pipe_object {
	dev_t dev;
	ino_t ino;
	unsigned nr_readers, nr_writers; /* descriptions in the tree that can read, write */
	uint32_t flags;			 /* all their F_GETFL together */
	struct task *holder;		 /* first in pre-order */
	const struct fd_entry *reader;	 /* a descriptor that can read it */
	bool is_read;	/* rec and bytes are filled */
	uint8_t *bytes; /* its content, or NULL when that is read again at the write */
	Stasis__Object rec;
	Stasis__FileId name; /* what rec.file points to */
	size_t written;	     /* like fd_desc.written */
};

struct copied_file {
	char *name;
	struct copied_file *next;
};

/* The descriptors of one task. */
struct fd_list {
	struct fd_entry *entries;
	size_t nr;
	struct arena arenas[2]; /* of one thread each */
};

struct fd_save {
	struct session *s;
	struct tree *tree;
	struct object_source objects;
	fd_obstacle_fn obstacle;
	void *obstacle_arg;
	struct arena arena;
	struct fd_entry *entries; /* by task, then ascending */
	size_t nr_entries;
	struct fd_list *lists; /* of each task; the entries' texts are theirs */
	size_t nr_lists;
	size_t *task_first; /* index of each task's first entry; one more at the end */
	struct fd_desc **descs; /* by first entry */
	size_t nr_descs, desc_room;
	bool is_kcmp_denied;
	struct fd_probe *probe; /* the one in use; too large for a stack */
	void *pipes; /* tsearch(3) tree of struct pipe_object */
	size_t pipe_bytes_kept;
	struct pty_pair *pty_pairs; /* see pty_save.c */
	bool has_pty_pairs;	    /* they have been looked for */
	int scratch[2]; /* our pipe for tee() */
	uint64_t last_dev; /* file system whose magic is known */
	uint32_t last_magic;
	size_t nr_obstacles;
	struct stasis_error first_obstacle;
	struct tcp_save *tcp; /* all connections, NULL when there is none */
	unsigned stdio_displaced; /* bits of 0, 1 and 2: see pipe.c */
	bool is_ending;	      /* the tree is killed when all is saved */
	struct copied_file *copies;
	int copies_dirfd;
	struct unix_table *unix_table; /* every Unix socket of the machine, NULL until needed */
	struct unix_guard *unix_guard, *unix_viewer; /* see unix_guard.c */
	struct mqueue_saved *mqueues;		     /* see mqueue_save.c */
	size_t nr_searched; /* names that watch_find() has looked at in folders */
};

/* probe.c: in any thread, the descriptors of a task. */
int probe_list(struct task *t, struct fd_list *ret, struct stasis_error *err);
int probe_open(struct fd_save *c, struct fd_desc *d, struct fd_probe **ret,
	       struct stasis_error *err);
void probe_close(struct fd_probe *p);
void probe_closep(struct fd_probe **p);
int probe_local(struct fd_save *c, struct fd_entry *e, struct stasis_error *err);
int entry_get_fd(const struct fd_entry *e, struct stasis_error *err); /* a duplicate of it, ours */
/* All of its fdinfo, which the probe cuts: the caller frees it. */
int entry_read_fdinfo(const struct fd_entry *e, char **ret, struct stasis_error *err);

/* sharing.c */
int sharing_find(struct fd_save *c, struct stasis_error *err);
struct fd_entry *fd_save_find(struct fd_save *c, const struct task *t, int fd);
/* The known description with e's key and kcmp order, NULL when there is none. */
struct fd_desc *sharing_find_twin(struct fd_save *c, const struct fd_entry *e);
int sharing_add(struct fd_save *c, struct fd_desc *d);

/* fd_save.c */
void fd_save_report(struct fd_save *c, struct task *t, int fd, const char *text,
		    enum stasis_errclass cls);

/* file_id.c: how a file is named in an image, found again and opened again */
enum path_state {
	PATH_SAME,    /* the path leads to this very file */
	PATH_DELETED, /* no path leads there any more */
	PATH_OTHER,   /* the path leads elsewhere: other mount namespace, or mounted over */
};
enum path_state file_path_state(const struct fd_probe *p);
Stasis__FileId *file_id_make(struct fd_save *c, const struct fd_probe *p);
void file_id_fill(Stasis__FileId *ret, const struct stat *st, char *path);
/* Save the path of something that is opened again by it; *ret stays without a path ("deleted") when
 * allow_deleted and it has none. */
int file_id_save(struct fd_save *c, const struct fd_probe *p, bool allow_deleted,
		 Stasis__FileId **ret, struct stasis_error *err);
int file_id_check(const Stasis__FileId *f, struct stasis_error *err);
/* stat it and compare the file type. GONE when missing or of another type. */
int file_id_find(const Stasis__FileId *f, bool nofollow, struct stat *ret,
		 struct stasis_error *err);
int file_check_access(const char *path, uint32_t flags, struct stasis_error *err);
uint32_t file_open_flags(uint32_t flags);
int file_reopen(const char *path, const Stasis__Description *d, struct stasis_error *err);
int file_seek(int fd, uint64_t pos, const char *path, struct stasis_error *err);
bool file_is_generated(uint32_t fs_magic);
/* An unlinked folder (mkdtemp) or FIFO in /tmp. */
int file_open_unlinked(mode_t type, const Stasis__Description *d, struct stasis_error *err);
int fd_reopen(int fd, uint32_t flags); /* a description of its own of what fd refers to */

/* pipe_bytes.c */
struct pipe_object *pipe_object_get(struct fd_save *c, dev_t dev, ino_t ino);
int pipe_count(struct fd_save *c, struct fd_desc *d, struct stasis_error *err);
void pipe_find_holders(struct fd_save *c);
int pipe_object_save(struct fd_save *c, const struct fd_probe *p, uint64_t *ret_id,
		     struct stasis_error *err);
/* Whether an end of p's pipe is outside of the tree: UNSUPPORTED. */
int pipe_check_ends(struct fd_save *c, const struct fd_probe *p, struct stasis_error *err);
/* The write() of both kinds. */
int pipe_write_object(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
		      struct image_writer *w, struct stasis_error *err);
void pipe_objects_free(struct fd_save *c);

/* unix_diag.c, unix_make.c */
void unix_save_done(struct fd_save *c);
void unix_load_free(struct fd_load *c);

/* mqueue_save.c, mqueue_load.c; kept: the restart has succeeded */
void mqueue_save_done(struct fd_save *c);
void mqueue_load_keep(struct fd_load *c);
void mqueue_load_undo(struct fd_load *c);

/* pipe_load.c */
int pipe_fill(struct fd_load *c, int fd, const Stasis__Object *o, struct stasis_error *err);
int pipe_check_object(struct fd_load *c, uint64_t id, bool is_external, struct stasis_error *err);

/* tcp_save.c */
void tcp_save_free(struct fd_save *c);

/* locks_save.c. They belong to no kind in particular. */
int locks_save(struct fd_save *c, struct stasis_error *err); /* of all descriptions */
int locks_save_table(struct fd_save *c, const struct task *t, Stasis__FdTable *ret,
		     struct stasis_error *err);
bool locks_has_write_lease(const struct fd_desc *d);

/* describe.c: the file by which it is known, NULL for none */
const Stasis__FileId *description_file(const Stasis__Description *d);

/* procfile.c */
/* The number by which `holder` knows a process, in its own pid namespace; 0 for none. */
pid_t task_number_for(const struct task *holder, const struct task *t);
/* Does that path lead to that very file where the process looks? A link is not followed. */
bool task_sees(const struct task *holder, const char *path, const struct stat *st);

/* tty.c: kernel Documentation/admin-guide/devices.txt */
enum {
	TTY_MAJOR = 4,
	TTYAUX_MAJOR = 5,
	PTMX_MINOR = 2,
	PTS_FIRST_MAJOR = 136,
	PTS_LAST_MAJOR = 143,
};
void tty_block_ttou(sigset_t *ret_old);
void tty_unblock_ttou(const sigset_t *old);

/* pty_save.c */
bool pty_is_master(const struct stat *st);
bool pty_is_slave(const struct stat *st);
/* The save() of a terminal that may be the slave of a master of the tree; *ret_is_ours tells. */
int pty_slave_save(struct fd_save *c, const struct fd_probe *p, bool *ret_is_ours,
		   Stasis__Description *ret, struct stasis_error *err);

/* pty_load.c */
int pty_master_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err);
int pty_master_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err);
int pty_master_wire(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err);
int pty_master_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err);
int pty_slave_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		     struct stasis_error *err);
int pty_slave_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		   struct stasis_error *err);
int pty_slave_wire(struct session *s, struct fd_load *c, const Stasis__Description *d,
		   struct stasis_error *err);
void pty_load_done(struct fd_load *c);

/* kinds.c */
const struct resource_kind *kind_of_tag(Stasis__Description__KindCase tag);

extern const struct resource_kind kind_regular, kind_directory, kind_pipe, kind_fifo, kind_chardev,
	kind_pty_slave, kind_pty_master,
	kind_tty, kind_eventfd, kind_memfd, kind_unix, kind_tcp, kind_udp, kind_timerfd, kind_signalfd,
	kind_epoll, kind_pidfd, kind_inotify, kind_fanotify, kind_procfile, kind_namespace,
	kind_raw, kind_netlink, kind_packet, kind_mqueue, kind_unsupported;

/* ---- restore ---- */

enum { FD_LIMIT = 1 << 20 }; /* default of fs.nr_open, above which no descriptor can be */

struct load_proc;

/* One description to open. */
struct load_desc {
	const Stasis__Description *d;
	const struct resource_kind *kind;
	struct load_proc *proc; /* first holder, for messages */
	int first_fd;	  /* -1: no table holds it, another description refers to it */
	const char *path; /* STASIS_FD_MODIFY: open this instead */
	bool is_referred; /* some descriptor or description in the files refers to it */
	bool is_used;	  /* and is not ignored */
	bool is_null;	  /* forced: /dev/null takes its place */
	int fd;		  /* in the master, -1 before */
	int attached_fd;  /* 1 + the number that attach() gave it in this process, 0 before */
};

struct load_fd {
	int fd;
	bool is_cloexec;
	struct load_desc *desc;
};

/* A POSIX lock to take again. */
struct load_lock {
	const Stasis__FileLock *k;
	uint32_t index; /* in its table */
	struct load_desc *desc;
	bool is_dropped; /* with -F: somebody else has it */
};

/* Bytes of an object inside a file. */
struct load_bulk {
	uint64_t object, start, len, offset, digest;
};

struct load_proc {
	pid_t pid;
	struct image *image;
	const char *comm;
	size_t nr_fds;
	struct load_fd *fds; /* ascending */
	size_t nr_locks;
	struct load_lock *locks;
	size_t nr_bulks;
	struct load_bulk *bulks; /* by object and start */
};

/* A pipe or FIFO while its descriptions are opened: see pipe.c. */
struct load_pipe {
	uint64_t object;
	unsigned nr_read_ends, nr_write_ends; /* descriptions in the files we have */
	unsigned nr_to_read, nr_to_write;     /* of these still to open */
	int read_fd, write_fd;		      /* ours, -1 when unset or handed over */
	bool is_made;
};

struct fd_load {
	struct session *s;
	bool is_quiet; /* no word about changed files */
	struct arena arena;
	size_t nr_procs;
	struct load_proc *procs;
	size_t nr_descs;
	struct load_desc *descs; /* by id */
	size_t nr_objects;
	const Stasis__Object **objects; /* by id */
	size_t nr_pipes;
	struct load_pipe *pipes; /* by object */
	int highest;   /* number that a process of the tree uses, -1 for none */
	int base, end; /* the master's own are in [base, end): see fd_room.c */
	object_fd_fn object_fd;
	void *object_fd_arg;
	pid_t foreground;
	struct load_pty *ptys; /* made so far: see pty_load.c */
	bool window_differs; /* the terminal has another size than at the checkpoint */
	struct load_desc *current; /* the one that a kind verifies or loads */
	bool wants_copy_back;	/* restart -C */
	bool wants_rollback;	/* --rollback-files */
	int copy_dirfd;		/* folder of the image, -1 when not needed */
	struct tcp_pair *tcp_pairs; /* made so far: see tcp_pair.c */
	bool is_unblocked;	/* packets of TCP connections are let through again */
	struct put_back *backs; /* files that were replaced: see copy_back.c */
	pid_t backs_pid;	/* who replaced them: a forked child undoes nothing */
	struct load_mqueue *mqueues; /* made so far: see mqueue_load.c */
	unsigned lock_wait_s; /* 0: as long as usual */
	uint64_t lock_deadline_ns; /* until when locks are waited for; 0: not yet */
	struct unix_load *unix_load; /* Unix sockets, NULL until one is verified; see unix.h */
};

/* copy_back.c: what restart -C and --rollback-files do to files, and how it is undone */
bool copy_back_wanted(const struct fd_load *c, const Stasis__Description *d);
int copy_back_check(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err);
int copy_back_all(struct fd_load *c, struct stasis_error *err);
void copy_back_undo(struct fd_load *c);
void copy_back_keep(struct fd_load *c);

/* locks_load.c */
int locks_check(const Stasis__Description *d, struct stasis_error *err);
int locks_index(struct fd_load *c, struct load_proc *p, const Stasis__FdTable *table,
		struct stasis_error *err);
/* In the master, when l is open: what belongs to it, leases aside. */
int locks_take(struct fd_load *c, const struct load_desc *l, struct stasis_error *err);
/* In the master, when all are open: whether the processes will get theirs. */
int locks_try_posix(struct fd_load *c, struct stasis_error *err);
/* Locks of both worlds on the whole of an open file of ours, until it is closed. */
int locks_keep_others_out(struct fd_load *c, int fd, const char *path, struct stasis_error *err);
/* In the process that is to have l's lease, when f is at its number. */
int locks_take_lease(struct fd_load *c, const struct load_proc *p, const struct load_fd *f,
		     struct stasis_error *err);
/* In the master, before F_SETOWN. */
void locks_forget_owner(const struct load_desc *l);

/* fd_room.c: sets base and end, and raises the soft limit of open files when that is needed. */
int fd_room_find(struct fd_load *c, struct stasis_error *err);

/* load_index.c */
int load_index(struct fd_load *c, const struct fd_proc *procs, size_t nr,
	       const struct stasis_restore_opts *opts, struct stasis_error *err);
struct load_proc *load_find_proc(struct fd_load *c, pid_t pid);
struct load_desc *load_find_desc(struct fd_load *c, uint64_t id);
struct load_pipe *load_find_pipe(struct fd_load *c, uint64_t object);
/* err gets "NAME(PID) fd N: " in front; -1. */
int load_fail_at(const struct load_desc *l, struct stasis_error *err);
/* For attach() of what each process opens itself: the first descriptor of a process opens, the others of
 * the description share it. */
int load_attach(struct load_desc *l, int fd,
		int (*open_it)(const Stasis__Description *d, struct stasis_error *err),
		struct stasis_error *err);
/* And for finish(), in the master: take what the first holder has opened. */
int load_take_attached(struct fd_load *c, struct stasis_error *err);
bool load_is_kept(const struct load_desc *l); /* is what it was: neither ignored nor replaced */
uint64_t load_pipe_of(const Stasis__Description *d); /* 0: it is no pipe or FIFO */
/* Object of that type with its holder among the processes to restart. */
int load_check_object(struct fd_load *c, uint64_t id, Stasis__ObjectType type,
		      struct stasis_error *err);
int load_object_fd(struct fd_load *c, uint64_t id, struct stasis_error *err);

#endif
