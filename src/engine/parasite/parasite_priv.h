/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PARASITE_PARASITE_PRIV_H
#define PARASITE_PARASITE_PRIV_H

#include "arch/raw_syscall.h"
#include "parasite/wire.h"

#include <stdbool.h>
#include <stddef.h>

/* <errno.h> numbers that decisions are made on. */
enum { EINTR_NR = 4, ENOMEM_NR = 12, EFAULT_NR = 14, EINVAL_NR = 22, ENOTSOCK_NR = 88, EMFILE_NR = 24, EIO_NR = 5,
       E2BIG_NR = 7, EAGAIN_NR = 11 };

/* Called by start.S. */
int parasite_serve(struct wire_area *a);
void parasite_thread(struct wire_thread *t);

/* State of the calling thread. */
/* NUMA policy of the calling thread, or with MPOL_F_ADDR of the mapping at addr; 0 without one. */
uint32_t policy_collect(uint64_t addr, uint64_t flags, uint64_t *ret_nodes);

void thread_collect(struct parasite_thread *ret);
void task_collect(struct parasite_task *ret);

/* XXH3-64 of a run, in pieces. hash_update() returns 0, or -EFAULT when the memory cannot be read
 * (any more): the engine then sends the leader to fault_entry in start.S. */
struct hash_state {
	_Alignas(64) uint8_t opaque[640];
};
struct hash_ops {
	void (*reset)(struct hash_state *st);
	void (*update)(struct hash_state *st, const void *p, size_t len);
	uint64_t (*digest)(const struct hash_state *st);
};
struct hash_ops hash_plain(void);
struct hash_ops hash_fast(void);
long hash_update_guarded(struct wire_area *a, struct hash_state *st, const void *p, size_t len,
			 void (*update)(struct hash_state *, const void *, size_t));

void write_runs(struct wire_area *a, int fd, uint64_t nr);

/* 0 or errno. When it fails nothing has been taken that was not put back. */
int pty_peek(struct parasite_pty *out, int master);

/* Sets no restart block, unlike nanosleep(2). */
void parasite_pause_1ms(void);

#endif
