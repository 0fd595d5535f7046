/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks of at least BLOCK_BYTES in a list; allocation moves a mark. */
#include "lib/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 32768, ALIGNMENT = 16 };

struct arena_block {
	struct arena_block *next;
	size_t used, room;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

static struct arena_block *add_block(struct arena *a, size_t len)
{
	size_t room = len > BLOCK_BYTES ? len : BLOCK_BYTES;
	struct arena_block *b = calloc(1, sizeof(*b) + room);

	if (!b)
		return NULL;
	b->room = room;
	b->next = a->head;
	a->head = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t len)
{
	struct arena_block *b = a->head;
	void *p;

	if (len > SIZE_MAX / 2)
		return NULL;
	len = (len + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (!b || b->room - b->used < len)
		b = add_block(a, len);
	if (!b)
		return NULL;
	p = b->bytes + b->used;
	b->used += len;
	return p;
}

void *arena_memdup(struct arena *a, const void *bytes, size_t len)
{
	void *p = arena_alloc(a, len ? len : 1);

	if (p && len)
		memcpy(p, bytes, len);
	return p;
}

char *arena_strdup(struct arena *a, const char *text)
{
	return arena_memdup(a, text, strlen(text) + 1);
}

void arena_done(struct arena *a)
{
	struct arena_block *b = a->head;

	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
	a->head = NULL;
}
