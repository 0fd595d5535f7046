/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hash by which files, objects and processes are found again, so that ten thousand mappings of
 * one file cost ten thousand look-ups and no more.
 */
#include "memory/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int table_grow(void **array, size_t *cap, size_t nr, size_t size, struct stasis_error *err)
{
	size_t want = *cap ? 2 * *cap : 8;
	void *grown;

	if (nr < *cap)
		return 0;
	grown = reallocarray(*array, want, size);
	if (!grown)
		return stasis_fail(err, STASIS_E_NOMEM, "table of the memory");
	*array = grown;
	*cap = want;
	return 0;
}

static size_t hash(uint64_t a, uint64_t b)
{
	uint64_t h = a * 0x9e3779b97f4a7c15ull ^ (b + 0x7f4a7c15ull) * 0xff51afd7ed558ccdull;

	return (size_t)(h ^ h >> 32);
}

static struct index_slot *find_slot(const struct index *ix, uint64_t a, uint64_t b)
{
	struct index_slot *s;

	for (size_t i = hash(a, b);; i++) {
		s = &ix->slots[i & (ix->cap - 1)];
		if (s->value == 0 || (s->a == a && s->b == b))
			return s;
	}
}

static bool index_grow(struct index *ix)
{
	struct index bigger = { .nr = ix->nr, .cap = ix->cap ? 2 * ix->cap : 64 };

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < ix->cap; i++)
		if (ix->slots[i].value)
			*find_slot(&bigger, ix->slots[i].a, ix->slots[i].b) = ix->slots[i];
	free(ix->slots);
	*ix = bigger;
	return true;
}

size_t *index_get(struct index *ix, uint64_t a, uint64_t b, size_t fresh)
{
	struct index_slot *s;

	if (2 * (ix->nr + 1) > ix->cap && !index_grow(ix))
		return NULL;
	s = find_slot(ix, a, b);
	if (s->value == 0) {
		*s = (struct index_slot){ a, b, fresh };
		ix->nr++;
	}
	return &s->value;
}

size_t index_find(const struct index *ix, uint64_t a, uint64_t b)
{
	return ix->cap ? find_slot(ix, a, b)->value : 0;
}

void index_done(struct index *ix)
{
	free(ix->slots);
	memset(ix, 0, sizeof(*ix));
}
