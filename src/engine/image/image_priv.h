/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this module share: the format's constants and page 0. */
#ifndef IMAGE_IMAGE_PRIV_H
#define IMAGE_IMAGE_PRIV_H

#include "image/image.h"

#include <elf.h>
#include <stdatomic.h>

/* The parser of untrusted bytes: no silent narrowing. Generated code is compiled without it. */
#pragma GCC diagnostic warning "-Wconversion"

#define IMAGE_OWNER "STASIS"
#define IMAGE_PT_BULK (PT_LOOS + 0x5544153u) /* below PT_HIOS, so not all of "STAS" fits */

enum {
	IMAGE_ALIGN = 4096,	      /* of segments in the file; length of the header page */
	IMAGE_FIRST_OPTIONAL = 1000,  /* tags and field numbers below it must be understood */
	IMAGE_MAX_NOTES_LEN = 1 << 30, /* bytes: what a reader takes into memory at once */
	IMAGE_MAX_NOTES = 1 << 22,    /* as many as the kernel can have threads (PID_MAX_LIMIT) */
	IMAGE_MAX_SEGMENTS = 1 << 24,
	IMAGE_MAX_NAME = 255, /* NAME_MAX */
	IMAGE_MAX_MEMBERS = 1 << 22, /* PID_MAX_LIMIT */
};

/*
 * Behind the ELF header in page 0; little-endian. magic and page_digest stay where they are in every
 * version of the format, so that damage is told from another version.
 */
struct image_trailer {
	char magic[8];
	uint64_t page_digest; /* of page 0 with this field zero */
	uint32_t version;
	uint32_t header_len;
	uint64_t file_len;
	uint64_t notes_off;
	uint64_t notes_len;
	uint64_t notes_digest; /* of [notes_off, phdrs_off) */
	uint64_t phdrs_off;
	uint64_t nr_phdrs;
	uint64_t phdrs_digest; /* of [phdrs_off, file_len) */
};

struct image_page {
	Elf64_Ehdr ehdr;
	struct image_trailer trailer;
	unsigned char zero[IMAGE_ALIGN - sizeof(Elf64_Ehdr) - sizeof(struct image_trailer)];
};
_Static_assert(sizeof(struct image_page) == IMAGE_ALIGN, "page 0");
_Static_assert(sizeof(struct image_trailer) == 80, "no padding in the trailer");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "images are little-endian");

static inline uint64_t image_align(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* format.c */

/* Set trailer fields from file_len on; then this makes the page of it, digest included. */
void image_page_fill(struct image_page *page);

/* Check page 0 of a file of file_len bytes; every table it names then lies inside the file. */
int image_page_check(const struct image_page *page, const char *name, uint64_t file_len,
		     struct stasis_error *err);

/* How long the table of program headers is, with the section header that carries its count. */
uint64_t image_phdrs_len(uint64_t nr_phdrs);
void image_shdr_fill(Elf64_Shdr *shdr, uint64_t nr_phdrs);
void image_phdr_of_notes(Elf64_Phdr *ph, const struct image_trailer *t);
void image_phdr_of_segment(Elf64_Phdr *ph, const struct image_segment *seg);

/* The reverse; false when it is no header that the writer could have made. digest is left alone. */
bool image_segment_of_phdr(struct image_segment *seg, const Elf64_Phdr *ph);

/* What a segment must be, apart from its place in the file; NULL or what is wrong. */
const char *image_segment_fault(const struct image_segment *seg);

/* A plain file name: no slash, not empty, "." or "..", at most IMAGE_MAX_NAME bytes. */
bool image_name_is_plain(const char *name);

/* "image 'NAME': text", STASIS_E_CORRUPT. */
int image_damaged(const char *name, struct stasis_error *err, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* writer.c, for commit.c */
enum draft_state {
	DRAFT_OPEN,
	DRAFT_SEALED,
	DRAFT_RENAMED,	 /* has its final name, which was free */
	DRAFT_EXCHANGED, /* has its final name; the draft's name holds the older file */
	DRAFT_REPLACED,	 /* has its final name; the older file is lost */
	DRAFT_COMMITTED,
};

struct writer_segment {
	struct image_segment seg;
	bool has_digest;
};

struct image_writer {
	int dirfd; /* the caller's */
	int fd;
	bool overwrite;
	enum draft_state state;
	char name[IMAGE_MAX_NAME + 1];
	char draft[IMAGE_MAX_NAME + 1];
	uint64_t end; /* where the next segment goes */
	uint64_t file_len; /* once sealed */
	struct flusher *flusher; /* NULL: none; see flusher.c */
	struct writer_segment *segments;
	size_t nr_segments, room_segments;
	unsigned char *notes;
	size_t notes_len, room_notes, nr_notes;
};

/* flusher.c: the thread is gone afterwards; nothing to do when there is none. */
void flusher_end(struct image_writer *w);

/* reader.c, for record.c and verify.c */
struct image_note_ref {
	const char *owner; /* in notes, NUL-terminated */
	const unsigned char *desc;
	uint32_t type;
	uint32_t len;
	ProtobufCMessage *msg; /* once unpacked */
};

struct image {
	int fd;
	char *name;
	struct image_trailer trailer;
	struct image_segment *segments;
	size_t nr_segments;
	unsigned char *notes;
	struct image_note_ref *refs; /* by owner, type, order in the file */
	size_t nr_refs;
	uint64_t unpack_budget; /* bytes of memory that records may still take */
};

/* Entry of the nth note of that owner and type, NULL when there is none. */
struct image_note_ref *image_find_note(const struct image *img, const char *owner, uint32_t type,
				       size_t nth);

/* record.c */
void image_free_record(ProtobufCMessage *msg);

#endif
