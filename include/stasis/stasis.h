/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libstasis: checkpoint a running process or process tree into image files, and restart it.
 *
 * All functions return 0 on success and -1 with *err filled (err may be NULL) on failure. A failed
 * dump leaves the tree running exactly as before and no file under a final name; a failed restart
 * leaves no process. The library never exits, prints or changes signal handlers of its caller,
 * except that stasis_restore() creates child processes, which the caller should not wait for.
 */
#ifndef STASIS_STASIS_H
#define STASIS_STASIS_H

#include <stasis/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum stasis_log_level {
	STASIS_LOG_ERROR,
	STASIS_LOG_WARNING, /* the operation goes on; the user should know */
	STASIS_LOG_INFO,    /* -v */
	STASIS_LOG_DEBUG,   /* -X */
};

/* Receives one line without newline; called from the thread that called the library. */
typedef void (*stasis_log_fn)(void *arg, enum stasis_log_level level, const char *text);

/* What to do with one descriptor. */
enum stasis_fd_action {
	STASIS_FD_KEEP,	  /* dump: save its state; restart: use it */
	STASIS_FD_COPY,	  /* dump: also copy the file's content beside the image */
	STASIS_FD_IGNORE, /* not saved / not restored: the program gets EBADF */
	STASIS_FD_MODIFY, /* restart: open `path` instead */
};

struct stasis_fd_choice {
	pid_t pid;
	int fd;
	enum stasis_fd_action action;
	const char *path; /* STASIS_FD_MODIFY */
};

/* One open descriptor, as chkpnt -i, -v and `stasis check` show it. */
struct stasis_fd_info {
	int fd;
	char *path;	   /* as /proc shows it, or the saved path */
	const char *kind;  /* "file", "pipe", "tty", ...; static */
	bool is_supported; /* false: `obstacle` says why not and what to do */
	char *obstacle;
	bool is_regular; /* may be copied with -C */
	mode_t mode;	 /* st_mode */
	uid_t uid;
	int64_t mtime_s;
	uint64_t size; /* bytes */
	uint64_t pos;  /* bytes */
	dev_t rdev;
};

/*
 * A process of the tree that is not saved: its place is (pid, relations, working directory, descriptors 0, 1 and
 * 2, environment, limits, ignored signals), and a restart begins the program there anew. What it started is
 * its own affair. It stands still for the time of the dump, as the others do, and gets the same signals.
 */
struct stasis_stand_in {
	pid_t pid;
	const char *label; /* dump: kept in the image; NULL is "" */
	/* restart: NULL-terminated, instead of what was saved; NULL: that */
	const char *const *argv, *const *env;
};

struct stasis_proc_info {
	pid_t pid, ppid, pgrp, sid;
	char name[17]; /* command name */
	bool is_zombie;
	uint64_t user_ns, system_ns; /* processor time used, since the last restart if there was one */
	size_t nr_fds;
	struct stasis_fd_info *fds;
	size_t nr_obstacles; /* other than descriptors: mappings, task state */
	char **obstacles;    /* one line each */
	char *stand_in;	     /* in an image: its label when it is a stand-in, else NULL, as are the next */
	char **argv;	     /* NULL-terminated, as the next two */
	char **env;	     /* variables of its own ... */
	char **env_of_root;  /* ... and those that the root's program was started with, too */
};

/* A tree in pre-order: a parent comes before its children. */
struct stasis_tree_info {
	size_t nr_procs;
	struct stasis_proc_info *procs;
};

void stasis_tree_info_free(struct stasis_tree_info *info); /* NULL is fine */

enum stasis_dump_flags {
	STASIS_DUMP_RECURSIVE = 1u << 0,  /* the root's descendants too */
	STASIS_DUMP_FORCE = 1u << 1,	  /* -F: overwrite files; obstacles become warnings */
	STASIS_DUMP_CHECK_ONLY = 1u << 2, /* -n: all tests, nothing written */
	STASIS_DUMP_COPY_FILES = 1u << 3, /* -C: copy every open regular file beside the image */
};

/* What may end outside of the tree. */
enum stasis_external {
	/* Unix sockets: a client connects by name again at the restart, an accepted connection finds its
	 * client gone */
	STASIS_EXTERNAL_UNIX = 1u << 0,
	/* System V shared memory that others have attached too: its content is not saved, and it must still
	 * be there at the restart */
	STASIS_EXTERNAL_SYSV = 1u << 2,
	/* pipes that are descriptor 0, 1 or 2 of the root: at the restart the caller's descriptor of that
	 * number takes their place */
	STASIS_EXTERNAL_STDIO = 1u << 1,
};

/* Moments at which a dump waits for its caller, so that several trees can be saved as one. */
enum stasis_dump_moment {
	/* Without a signal: all is written, the tree stands still and is about to go on. What follows is
	 * to wait for the disk, and the final names. */
	STASIS_DUMP_WRITTEN,
	/* With a signal: the files are on the disk under their final names, the tree stands still and is
	 * about to get the signal. */
	STASIS_DUMP_DURABLE,
};

/* Zero it, then set what is needed. Strings and arrays stay the caller's. */
struct stasis_dump_opts {
	pid_t root;
	unsigned flags; /* enum stasis_dump_flags */
	unsigned external; /* enum stasis_external */
	int dirfd;	/* folder of the image files, or AT_FDCWD */
	const char *name; /* file name of the root's image (no slash), or NULL: guide's default */
	int signal_root;  /* -k: sent to the root after commit, 0 for none */
	int signal_all;	  /* -K: sent to every process after commit, before any of them runs */
	unsigned stop_timeout_ms; /* longest wait for a task to stop; 0 means 10,000 */
	const struct stasis_fd_choice *choices;
	size_t nr_choices;
	const pid_t *skip_pids; /* processes not to be checkpointed (chkpnt -i, "i") */
	size_t nr_skip_pids;
	const struct stasis_stand_in *stand_ins;
	size_t nr_stand_ins;
	/* Called at one of the moments, may take its time, and returns 0 to go on, or -1 with *err: then the
	 * dump fails with that error, and the tree runs on without any signal. Files that have their final
	 * names already (STASIS_DUMP_DURABLE) stay; they are the caller's to delete. May be NULL. */
	int (*barrier)(void *arg, enum stasis_dump_moment moment, struct stasis_error *err);
	void *barrier_arg;
	stasis_log_fn log;
	void *log_arg;
	enum stasis_log_level log_level;
};

/* What a dump did; filled on success. */
struct stasis_dump_result {
	char root_name[256]; /* file name of the root's image */
	size_t nr_files;
	uint64_t bytes;	     /* of all image files */
	uint64_t stopped_ns; /* how long the tree stood still */
	/* Its phases: until the last thread stood still as well; looking and writing; waiting for the disk
	 * (before the tree went on when it was to be signalled, else after); letting it go. Between them is
	 * what the barrier took. */
	uint64_t freeze_ns, save_ns, commit_ns, resume_ns;
};

int stasis_dump(const struct stasis_dump_opts *opts, struct stasis_dump_result *ret,
		struct stasis_error *err);

/* Look at a running tree: every process with its descriptors, what can be saved and what not.
 * The tree is stopped for the look unless that is denied, then it is only read. */
int stasis_inspect(const struct stasis_dump_opts *opts, struct stasis_tree_info **ret,
		   struct stasis_error *err);

enum stasis_restore_flags {
	STASIS_RESTORE_FORCE = 1u << 0,	     /* -F: errors that can be survived become warnings */
	STASIS_RESTORE_COPY_BACK = 1u << 1,  /* -C: copied files go back to their places first */
	STASIS_RESTORE_STOPPED = 1u << 2,    /* -z: every process left stopped by SIGSTOP */
	STASIS_RESTORE_QUIET_FILES = 1u << 3, /* no warning for files changed since */
	STASIS_RESTORE_TRACED = 1u << 4,     /* -t */
	/* files open for writing that grew since the checkpoint are cut back to their length then;
	 * what is cut off is kept beside them as NAME.after-checkpoint */
	STASIS_RESTORE_ROLLBACK_FILES = 1u << 5,
	/* CLOCK_MONOTONIC and CLOCK_BOOTTIME go on from their values at the checkpoint */
	STASIS_RESTORE_KEEP_MONOTONIC = 1u << 6,
};

/* In which cgroups a restarted tree is. */
enum stasis_cgroup {
	STASIS_CGROUP_IGNORE, /* in the caller's */
	STASIS_CGROUP_KEEP,   /* each process in those it was in, which must be there */
	STASIS_CGROUP_JOIN,   /* all in `cgroup_path` */
};

struct stasis_restore_opts {
	int dirfd;	  /* folder of the image, or AT_FDCWD */
	const char *name; /* path of the root's image, relative to dirfd */
	unsigned flags;	  /* enum stasis_restore_flags */
	int signal_root;  /* -k: sent when restored; 0 for none (the guide's default is SIGCONT) */
	int signal_all;	  /* -K */
	const struct stasis_fd_choice *choices;
	size_t nr_choices;
	const pid_t *skip_pids;
	size_t nr_skip_pids;
	const struct stasis_stand_in *stand_ins; /* pids as in the image; of these the arguments and environment */
	size_t nr_stand_ins;
	enum stasis_cgroup cgroup;
	const char *cgroup_path; /* STASIS_CGROUP_JOIN: a cgroup's folder, or its name as in /proc/PID/cgroup */
	unsigned pid_retry_s; /* busy pid: retries, one a second; locks: how long; 0 means 10 */
	stasis_log_fn log;
	void *log_arg;
	enum stasis_log_level log_level;
};

/* A restarted tree. Normally the root is a child of the calling process; in a pid namespace (ordinary
 * users) its parent is that namespace's first process, which reports on it. */
struct stasis_restored {
	pid_t root;	 /* pid of the root in the caller's pid namespace */
	pid_t saved_pid; /* pid the root sees; differs from root inside a pid namespace */
	size_t nr_procs;
	int status_fd; /* -1, or where the first process of the namespace reports; close() it when the
			* tree is not waited for */
};

int stasis_restore(const struct stasis_restore_opts *opts, struct stasis_restored *ret,
		   struct stasis_error *err);

/*
 * Wait for the root to change state, like waitpid(2): options are WNOHANG, WUNTRACED, WCONTINUED;
 * *ret_wstatus as waitpid() gives it. Returns the pid (> 0), 0 with WNOHANG when nothing happened, -1
 * with *err.
 */
int stasis_wait(struct stasis_restored *r, int *ret_wstatus, int options, struct stasis_error *err);

/* Send a signal to the root. */
int stasis_signal(struct stasis_restored *r, int sig, struct stasis_error *err);

/* Read the same information from an image (and the images of its tree). */
int stasis_image_inspect(int dirfd, const char *name, struct stasis_tree_info **ret,
			 struct stasis_error *err);

/* Check every byte of an image and of the images of its tree without restarting. */
int stasis_image_verify(int dirfd, const char *name, struct stasis_error *err);

#ifdef __cplusplus
}
#endif
#endif
