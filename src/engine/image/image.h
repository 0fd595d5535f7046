/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "lib/error.h"
#include "records.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_FORMAT_VERSION 1

/* Types of the notes owned by "STASIS". Below 1000 a reader that does not know the tag must refuse
 * the image; from 1000 on it may ignore the record. Never reused. */
enum image_tag {
	IMAGE_TAG_INFO = 1,
	IMAGE_TAG_PROCESS = 2,
	IMAGE_TAG_THREAD = 3, /* one per thread */
	IMAGE_TAG_MM = 4,
	IMAGE_TAG_FDTABLE = 5,
	IMAGE_TAG_DESCRIPTION = 6, /* one per open file description */
	IMAGE_TAG_OBJECT = 7,	   /* one per object */
	IMAGE_TAG_NAMESPACE = 25,  /* one per namespace of the tree's own */
	IMAGE_TAG_DIGESTS = 8,	   /* raw uint64_t[], little-endian: one per program header */
};

enum image_segment_type {
	IMAGE_SEG_LOAD, /* PT_LOAD: memory of the process, what a debugger sees */
	IMAGE_SEG_BULK, /* PT_LOOS + 0x5544153: bytes of an object; p_paddr = object id, p_vaddr = offset in it */
};

struct image_segment {
	enum image_segment_type type;
	uint64_t vaddr;	 /* address, or offset inside the object */
	uint64_t memsz;	 /* bytes of address space; >= filesz */
	uint64_t filesz; /* bytes in the file */
	uint64_t offset; /* in the file, page aligned; set by image_add_segment() */
	uint32_t prot;	 /* PROT_* */
	uint64_t object; /* bulk: object id */
	uint64_t digest; /* XXH3-64 of the filesz bytes */
};

/* ---- writing ---- */

struct image_writer;

/* Start a draft beside `name` in dirfd (mode 0600, hidden name). overwrite: the commit may replace an
 * existing file, else an existing one is STASIS_E_BUSY "NAME: file exists", now and at commit.
 * dirfd stays the caller's and open until image_discard(). */
int image_create(int dirfd, const char *name, bool overwrite, struct image_writer **ret,
		 struct stasis_error *err);

/* Descriptor of the draft, for writing segment bytes at the offsets given out. Stays the writer's. */
int image_draft_fd(const struct image_writer *w);

/* Reserve room for a segment; sets seg->offset and returns its index, or -1. Nothing is written: the
 * caller writes filesz bytes at seg->offset of the draft and then sets the digest. */
ssize_t image_add_segment(struct image_writer *w, struct image_segment *seg,
			  struct stasis_error *err);
void image_set_digest(struct image_writer *w, size_t index, uint64_t digest);

/* Every byte of the draft before offset `until` is written: the disk may begin with them. To be
 * called now and then while a long draft is written; each call costs next to nothing. */
void image_written(struct image_writer *w, uint64_t until);

/* Write bytes of a bulk segment that are at hand (adds, writes, digests). */
int image_put_bulk(struct image_writer *w, uint64_t object, uint64_t offset_in_object,
		   const void *bytes, size_t len, struct stasis_error *err);

/* Append a note (kept in memory until image_seal()). */
int image_put_note(struct image_writer *w, const char *owner, uint32_t type, const void *desc,
		   size_t len, struct stasis_error *err);

/* Append a STASIS note with a packed record. */
int image_put_record(struct image_writer *w, enum image_tag tag, const ProtobufCMessage *msg,
		     struct stasis_error *err);

/* Write notes, program headers and header; after it the draft is a whole image. Starts write-back
 * but does not wait for it. */
int image_seal(struct image_writer *w, struct stasis_error *err);

/* Make many sealed drafts durable (fsync in parallel), rename them in the given order (the caller
 * puts the root last), and fsync the folder. On failure all are drafts again and older files that
 * were replaced are back (on file systems without RENAME_EXCHANGE, such as NFS, those replaced stay
 * replaced). */
int image_commit_all(struct image_writer **writers, size_t nr, int dirfd, struct stasis_error *err);

uint64_t image_file_size(const struct image_writer *w);

/* Free; the draft, if not committed, is deleted. NULL is fine. */
void image_discard(struct image_writer *w);

/* XXH3-64, seed 0. */
uint64_t image_digest(const void *bytes, size_t len);

/* ---- reading ---- */

struct image;

/* Open and check everything but the segment bytes: header, bounds of every table, digests of notes
 * and headers, tags. Every damage is STASIS_E_CORRUPT with one clear line. */
int image_open(int dirfd, const char *name, struct image **ret, struct stasis_error *err);
void image_close(struct image *img); /* NULL is fine */

int image_fd(const struct image *img);
const char *image_name(const struct image *img);

size_t image_nr_segments(const struct image *img);
const struct image_segment *image_segment(const struct image *img, size_t i);

/* nth note of that owner and type; NULL when there is none. Bytes live as long as the image. */
const void *image_note(const struct image *img, const char *owner, uint32_t type, size_t nth,
		       size_t *ret_len);

size_t image_nr_records(const struct image *img, enum image_tag tag);

/* Unpack the nth record; the message lives as long as the image (repeated calls give the same
 * pointer). A missing or malformed record is STASIS_E_CORRUPT, NULL. `desc` is the generated
 * descriptor, such as &stasis__process__descriptor. */
const void *image_record(struct image *img, enum image_tag tag, size_t nth,
			 const ProtobufCMessageDescriptor *desc, struct stasis_error *err);

/* Check the digest of every segment, with that many threads. */
int image_verify_data(const struct image *img, unsigned nr_threads, struct stasis_error *err);

/* The same without long segments of memory: who loads these (before anything of the program runs)
 * checks them as it goes, instead of having gigabytes read twice. */
int image_verify_early(const struct image *img, unsigned nr_threads, struct stasis_error *err);
bool image_is_late(const struct image_segment *seg);

/* XXH3-64 of bytes that come in pieces. NULL: no memory. image_sum_end() frees it; NULL gives 0. */
struct image_sum;
struct image_sum *image_sum_start(void);
void image_sum_add(struct image_sum *sum, const void *bytes, size_t len);
uint64_t image_sum_end(struct image_sum *sum);

#endif
