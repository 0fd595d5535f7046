/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about Unix domain sockets know of each other. */
#ifndef RESOURCE_UNIX_H
#define RESOURCE_UNIX_H

#include "resource/sockets.h"

#include <sys/socket.h>
#include <sys/un.h>

enum {
	UNIX_NAME_MAX = sizeof(((struct sockaddr_un *)0)->sun_path),
	UNIX_RIGHTS_MAX = 253, /* SCM_MAX_FD of the kernel */
	UNIX_MAY_READ = 1,     /* bits of a shutdown, as the kernel has them */
	UNIX_MAY_WRITE = 2,
};

/* ---- dump ---- */

/* One socket as the kernel lists it: unix_diag.c. */
struct unix_info {
	uint32_t ino; /* 0: waits to be accepted, or belongs to nobody */
	uint8_t type, shutdown;
	bool is_listening, is_connected;
	bool has_peer;
	uint32_t peer;	 /* its ino */
	uint32_t queued, backlog;
	bool has_file;
	uint32_t file_ino;
	size_t name_len;
	uint8_t name[UNIX_NAME_MAX];
	size_t nr_pending;
	uint32_t *pending; /* ino of each client that waits, 0 for one that is gone */
	struct fd_desc *desc; /* of the tree */
};

/* The socket of t with that inode; NULL when it is not there (made in another network namespace, and
 * handed over) or, with *err, when the kernel does not tell. */
struct unix_info *unix_info_get(struct fd_save *c, const struct task *t, uint64_t ino,
				struct stasis_error *err);
struct unix_info *unix_info_find(const struct fd_save *c, uint64_t ino); /* among those listed */
/* Whether somebody who is not there any more sent something to a listening socket and was not yet
 * accepted. */
bool unix_info_has_orphan_data(const struct fd_save *c, const struct unix_info *listener);

/* Processes that have it, as "NAME(PID)", for a message: found in /proc. */
void unix_info_holder(uint32_t ino, char *buf, size_t len);

/* What a dump keeps of one socket beside its record. */
struct unix_saved {
	struct unix_info *info;
	uint32_t unsent; /* bytes of memory that what it sent still takes in other sockets' queues */
	size_t len;
	uint8_t *bytes; /* of the queue, in the arena */
	Stasis__Object queue;
};

/* unix_queue.c: fill messages, and u's bytes. */
int unix_queue_save(struct fd_save *c, const struct fd_probe *p, struct unix_saved *u,
		    Stasis__UnixSocket *r, struct stasis_error *err);

/* unix_guard.c: sets SO_PEEK_OFF back to `old` when we die before unix_guard_disarm(). */
int unix_guard_arm(struct fd_save *c, int fd, int old, struct stasis_error *err);
void unix_guard_disarm(struct fd_save *c);
/* SO_PEERCRED as a task in t's pid namespace sees it. */
int unix_guard_look(struct fd_save *c, const struct task *t, int fd, struct ucred *ret);
void unix_guard_end(struct fd_save *c);

/* unix_name.c */
int unix_name_save(struct fd_save *c, const struct fd_probe *p, const struct unix_info *info,
		   Stasis__UnixSocket *r, struct stasis_error *err);
/* A name for people: "@abstract", "/path" or "(no name)". */
const char *unix_name_text(const ProtobufCBinaryData *name, char *buf, size_t len);

/* ---- restart ---- */

struct unix_end {
	const Stasis__Description *d;
	const Stasis__UnixSocket *r;
	struct load_desc *desc;
	struct unix_end *peer; /* restarted too, else NULL */
	int fd;		       /* ours until load() hands it over, then that of desc */
	int stand_in;	       /* in the place of a peer that nobody has, closed at the end */
	char *root;	       /* temporary folder in which its name was bound */
	bool is_handed_over, is_made, is_bound, is_connected;
};

struct unix_load {
	size_t nr;
	struct unix_end *ends; /* by id */
	bool is_made, is_filled;
	unsigned nr_naps; /* spent on waiting for names */
	pid_t made_by; /* a forked child takes nothing back */
};

struct unix_end *unix_load_find(struct fd_load *c, uint64_t id);
int unix_end_fd(const struct unix_end *e);

/* unix_check.c */
int unix_check(struct fd_load *c, const Stasis__Description *d, struct stasis_error *err);

/* unix_bind.c */
/* Whether somebody is bound to the socket file; asks without being noticed. */
bool unix_is_alive(const char *path);
int unix_name_check(struct unix_load *u, const Stasis__UnixSocket *r, struct stasis_error *err);
int unix_bind(struct fd_load *c, struct unix_end *e, struct stasis_error *err);
/* Give fd a name that leads nowhere; a path needs a folder, which lives until unix_folder_remove().
 * -1 with errno. */
int unix_bind_aside(int fd, const ProtobufCBinaryData *name, char **ret_folder);
void unix_folder_remove(char **folder, const ProtobufCBinaryData *name);

/* unix_make.c: all sockets of the tree, connected as they were. */
int unix_make_all(struct fd_load *c, struct stasis_error *err);

/* unix_fill.c: queues, then what may only come after them. */
int unix_fill_all(struct fd_load *c, struct stasis_error *err);

/*
 * unix_actor.c: do something as somebody else, in a short-lived process: with the pid and ids that
 * SO_PEERCRED shall show, in another root or working directory. Descriptors are shared with it.
 */
struct unix_actor {
	uint32_t pid, uid, gid; /* pid 0: no matter */
	const char *root, *cwd; /* NULL: ours */
};
/* -1 with errno. */
int unix_actor_pair(const struct unix_actor *a, int type, int *ret_fds);
int unix_actor_bind(const struct unix_actor *a, int fd, const ProtobufCBinaryData *name);
int unix_actor_listen(const struct unix_actor *a, int fd, int backlog);
int unix_actor_connect(const struct unix_actor *a, int fd, const ProtobufCBinaryData *name);
/* From which root or working directory the name is meant. */
void unix_actor_place(struct unix_actor *a, const ProtobufCBinaryData *name, const char *folder);
ssize_t unix_actor_send(const struct unix_actor *a, int fd, const struct msghdr *msg, int flags);

#endif
