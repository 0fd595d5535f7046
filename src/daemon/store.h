/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where images lie: IMAGE_DIR/JOB.STEP/gen.N/task.M.ckpt, IMAGE_DIR/JOB/gen.N/script.ckpt, and beside that
 * step.S/task.M.ckpt of the steps that the script runs. All nodes write
 * into one draft folder there; one rename() of it decides for all: to gen.N, the checkpoint is made; to
 * .aborted-ID, it is not. Who is in doubt tries the second, so that never both happen.
 *
 * Everything here runs with the file rights of the job's user: identity_user() first.
 */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include "lib/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store {
	char folder[PATH_MAX]; /* IMAGE_DIR/JOB.STEP */
	char draft[64];	       /* names in it */
	char final[32];
	char aborted[64];
	char sub[32]; /* folder in the draft, of a step that is saved with its script; "" for none */
};

enum store_outcome { STORE_COMMITTED, STORE_ABORTED };

/* File access as that user, with groups as in /etc/group; signals and ptrace stay root's. For worker
 * processes. identity_root() goes back. */
int identity_user(uid_t uid, gid_t gid, struct stasis_error *err);
void identity_root(void);

int store_name(const char *image_dir, uint32_t job, uint32_t step, struct store *ret,
	       struct stasis_error *err);

/* Make the folders and an empty draft; fills the names. */
int store_begin(struct store *s, struct stasis_error *err);

/* Make a folder in the draft. */
int store_make_sub(const struct store *s, const char *sub, struct stasis_error *err);

/* What another node began: folder and names as they came over the wire; sub may be "". USAGE when they are
 * none of ours. */
int store_join(const char *folder, const char *draft, const char *final, const char *sub,
	       struct store *ret, struct stasis_error *err);

/* Descriptor of the draft folder, or of `sub` in it. */
int store_open_draft(const struct store *s, struct stasis_error *err);

/* The decision; fails when it was made the other way. */
int store_commit(const struct store *s, struct stasis_error *err);
enum store_outcome store_abort(const struct store *s);
/* Has it been made, either way? Only looks. */
bool store_is_decided(const struct store *s);
void store_remove_aborted(const struct store *s);

/* A job that looks for its checkpoint in own_dir finds a link there to this folder, or none when it is there. */
int store_point(const struct store *s, const char *own_dir, uint32_t job, struct stasis_error *err);

/* Delete what is older than the newest `keep` checkpoints that are whole, and drafts of checkpoints that never
 * came about. */
void store_prune(const struct store *s, unsigned keep);

/* Delete all checkpoints in the folder where this one is, and the link to it in own_dir; the folder, if nothing
 * else is in it. */
int store_remove_all(const char *generation, const char *own_dir, uint32_t job, struct stasis_error *err);

#endif
