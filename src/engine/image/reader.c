/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening an image that anybody may have written. Only pread() into memory whose size was checked
 * against the file's: a mapping would turn a file that shrinks meanwhile into SIGBUS.
 */
#include "image/image_priv.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FIRST_REFS = 64,
	MIN_UNPACK_BUDGET = 1 << 20, /* see image_unpack_budget() */
	UNPACK_FACTOR = 64,
};
static const uint64_t MAX_UNPACK_BUDGET = 2ULL << 30;

/* ---- the file */

/* O_NONBLOCK: a FIFO of that name must not block us; it has no effect on a regular file. */
static int file_open(struct image *img, int dirfd, uint64_t *ret_len, struct stasis_error *err)
{
	struct stat st;

	img->fd = openat(dirfd, img->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (img->fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open image '%s'", img->name);
	if (fstat(img->fd, &st) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "image '%s'", img->name);
	if (!S_ISREG(st.st_mode))
		return image_damaged(img->name, err, "not a regular file");
	*ret_len = (uint64_t)st.st_size;
	return 0;
}

static int page_read(struct image *img, uint64_t file_len, struct stasis_error *err)
{
	struct image_page page;

	if (file_len < sizeof(page))
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s' is not a Stasis image", img->name);
	if (io_pread_full(img->fd, &page, sizeof(page), 0, err) < 0)
		return stasis_fail_prefix(err, "image '%s'", img->name);
	if (image_page_check(&page, img->name, file_len, err) < 0)
		return -1;
	img->trailer = page.trailer;
	return 0;
}

/* Read [offset, offset + len) of the file, whose XXH3 must be `digest`. */
static void *block_read(const struct image *img, uint64_t offset, size_t len, uint64_t digest,
			const char *what, struct stasis_error *err)
{
	scoped_free unsigned char *block = malloc(len + 1); /* len may be 0 */

	if (!block)
		return stasis_fail_null(err, STASIS_E_NOMEM, "image '%s': no memory for the %s",
					img->name, what);
	if (io_pread_full(img->fd, block, len, offset, err) < 0) {
		(void)stasis_fail_prefix(err, "image '%s'", img->name);
		return NULL;
	}
	if (image_digest(block, len) != digest) {
		(void)image_damaged(img->name, err, "%s: checksum mismatch", what);
		return NULL;
	}
	return ptr_take(&block);
}

/* ---- segments */

static int segment_parse(struct image *img, const Elf64_Phdr *ph, uint64_t want_offset,
			 struct stasis_error *err)
{
	struct image_segment *seg = &img->segments[img->nr_segments];
	const char *fault;

	if (!image_segment_of_phdr(seg, ph))
		return image_damaged(img->name, err, "segment %zu: unknown kind of program header",
				     img->nr_segments);
	fault = image_segment_fault(seg);
	if (fault)
		return image_damaged(img->name, err, "segment %zu: %s", img->nr_segments, fault);
	if (seg->offset != want_offset || seg->filesz > img->trailer.notes_off - want_offset)
		return image_damaged(img->name, err, "segment %zu: not in its place in the file",
				     img->nr_segments);
	img->nr_segments++;
	return 0;
}

/* The data area is full: each segment starts on the page where the one before it ends, the notes
 * where the last one ends. So no two overlap and no byte of the file is without a digest. */
static int segments_parse(struct image *img, const Elf64_Phdr *phdrs, struct stasis_error *err)
{
	uint64_t nr = img->trailer.nr_phdrs - 1, offset = IMAGE_ALIGN;

	img->segments = calloc(nr + 1, sizeof(*img->segments));
	if (!img->segments)
		return stasis_fail(err, STASIS_E_NOMEM, "image '%s': no memory for %llu segments",
				   img->name, (unsigned long long)nr);
	for (uint64_t i = 1; i <= nr; i++) {
		if (segment_parse(img, &phdrs[i], offset, err) < 0)
			return -1;
		offset = image_align(offset + phdrs[i].p_filesz, IMAGE_ALIGN);
		if (offset > img->trailer.notes_off)
			break;
	}
	if (offset != img->trailer.notes_off)
		return image_damaged(img->name, err, "segments do not fill the data area");
	return 0;
}

static int phdrs_read(struct image *img, struct stasis_error *err)
{
	const struct image_trailer *t = &img->trailer;
	scoped_free unsigned char *block = NULL;
	size_t len = image_phdrs_len(t->nr_phdrs);
	Elf64_Phdr notes;
	Elf64_Shdr shdr;

	block = block_read(img, t->phdrs_off, len, t->phdrs_digest, "program headers", err);
	if (!block)
		return -1;
	image_phdr_of_notes(&notes, t);
	if (memcmp(&notes, block, sizeof(notes)) != 0)
		return image_damaged(img->name, err, "the first program header is not the notes'");
	image_shdr_fill(&shdr, t->nr_phdrs);
	if (t->nr_phdrs >= PN_XNUM && memcmp(&shdr, block + len - sizeof(shdr), sizeof(shdr)) != 0)
		return image_damaged(img->name, err, "section header is wrong");
	return segments_parse(img, (const Elf64_Phdr *)(const void *)block, err);
}

/* ---- notes */

/* Take one note off the front of [*pp, *pp + *left). */
static int note_next(const unsigned char **pp, size_t *left, struct image_note_ref *ret)
{
	size_t owner_room, desc_room;
	Elf64_Nhdr head;

	if (*left < sizeof(head))
		return -1;
	memcpy(&head, *pp, sizeof(head));
	owner_room = image_align(head.n_namesz, 4); /* 32-bit values: no overflow in size_t */
	desc_room = image_align(head.n_descsz, 4);
	if (head.n_namesz == 0 || owner_room + desc_room > *left - sizeof(head))
		return -1;
	ret->owner = (const char *)*pp + sizeof(head);
	if (strnlen(ret->owner, head.n_namesz) != head.n_namesz - 1)
		return -1;
	ret->desc = *pp + sizeof(head) + owner_room;
	ret->type = head.n_type;
	ret->len = head.n_descsz;
	ret->msg = NULL;
	*pp += sizeof(head) + owner_room + desc_room;
	*left -= sizeof(head) + owner_room + desc_room;
	return 0;
}

static int tag_check(const struct image *img, const struct image_note_ref *ref,
		     struct stasis_error *err)
{
	if (strcmp(ref->owner, IMAGE_OWNER) != 0 || ref->type >= IMAGE_FIRST_OPTIONAL)
		return 0;
	if ((ref->type >= IMAGE_TAG_INFO && ref->type <= IMAGE_TAG_DIGESTS) ||
	    ref->type == IMAGE_TAG_NAMESPACE)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "image '%s' has a record of kind %u that this Stasis does not know: use "
			   "the version that made it", img->name, ref->type);
}

static int ref_add(struct image *img, size_t *room, const struct image_note_ref *ref,
		   struct stasis_error *err)
{
	struct image_note_ref *bigger;

	if (img->nr_refs == IMAGE_MAX_NOTES)
		return image_damaged(img->name, err, "more than %d notes", IMAGE_MAX_NOTES);
	if (img->nr_refs == *room) {
		*room = *room ? *room * 2 : FIRST_REFS;
		bigger = reallocarray(img->refs, *room, sizeof(*bigger));
		if (!bigger)
			return stasis_fail(err, STASIS_E_NOMEM, "image '%s': no memory for notes",
					   img->name);
		img->refs = bigger;
	}
	img->refs[img->nr_refs++] = *ref;
	return 0;
}

static int ref_compare_key(const struct image_note_ref *ref, const char *owner, uint64_t type)
{
	int by_owner = strcmp(ref->owner, owner);

	if (by_owner)
		return by_owner;
	return (ref->type > type) - (ref->type < type);
}

static int ref_compare(const void *pa, const void *pb)
{
	const struct image_note_ref *a = pa, *b = pb;
	int by_key = ref_compare_key(a, b->owner, b->type);

	return by_key ? by_key : (a->desc > b->desc) - (a->desc < b->desc);
}

static int notes_index(struct image *img, struct stasis_error *err)
{
	const unsigned char *p = img->notes;
	size_t left = img->trailer.notes_len, room = 0;
	struct image_note_ref ref;

	while (left) {
		if (note_next(&p, &left, &ref) < 0)
			return image_damaged(img->name, err, "note at byte %zu: out of bounds",
					     (size_t)(p - img->notes));
		if (tag_check(img, &ref, err) < 0 || ref_add(img, &room, &ref, err) < 0)
			return -1;
	}
	if (img->nr_refs)
		qsort(img->refs, img->nr_refs, sizeof(*img->refs), ref_compare);
	return 0;
}

/*
 * What all records together may take in memory. The wire form is dense: a two-byte empty message can
 * become a structure of 100 bytes and the parser's note about it 64 more, so the smallest element of
 * any real list (Fd) grows 28 times.
 */
static uint64_t unpack_budget(const struct image *img)
{
	uint64_t budget = MIN_UNPACK_BUDGET + UNPACK_FACTOR * img->trailer.notes_len;

	return budget < MAX_UNPACK_BUDGET ? budget : MAX_UNPACK_BUDGET;
}

static int notes_read(struct image *img, struct stasis_error *err)
{
	const struct image_trailer *t = &img->trailer;

	img->notes = block_read(img, t->notes_off, t->phdrs_off - t->notes_off, t->notes_digest,
				"notes", err);
	if (!img->notes)
		return -1;
	img->unpack_budget = unpack_budget(img);
	return notes_index(img, err);
}

static int digests_read(struct image *img, struct stasis_error *err)
{
	const unsigned char *digests;
	size_t len;

	digests = image_note(img, IMAGE_OWNER, IMAGE_TAG_DIGESTS, 0, &len);
	if (!digests || image_nr_records(img, IMAGE_TAG_DIGESTS) != 1)
		return image_damaged(img->name, err, "has %zu lists of checksums, not 1",
				     image_nr_records(img, IMAGE_TAG_DIGESTS));
	if (len != img->trailer.nr_phdrs * sizeof(uint64_t))
		return image_damaged(img->name, err, "list of checksums has %zu bytes, not %llu",
				     len, (unsigned long long)img->trailer.nr_phdrs * 8);
	for (size_t i = 0; i < img->nr_segments; i++) {
		struct image_segment *seg = &img->segments[i];

		memcpy(&seg->digest, digests + (i + 1) * sizeof(uint64_t), sizeof(uint64_t));
		if (!seg->filesz && seg->digest)
			return image_damaged(img->name, err, "segment %zu: checksum of no bytes", i);
	}
	return 0;
}

/* ---- public */

static void closep(struct image **img)
{
	image_close(*img);
}

int image_open(int dirfd, const char *name, struct image **ret, struct stasis_error *err)
{
	scoped(closep) struct image *img = calloc(1, sizeof(*img));
	uint64_t file_len = 0;

	if (!img)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", name);
	img->fd = -1;
	img->name = strdup(name);
	if (!img->name)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for image '%s'", name);
	if (file_open(img, dirfd, &file_len, err) < 0 || page_read(img, file_len, err) < 0)
		return -1;
	if (phdrs_read(img, err) < 0 || notes_read(img, err) < 0 || digests_read(img, err) < 0)
		return -1;
	*ret = ptr_take(&img);
	return 0;
}

void image_close(struct image *img)
{
	if (!img)
		return;
	scoped_close_fd(&img->fd);
	for (size_t i = 0; i < img->nr_refs; i++)
		image_free_record(img->refs[i].msg);
	free(img->refs);
	free(img->notes);
	free(img->segments);
	free(img->name);
	free(img);
}

int image_fd(const struct image *img)
{
	return img->fd;
}

const char *image_name(const struct image *img)
{
	return img->name;
}

size_t image_nr_segments(const struct image *img)
{
	return img->nr_segments;
}

const struct image_segment *image_segment(const struct image *img, size_t i)
{
	return i < img->nr_segments ? &img->segments[i] : NULL;
}

/* Index of the first note that is not before (owner, type); type may be one past 32 bits. */
static size_t lower_bound(const struct image *img, const char *owner, uint64_t type)
{
	size_t low = 0, high = img->nr_refs;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ref_compare_key(&img->refs[middle], owner, type) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct image_note_ref *image_find_note(const struct image *img, const char *owner, uint32_t type,
				       size_t nth)
{
	size_t first = lower_bound(img, owner, type);

	if (nth >= img->nr_refs - first)
		return NULL;
	if (ref_compare_key(&img->refs[first + nth], owner, type) != 0)
		return NULL;
	return &img->refs[first + nth];
}

const void *image_note(const struct image *img, const char *owner, uint32_t type, size_t nth,
		       size_t *ret_len)
{
	const struct image_note_ref *ref = image_find_note(img, owner, type, nth);

	if (!ref)
		return NULL;
	*ret_len = ref->len;
	return ref->desc;
}

size_t image_nr_records(const struct image *img, enum image_tag tag)
{
	return lower_bound(img, IMAGE_OWNER, (uint64_t)tag + 1) -
	       lower_bound(img, IMAGE_OWNER, (uint64_t)tag);
}
