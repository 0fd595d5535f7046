/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POSIX message queues (mq_overview(7)): what mqueue_save.c, mqueue_bytes.c and mqueue_load.c share. */
#ifndef RESOURCE_MQUEUE_H
#define RESOURCE_MQUEUE_H

#include "resource/resource_priv.h"

#include <mqueue.h>

#define MQUEUE_MAGIC 0x19800202u /* ipc/mqueue.c */

enum { MQUEUE_MAX_PRIORITY = 32768, MQUEUE_MAX_MESSAGES = 65536, MQUEUE_MAX_BYTES = 1 << 30 };

/* Messages taken out of a queue, in their order; memory shared with children. */
struct mqueue_messages {
	struct mqueue_sum {
		size_t nr, len; /* of all text */
	} *sum;
	uint32_t *lengths, *priorities;
	char *text;
	void *map; /* what all that is in */
	size_t map_len;
};

/* Room for all that a queue can hold. */
int mqueue_messages_init(struct mqueue_messages *m, const struct mq_attr *a, struct stasis_error *err);
void mqueue_messages_done(struct mqueue_messages *m);
/* Both of a queue opened O_RDWR | O_NONBLOCK. */
int mqueue_take(int fd, const struct mq_attr *a, struct mqueue_messages *m, struct stasis_error *err);
int mqueue_put(int fd, const struct mqueue_messages *m, struct stasis_error *err);

/*
 * See what is in a queue whose users all stand still: it is taken out and put back by a process that the end of
 * this engine does not hinder, and until whose end the parasites of the tree stay. A message comes into
 * an empty queue by it: who asked to be told (mq_notify) is told.
 */
int mqueue_peek(int fd, const struct mq_attr *a, struct mqueue_messages *m, struct stasis_error *err);

/* mqueue_load.c */
int mqueue_verify(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err);
int mqueue_load(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err);
int mqueue_wire(struct session *s, struct fd_load *c, const Stasis__Description *d, struct stasis_error *err);
int mqueue_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid, int fd,
		  struct stasis_error *err);

#endif
