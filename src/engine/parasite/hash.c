/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The checksum of the pages, compiled twice: for any processor, and (HASH_FAST) with the wider
 * vectors that the engine has found here. The whole of xxHash is in its header.
 */
#include "parasite/parasite_priv.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#ifdef HASH_FAST
#define HASH_OPS hash_fast
#else
#define HASH_OPS hash_plain
#endif

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash_state), "state fits");

static void reset(struct hash_state *st)
{
	(void)XXH3_64bits_reset((XXH3_state_t *)st); /* fails for NULL only */
}

static void update(struct hash_state *st, const void *p, size_t len)
{
	(void)XXH3_64bits_update((XXH3_state_t *)st, p, len); /* fails for NULL only */
}

static uint64_t digest(const struct hash_state *st)
{
	return XXH3_64bits_digest((const XXH3_state_t *)st);
}

struct hash_ops HASH_OPS(void)
{
	return (struct hash_ops){.reset = reset, .update = update, .digest = digest};
}
