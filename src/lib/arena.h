/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIB_ARENA_H
#define LIB_ARENA_H

#include <stddef.h>

/* Memory that is released all at once: what the records of one task point to. Zero it to start. */
struct arena {
	struct arena_block *head;
};

/* Zeroed memory, aligned for any type; NULL when there is none. */
void *arena_alloc(struct arena *a, size_t len);
char *arena_strdup(struct arena *a, const char *text);
void *arena_memdup(struct arena *a, const void *bytes, size_t len);
void arena_done(struct arena *a); /* for scoped(): frees everything, the arena is empty again */

#endif
