/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NT_FILE: which files are mapped where, as the kernel lays it out in its own core files
 * (fs/binfmt_elf.c, fill_files_note): count and page size, then start, end and offset in pages of
 * each mapping, then the names, each with its NUL.
 */
#include "memory/save_priv.h"

#include "lib/scoped.h"

#include <elf.h>
#include <string.h>

#define DELETED " (deleted)"

static bool has_file(const struct save_vma *sv)
{
	return !sv->is_skipped && sv->file != NO_FILE;
}

static size_t name_len(const struct mem_save *m, const struct save_vma *sv)
{
	const Stasis__FileId *id = &m->files[sv->file].id;

	return strlen(id->path) + (id->deleted ? strlen(DELETED) : 0) + 1;
}

static void put_name(const struct mem_save *m, const struct save_vma *sv, char *to)
{
	const Stasis__FileId *id = &m->files[sv->file].id;

	to = stpcpy(to, id->path);
	if (id->deleted)
		(void)stpcpy(to, DELETED);
}

static void fill_note(const struct mem_save *m, const struct save_task *st, size_t count,
		      uint64_t *to)
{
	char *names = (char *)(to + 2 + 3 * count);

	*to++ = count;
	*to++ = MEM_PAGE;
	for (size_t i = 0; i < st->vmas.nr; i++) {
		if (!has_file(&st->sv[i]))
			continue;
		*to++ = st->vmas.v[i].start;
		*to++ = st->vmas.v[i].end;
		*to++ = st->vmas.v[i].pgoff / MEM_PAGE;
		put_name(m, &st->sv[i], names);
		names += name_len(m, &st->sv[i]);
	}
}

int save_note_files(struct mem_save *m, struct save_task *st, struct image_writer *w,
		    struct stasis_error *err)
{
	size_t count = 0, len = 2 * sizeof(uint64_t);
	scoped_free uint64_t *note = NULL;

	for (size_t i = 0; i < st->vmas.nr; i++) {
		if (!has_file(&st->sv[i]))
			continue;
		count++;
		len += 3 * sizeof(uint64_t) + name_len(m, &st->sv[i]);
	}
	note = calloc(1, len);
	if (!note)
		return stasis_fail(err, STASIS_E_NOMEM, "note of mapped files");
	fill_note(m, st, count, note);
	return image_put_note(w, "CORE", NT_FILE, note, len, err);
}
