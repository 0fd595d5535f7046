/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Make the digests of a changed image right, as whoever forges one would. */
#ifndef IMAGE_TEST_FIXUP_H
#define IMAGE_TEST_FIXUP_H

#include "image/image_priv.h"

#include <string.h>

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"

/* Digests of the tables, where they lie inside of the file, then of page 0. */
static inline void fix_digests(unsigned char *file, size_t len)
{
	struct image_page page;
	struct image_trailer *t = &page.trailer;

	if (len < sizeof(page))
		return;
	memcpy(&page, file, sizeof(page));
	if (t->notes_off <= t->phdrs_off && t->phdrs_off <= len) {
		t->notes_digest = image_digest(file + t->notes_off, t->phdrs_off - t->notes_off);
		t->phdrs_digest = image_digest(file + t->phdrs_off, len - t->phdrs_off);
	}
	t->page_digest = 0;
	t->page_digest = image_digest(&page, sizeof(page));
	memcpy(file, &page, sizeof(page));
}

#endif
