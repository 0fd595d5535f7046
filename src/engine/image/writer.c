/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Building one image under a hidden name: hands out room for segments, collects notes in memory and,
 * when everything is known, writes the tables and, last of all, page 0.
 */
#include "image/image_priv.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum {
	FIRST_ROOM = 64,	/* elements of a fresh growing array */
	MAX_DRAFT_TRIES = 1000, /* leftovers of the same name and pid, from killed engines */
};

/* ---- drafts */

/* Room for `want` elements in a growing array; doubling keeps the total work linear. */
static void *grow(void *array, size_t *room, size_t want, size_t element_size)
{
	size_t more = *room ? *room : FIRST_ROOM;
	void *bigger;

	if (want <= *room)
		return array;
	while (more < want)
		if (__builtin_mul_overflow(more, 2, &more))
			return NULL;
	bigger = reallocarray(array, more, element_size);
	if (bigger)
		*room = more;
	return bigger;
}

/*
 * ".NAME.PID.N.draft", NAME cut so that it all fits. Many long names may share their first bytes, so
 * a cut name starts N at its digest instead of 0.
 */
static void draft_name(struct image_writer *w, uint32_t try)
{
	char suffix[48];
	uint32_t n = try;
	int room;

	if (strlen(w->name) > IMAGE_MAX_NAME - 40)
		n += (uint32_t)image_digest(w->name, strlen(w->name));
	(void)snprintf(suffix, sizeof(suffix), ".%d.%u.draft", (int)getpid(), n);
	room = IMAGE_MAX_NAME - 1 - (int)strlen(suffix);
	(void)snprintf(w->draft, sizeof(w->draft), ".%.*s%s", room, w->name, suffix);
}

static int draft_open(struct image_writer *w, struct stasis_error *err)
{
	for (uint32_t try = 0; try < MAX_DRAFT_TRIES; try++) {
		draft_name(w, try);
		w->fd = openat(w->dirfd, w->draft,
			       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (w->fd >= 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return stasis_fail_errno(err, STASIS_E_IO, "create a draft of image '%s'", w->name);
}

/* A folder is never replaced; another file only if the caller said so. */
static int target_check(const struct image_writer *w, struct stasis_error *err)
{
	struct stat st;

	if (fstatat(w->dirfd, w->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0;
		return stasis_fail_errno(err, STASIS_E_IO, "image '%s'", w->name);
	}
	if (S_ISDIR(st.st_mode))
		return stasis_fail(err, STASIS_E_BUSY, "%s: is a directory", w->name);
	if (!w->overwrite)
		return stasis_fail(err, STASIS_E_BUSY, "%s: file exists", w->name);
	return 0;
}

static void discardp(struct image_writer **w)
{
	image_discard(*w);
}

int image_create(int dirfd, const char *name, bool overwrite, struct image_writer **ret,
		 struct stasis_error *err)
{
	scoped(discardp) struct image_writer *w = NULL;

	if (!image_name_is_plain(name))
		return stasis_fail(err, STASIS_E_USAGE,
				   "'%.64s' is no name for an image: it must be a file name of at "
				   "most %d bytes, without slash", name, IMAGE_MAX_NAME);
	w = calloc(1, sizeof(*w));
	if (!w)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", name);
	w->dirfd = dirfd;
	w->fd = -1;
	w->overwrite = overwrite;
	w->end = IMAGE_ALIGN;
	memcpy(w->name, name, strlen(name) + 1);
	if (target_check(w, err) < 0 || draft_open(w, err) < 0)
		return -1;
	*ret = ptr_take(&w);
	return 0;
}

int image_draft_fd(const struct image_writer *w)
{
	return w->fd;
}

uint64_t image_file_size(const struct image_writer *w)
{
	return w->file_len ? w->file_len : w->end;
}

void image_discard(struct image_writer *w)
{
	int saved = errno;

	if (!w)
		return;
	flusher_end(w);
	/* a leftover draft is only litter: nothing reads it */
	if (w->fd >= 0 && (w->state == DRAFT_OPEN || w->state == DRAFT_SEALED))
		(void)unlinkat(w->dirfd, w->draft, 0);
	if (w->fd >= 0)
		(void)close(w->fd);
	free(w->segments);
	free(w->notes);
	free(w);
	errno = saved;
}

/* ---- segments */

static int check_open(const struct image_writer *w, struct stasis_error *err)
{
	if (w->state == DRAFT_OPEN)
		return 0;
	return stasis_fail(err, STASIS_E_INTERNAL, "image '%s' is already sealed", w->name);
}

ssize_t image_add_segment(struct image_writer *w, struct image_segment *seg,
			  struct stasis_error *err)
{
	const char *fault = image_segment_fault(seg);
	struct writer_segment *segments;
	uint64_t end;

	if (check_open(w, err) < 0)
		return -1;
	if (fault)
		return stasis_fail(err, STASIS_E_INTERNAL, "image '%s': segment at 0x%llx: %s",
				   w->name, (unsigned long long)seg->vaddr, fault);
	if (w->nr_segments == IMAGE_MAX_SEGMENTS)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "image '%s': more than %d segments",
				   w->name, IMAGE_MAX_SEGMENTS);
	if (__builtin_add_overflow(w->end, seg->filesz, &end) || end > INT64_MAX / 2)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "image '%s' is too large", w->name);
	segments = grow(w->segments, &w->room_segments, w->nr_segments + 1, sizeof(*segments));
	if (!segments)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", w->name);
	w->segments = segments;
	seg->offset = w->end;
	segments[w->nr_segments].seg = *seg;
	segments[w->nr_segments].seg.digest = 0;
	segments[w->nr_segments].has_digest = seg->filesz == 0;
	w->end = image_align(end, IMAGE_ALIGN);
	return (ssize_t)w->nr_segments++;
}

void image_set_digest(struct image_writer *w, size_t index, uint64_t digest)
{
	/* no bytes, no digest; an index never handed out is found when sealing: one is missing */
	if (index >= w->nr_segments || !w->segments[index].seg.filesz)
		return;
	w->segments[index].seg.digest = digest;
	w->segments[index].has_digest = true;
}

int image_put_bulk(struct image_writer *w, uint64_t object, uint64_t offset_in_object,
		   const void *bytes, size_t len, struct stasis_error *err)
{
	struct image_segment seg = {
		.type = IMAGE_SEG_BULK,
		.vaddr = offset_in_object,
		.memsz = len,
		.filesz = len,
		.object = object,
	};
	ssize_t index;

	if (len == 0)
		return check_open(w, err);
	index = image_add_segment(w, &seg, err);
	if (index < 0)
		return -1;
	if (io_pwrite_full(w->fd, bytes, len, seg.offset, err) < 0)
		return stasis_fail_prefix(err, "image '%s'", w->name);
	image_set_digest(w, (size_t)index, image_digest(bytes, len));
	return 0;
}

/* ---- notes */

/* Append a note's head and room for its payload; returns where the payload goes, or NULL. */
static unsigned char *note_add(struct image_writer *w, const char *owner, uint32_t type, size_t len,
			       struct stasis_error *err)
{
	size_t owner_len = strlen(owner) + 1;
	size_t owner_room = image_align(owner_len, 4);
	Elf64_Nhdr head = {.n_type = type};
	unsigned char *notes, *p;
	size_t total;

	if (len > IMAGE_MAX_NOTES_LEN || owner_len > IMAGE_MAX_NAME ||
	    w->nr_notes == IMAGE_MAX_NOTES)
		return stasis_fail_null(err, STASIS_E_UNSUPPORTED, "image '%s': notes are too large",
					w->name);
	total = sizeof(head) + owner_room + image_align(len, 4);
	if (total > IMAGE_MAX_NOTES_LEN - w->notes_len)
		return stasis_fail_null(err, STASIS_E_UNSUPPORTED, "image '%s': notes are too large",
					w->name);
	notes = grow(w->notes, &w->room_notes, w->notes_len + total, 1);
	if (!notes)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for image '%s'", w->name);
	w->notes = notes;
	p = notes + w->notes_len;
	memset(p, 0, total);
	head.n_namesz = (Elf64_Word)owner_len;
	head.n_descsz = (Elf64_Word)len;
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), owner, owner_len);
	w->notes_len += total;
	w->nr_notes++;
	return p + sizeof(head) + owner_room;
}

int image_put_note(struct image_writer *w, const char *owner, uint32_t type, const void *desc,
		   size_t len, struct stasis_error *err)
{
	unsigned char *to;

	if (check_open(w, err) < 0)
		return -1;
	to = note_add(w, owner, type, len, err);
	if (!to)
		return -1;
	if (len)
		memcpy(to, desc, len);
	return 0;
}

int image_put_record(struct image_writer *w, enum image_tag tag, const ProtobufCMessage *msg,
		     struct stasis_error *err)
{
	unsigned char *to;

	if (check_open(w, err) < 0)
		return -1;
	to = note_add(w, IMAGE_OWNER, tag, protobuf_c_message_get_packed_size(msg), err);
	if (!to)
		return -1;
	(void)protobuf_c_message_pack(msg, to); /* returns the size that was asked for above */
	return 0;
}

/* One digest per program header, that of the notes (which cannot hold their own) being 0. */
static int put_digests(struct image_writer *w, struct stasis_error *err)
{
	size_t len = (w->nr_segments + 1) * sizeof(uint64_t);
	unsigned char *to = note_add(w, IMAGE_OWNER, IMAGE_TAG_DIGESTS, len, err);

	if (!to)
		return -1;
	for (size_t i = 0; i < w->nr_segments; i++) {
		if (!w->segments[i].has_digest)
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "image '%s': segment %zu was not written", w->name, i);
		memcpy(to + (i + 1) * sizeof(uint64_t), &w->segments[i].seg.digest,
		       sizeof(uint64_t));
	}
	return 0;
}

/* ---- sealing */

/* Program headers, and the section header where it is needed, as one block. */
static void *tables_make(const struct image_writer *w, const struct image_trailer *t)
{
	size_t len = image_phdrs_len(t->nr_phdrs);
	Elf64_Phdr *phdrs = malloc(len);
	Elf64_Shdr shdr;

	if (!phdrs)
		return NULL;
	image_phdr_of_notes(&phdrs[0], t);
	for (size_t i = 0; i < w->nr_segments; i++)
		image_phdr_of_segment(&phdrs[i + 1], &w->segments[i].seg);
	if (t->nr_phdrs >= PN_XNUM) {
		image_shdr_fill(&shdr, t->nr_phdrs);
		memcpy(&phdrs[t->nr_phdrs], &shdr, sizeof(shdr));
	}
	return phdrs;
}

/* Zeros between the notes and the 8-byte boundary where the program headers start; in memory too,
 * since the digest covers them. The notes' own length does not. */
static int notes_pad(struct image_writer *w, size_t *ret_padded, struct stasis_error *err)
{
	size_t padded = image_align(w->notes_len, 8);
	unsigned char *notes = grow(w->notes, &w->room_notes, padded, 1);

	if (!notes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", w->name);
	w->notes = notes;
	memset(notes + w->notes_len, 0, padded - w->notes_len);
	*ret_padded = padded;
	return 0;
}

static int tail_write(struct image_writer *w, struct image_trailer *t, struct stasis_error *err)
{
	scoped_free void *tables = NULL;
	size_t padded = 0, tables_len;

	if (put_digests(w, err) < 0 || notes_pad(w, &padded, err) < 0)
		return -1;
	t->notes_off = w->end;
	t->notes_len = w->notes_len;
	t->notes_digest = image_digest(w->notes, padded);
	t->phdrs_off = w->end + padded;
	t->nr_phdrs = w->nr_segments + 1;
	tables_len = image_phdrs_len(t->nr_phdrs);
	t->file_len = t->phdrs_off + tables_len;
	tables = tables_make(w, t);
	if (!tables)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", w->name);
	t->phdrs_digest = image_digest(tables, tables_len);
	if (io_pwrite_full(w->fd, w->notes, padded, t->notes_off, err) < 0 ||
	    io_pwrite_full(w->fd, tables, tables_len, t->phdrs_off, err) < 0)
		return stasis_fail_prefix(err, "image '%s'", w->name);
	return 0;
}

int image_seal(struct image_writer *w, struct stasis_error *err)
{
	struct image_page page;

	if (check_open(w, err) < 0)
		return -1;
	memset(&page, 0, sizeof(page));
	if (tail_write(w, &page.trailer, err) < 0)
		return -1;
	image_page_fill(&page);
	/* a target that was written to past its room, or a draft grown by posix_fallocate() */
	if (ftruncate(w->fd, (off_t)page.trailer.file_len) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "image '%s'", w->name);
	if (io_pwrite_full(w->fd, &page, sizeof(page), 0, err) < 0)
		return stasis_fail_prefix(err, "image '%s'", w->name);
	/* only a head start for the fsync() at commit, which reports what fails; for a long draft not
	 * here, because asking for it takes long, and the tree may stand still until we return */
	if (w->flusher)
		image_written(w, page.trailer.file_len);
	else
		(void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	w->file_len = page.trailer.file_len;
	w->state = DRAFT_SEALED;
	return 0;
}
