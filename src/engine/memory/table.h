/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Growing arrays and a hash, as both sides of memory/ need them. */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

/* Make room for element `nr` of an array; -1 with *err. */
int table_grow(void **array, size_t *cap, size_t nr, size_t size, struct stasis_error *err);

/* A hash with open addressing: (a, b) -> value, which must not be 0 (owners store index + 1). */
struct index {
	size_t nr, cap; /* cap: power of two */
	struct index_slot {
		uint64_t a, b;
		size_t value; /* 0: the slot is free */
	} *slots;
};

/* Where the value of a key is kept; a new key gets the value `fresh`. NULL: no memory. */
size_t *index_get(struct index *ix, uint64_t a, uint64_t b, size_t fresh);

/* Value of a key, 0 when it is not there. */
size_t index_find(const struct index *ix, uint64_t a, uint64_t b);
void index_done(struct index *ix);

#endif
