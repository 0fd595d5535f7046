/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How page 0 and the program headers look, for the writer and the reader alike: the reader accepts
 * what this file makes of the same facts, byte for byte, and nothing else.
 */
#include "image/image_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

static const char magic[8] = {'S', 'T', 'A', 'S', 'I', 'S', '\0', '\1'};

/* Where the linker put the ELF header of this very library or program. */
extern const Elf64_Ehdr own_ehdr __asm__("__ehdr_start") __attribute__((__visibility__("hidden")));

/* The machine Stasis was built for is the one whose registers it saves. */
static Elf64_Half host_machine(void)
{
	return own_ehdr.e_machine;
}

uint64_t image_digest(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

int image_damaged(const char *name, struct stasis_error *err, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* truncation is acceptable */
	va_end(ap);
	return stasis_fail(err, STASIS_E_CORRUPT, "image '%s': %s", name, text);
}

bool image_name_is_plain(const char *name)
{
	size_t len = strnlen(name, IMAGE_MAX_NAME + 1);

	if (len == 0 || len > IMAGE_MAX_NAME || memchr(name, '/', len))
		return false;
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

uint64_t image_phdrs_len(uint64_t nr_phdrs)
{
	uint64_t len = nr_phdrs * sizeof(Elf64_Phdr);

	return nr_phdrs < PN_XNUM ? len : len + sizeof(Elf64_Shdr);
}

/* elf(5): with PN_XNUM in e_phnum the count is in sh_info of the first section header. */
void image_shdr_fill(Elf64_Shdr *shdr, uint64_t nr_phdrs)
{
	memset(shdr, 0, sizeof(*shdr));
	shdr->sh_type = SHT_NULL;
	shdr->sh_size = 1; /* number of section headers */
	shdr->sh_info = (Elf64_Word)nr_phdrs;
}

static void ehdr_fill(Elf64_Ehdr *e, const struct image_trailer *t)
{
	memset(e, 0, sizeof(*e));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_ident[EI_VERSION] = EV_CURRENT;
	e->e_ident[EI_OSABI] = ELFOSABI_NONE;
	e->e_type = ET_CORE;
	e->e_machine = host_machine();
	e->e_version = EV_CURRENT;
	e->e_ehsize = sizeof(Elf64_Ehdr);
	e->e_phentsize = sizeof(Elf64_Phdr);
	e->e_phoff = t->phdrs_off;
	if (t->nr_phdrs < PN_XNUM) {
		e->e_phnum = (Elf64_Half)t->nr_phdrs;
		return;
	}
	e->e_phnum = PN_XNUM;
	e->e_shoff = t->phdrs_off + t->nr_phdrs * sizeof(Elf64_Phdr);
	e->e_shentsize = sizeof(Elf64_Shdr);
	e->e_shnum = 1;
}

static uint64_t page_digest(const struct image_page *page)
{
	struct image_page copy = *page;

	copy.trailer.page_digest = 0;
	return image_digest(&copy, sizeof(copy));
}

void image_page_fill(struct image_page *page)
{
	struct image_trailer *t = &page->trailer;

	memcpy(t->magic, magic, sizeof(magic));
	t->version = IMAGE_FORMAT_VERSION;
	t->header_len = IMAGE_ALIGN;
	ehdr_fill(&page->ehdr, t);
	memset(page->zero, 0, sizeof(page->zero));
	t->page_digest = page_digest(page);
}

/* Notes, program headers and section header follow each other and end the file. No sum below can
 * overflow: file_len comes from fstat() and is below 2^63. */
static bool tables_fit(const struct image_trailer *t)
{
	if (t->notes_off % IMAGE_ALIGN || t->notes_off < IMAGE_ALIGN || t->notes_off > t->file_len)
		return false;
	if (t->notes_len % 4 || t->notes_len > IMAGE_MAX_NOTES_LEN)
		return false;
	if (t->nr_phdrs < 1 || t->nr_phdrs > IMAGE_MAX_SEGMENTS + 1)
		return false;
	return t->phdrs_off == image_align(t->notes_off + t->notes_len, 8) &&
	       t->phdrs_off + image_phdrs_len(t->nr_phdrs) == t->file_len;
}

static int check_kind(const struct image_page *page, const char *name, struct stasis_error *err)
{
	const struct image_trailer *t = &page->trailer;

	if (memcmp(page->ehdr.e_ident, ELFMAG, SELFMAG) || memcmp(t->magic, magic, sizeof(magic)))
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s' is not a Stasis image", name);
	if (t->page_digest != page_digest(page))
		return image_damaged(name, err, "header: checksum mismatch");
	if (t->version != IMAGE_FORMAT_VERSION)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "image '%s' has format version %u, this Stasis reads %d", name,
				   t->version, IMAGE_FORMAT_VERSION);
	if (page->ehdr.e_machine != host_machine())
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "image '%s' was made on another architecture (ELF machine %u, "
				   "this is %u)", name, page->ehdr.e_machine, host_machine());
	return 0;
}

int image_page_check(const struct image_page *page, const char *name, uint64_t file_len,
		     struct stasis_error *err)
{
	const struct image_trailer *t = &page->trailer;
	Elf64_Ehdr want;

	if (check_kind(page, name, err) < 0)
		return -1;
	if (t->file_len != file_len)
		return image_damaged(name, err, "has %llu bytes, but its header says %llu",
				     (unsigned long long)file_len, (unsigned long long)t->file_len);
	if (t->header_len != IMAGE_ALIGN || !tables_fit(t))
		return image_damaged(name, err, "header: tables out of bounds");
	ehdr_fill(&want, t);
	if (memcmp(&want, &page->ehdr, sizeof(want)) != 0)
		return image_damaged(name, err, "ELF header contradicts the image header");
	return 0;
}

void image_phdr_of_notes(Elf64_Phdr *ph, const struct image_trailer *t)
{
	memset(ph, 0, sizeof(*ph));
	ph->p_type = PT_NOTE;
	ph->p_offset = t->notes_off;
	ph->p_filesz = t->notes_len;
	ph->p_align = 4;
}

static Elf64_Word flags_of_prot(uint32_t prot)
{
	return (prot & PROT_READ ? (Elf64_Word)PF_R : 0) |
	       (prot & PROT_WRITE ? (Elf64_Word)PF_W : 0) |
	       (prot & PROT_EXEC ? (Elf64_Word)PF_X : 0);
}

static uint32_t prot_of_flags(Elf64_Word flags)
{
	return (flags & PF_R ? (uint32_t)PROT_READ : 0) |
	       (flags & PF_W ? (uint32_t)PROT_WRITE : 0) |
	       (flags & PF_X ? (uint32_t)PROT_EXEC : 0);
}

void image_phdr_of_segment(Elf64_Phdr *ph, const struct image_segment *seg)
{
	memset(ph, 0, sizeof(*ph));
	ph->p_type = seg->type == IMAGE_SEG_LOAD ? PT_LOAD : IMAGE_PT_BULK;
	ph->p_flags = flags_of_prot(seg->prot);
	ph->p_offset = seg->offset;
	ph->p_vaddr = seg->vaddr;
	ph->p_paddr = seg->type == IMAGE_SEG_LOAD ? 0 : seg->object;
	ph->p_filesz = seg->filesz;
	ph->p_memsz = seg->memsz;
	/* ELF wants p_offset and p_vaddr equal modulo it; bulk vaddr is any offset in an object */
	ph->p_align = seg->type == IMAGE_SEG_LOAD ? IMAGE_ALIGN : 1;
}

bool image_segment_of_phdr(struct image_segment *seg, const Elf64_Phdr *ph)
{
	Elf64_Phdr canonical;

	if (ph->p_type != PT_LOAD && ph->p_type != IMAGE_PT_BULK)
		return false;
	seg->type = ph->p_type == PT_LOAD ? IMAGE_SEG_LOAD : IMAGE_SEG_BULK;
	seg->vaddr = ph->p_vaddr;
	seg->memsz = ph->p_memsz;
	seg->filesz = ph->p_filesz;
	seg->offset = ph->p_offset;
	seg->prot = prot_of_flags(ph->p_flags);
	seg->object = ph->p_paddr;
	image_phdr_of_segment(&canonical, seg);
	return memcmp(&canonical, ph, sizeof(canonical)) == 0;
}

const char *image_segment_fault(const struct image_segment *seg)
{
	uint64_t end;

	if (seg->filesz > seg->memsz)
		return "more bytes in the file than in memory";
	if (__builtin_add_overflow(seg->vaddr, seg->memsz, &end))
		return "runs past the end of the address space";
	if (seg->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return "unknown protection bits";
	if (seg->type == IMAGE_SEG_BULK)
		return seg->filesz == seg->memsz ? NULL : "bulk bytes are missing";
	if ((seg->vaddr | seg->memsz | seg->filesz) % IMAGE_ALIGN)
		return "memory is not page aligned";
	return seg->memsz ? NULL : "has no length";
}
