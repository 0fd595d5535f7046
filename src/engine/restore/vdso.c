/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vDSO belongs to the running kernel: its code reads data whose layout only this kernel knows. When
 * this kernel's vDSO is byte for byte the saved one, it is moved to where the program expects it.
 * Otherwise the program keeps the old code as ordinary memory at the old place, each function of which
 * jumps to the function of the same name in this kernel's vDSO, mapped beside it.
 */
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	MAX_VDSO_BYTES = 1 << 20,
	MAX_SYMBOLS = 4096,
	JUMP_BYTES = 14,
	SEARCH_STEP = 1 << 21,
};

/* The kernel's mappings of one process, vDSO among them, ascending. */
int vdso_read_own(struct vdso_maps *ret, struct stasis_error *err)
{
	scoped_file FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	memset(ret, 0, sizeof(*ret));
	if (!maps)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/proc/self/maps'");
	ret->vdso = VDSO_MAX_MAPS;
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (!strstr(line, "[vdso]") && !strstr(line, "[vvar"))
			continue;
		if (ret->nr == VDSO_MAX_MAPS ||
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			return stasis_fail(err, STASIS_E_INTERNAL, "unexpected kernel mappings");
		if (strstr(line, "[vdso]"))
			ret->vdso = ret->nr;
		ret->m[ret->nr].start = start;
		ret->m[ret->nr++].end = end;
	}
	if (ret->vdso == VDSO_MAX_MAPS)
		ret->vdso = ret->nr;
	return 0;
}

static int saved_maps(const Stasis__Mm *mm, struct vdso_maps *ret, struct stasis_error *err)
{
	memset(ret, 0, sizeof(*ret));
	ret->vdso = VDSO_MAX_MAPS;
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const Stasis__Vma *v = mm->vmas[i];

		if (v->kind != STASIS__VMA_KIND__VMA_VDSO && v->kind != STASIS__VMA_KIND__VMA_VVAR)
			continue;
		if (ret->nr == VDSO_MAX_MAPS)
			return stasis_fail(err, STASIS_E_CORRUPT, "too many kernel mappings");
		if (v->kind == STASIS__VMA_KIND__VMA_VDSO)
			ret->vdso = ret->nr;
		ret->m[ret->nr].start = v->start;
		ret->m[ret->nr++].end = v->end;
	}
	if (ret->vdso == VDSO_MAX_MAPS)
		ret->vdso = ret->nr;
	return 0;
}

static uint64_t total_bytes(const struct vdso_maps *k)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < k->nr; i++)
		sum += k->m[i].end - k->m[i].start;
	return sum;
}

static const void *own_vdso(const struct vdso_maps *k)
{
	return (const void *)k->m[k->vdso].start;
}

static bool same_layout(const struct vdso_maps *own, const struct vdso_maps *saved)
{
	if (own->nr != saved->nr || own->vdso != saved->vdso)
		return false;
	for (size_t i = 0; i < own->nr; i++)
		if (own->m[i].end - own->m[i].start != saved->m[i].end - saved->m[i].start ||
		    own->m[i].start - own->m[0].start != saved->m[i].start - saved->m[0].start)
			return false;
	return true;
}

static bool same_code(const struct vdso_maps *own, const Stasis__Mm *mm)
{
	uint64_t len = own->m[own->vdso].end - own->m[own->vdso].start;

	/* STASIS_VDSO_EMULATE is for tests: this machine has but one kernel */
	return mm->vdso.len == len && memcmp(mm->vdso.data, own_vdso(own), len) == 0 &&
	       !secure_getenv("STASIS_VDSO_EMULATE");
}

static bool is_identical(const struct vdso_maps *own, const struct vdso_maps *saved,
			 const Stasis__Mm *mm)
{
	if (own->vdso == own->nr || saved->vdso == saved->nr)
		return false;
	return same_layout(own, saved) && same_code(own, mm);
}

size_t vdso_space(const struct restore *r, const struct restore_proc *p)
{
	return total_bytes(&r->own_vdso) + ((p->mm->vdso.len + RESTORER_PAGE - 1) & ~(size_t)(RESTORER_PAGE - 1));
}

/* ---- the symbols of a vDSO; the saved one is untrusted bytes ---- */

struct vdso_image {
	const uint8_t *bytes;
	size_t len;
	const Elf64_Sym *syms;
	size_t nr_syms;
	const char *strings;
	size_t strings_len;
};

static bool inside(const struct vdso_image *v, uint64_t offset, uint64_t len)
{
	return offset <= v->len && len <= v->len - offset;
}

/* Sections .dynsym and .dynstr; every vDSO has a section table. */
static bool find_symbols(struct vdso_image *v)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)(const void *)v->bytes;
	const Elf64_Shdr *sh;

	if (!inside(v, 0, sizeof(*eh)) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_shentsize != sizeof(*sh) ||
	    !inside(v, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(*sh)) || eh->e_shoff % 8)
		return false;
	sh = (const Elf64_Shdr *)(const void *)(v->bytes + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		if (sh[i].sh_type != SHT_DYNSYM || sh[i].sh_link >= eh->e_shnum ||
		    sh[i].sh_offset % 8 || !inside(v, sh[i].sh_offset, sh[i].sh_size))
			continue;
		v->syms = (const Elf64_Sym *)(const void *)(v->bytes + sh[i].sh_offset);
		v->nr_syms = sh[i].sh_size / sizeof(*v->syms);
		sh = &sh[sh[i].sh_link];
		if (!inside(v, sh->sh_offset, sh->sh_size) || !sh->sh_size)
			return false;
		v->strings = (const char *)v->bytes + sh->sh_offset;
		v->strings_len = sh->sh_size;
		return v->nr_syms <= MAX_SYMBOLS && v->strings[v->strings_len - 1] == '\0';
	}
	return false;
}

static const char *symbol_name(const struct vdso_image *v, size_t i)
{
	if (v->syms[i].st_name >= v->strings_len || ELF64_ST_TYPE(v->syms[i].st_info) != STT_FUNC)
		return "";
	return v->strings + v->syms[i].st_name;
}

static bool find_function(const struct vdso_image *v, const char *name, uint64_t *ret_offset)
{
	for (size_t i = 0; i < v->nr_syms; i++)
		if (*name && !strcmp(symbol_name(v, i), name)) {
			*ret_offset = v->syms[i].st_value;
			return true;
		}
	return false;
}

/* jmp *0(%rip); .quad target: changes no register. */
static void put_jump(uint8_t *at, uint64_t target)
{
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};

	memcpy(at, jump, sizeof(jump));
	memcpy(at + sizeof(jump), &target, sizeof(target));
}

static int patch_old(uint8_t *old_bytes, size_t old_len, const struct vdso_image *now,
		     uint64_t now_at, struct stasis_error *err)
{
	struct vdso_image old = {.bytes = old_bytes, .len = old_len};
	uint64_t target;

	if (!find_symbols(&old))
		return stasis_fail(err, STASIS_E_CORRUPT, "the saved vDSO has no symbols");
	for (size_t i = 0; i < old.nr_syms; i++) {
		const char *name = symbol_name(&old, i);

		if (!*name)
			continue;
		if (!find_function(now, name, &target))
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "this kernel's vDSO has no '%s', which the program may call",
					   name);
		if (!inside(&old, old.syms[i].st_value, JUMP_BYTES))
			return stasis_fail(err, STASIS_E_CORRUPT, "the saved vDSO's '%s'", name);
		put_jump(old_bytes + old.syms[i].st_value, now_at + target);
	}
	return 0;
}

/* Room in the program's address space for this kernel's mappings: the first gap below its old ones. */
static uint64_t find_room(const Stasis__Mm *mm, uint64_t below, uint64_t len)
{
	for (uint64_t at = (below - len) & ~(uint64_t)(RESTORER_PAGE - 1); at > SEARCH_STEP;
	     at -= SEARCH_STEP) {
		bool is_free = true;

		for (size_t i = 0; i < mm->n_vmas && is_free; i++)
			is_free = at + len + SEARCH_STEP / 2 <= mm->vmas[i]->start ||
				  mm->vmas[i]->end <= at;
		if (is_free)
			return at;
	}
	return 0;
}

static void fill_specials(const struct vdso_maps *own, uint64_t park, uint64_t to,
			  struct restorer_special *ret)
{
	for (size_t i = 0; i < own->nr; i++) {
		ret[i].from = own->m[i].start;
		ret[i].len = own->m[i].end - own->m[i].start;
		ret[i].park = park;
		ret[i].to = to + (own->m[i].start - own->m[0].start);
		park += ret[i].len;
	}
}

static int emulate(const struct vdso_maps *own, const struct vdso_maps *saved,
		   const Stasis__Mm *mm, uint64_t space, struct restorer_special *ret,
		   struct restorer_move *ret_patch, struct stasis_error *err)
{
	uint64_t own_len = own->m[own->nr - 1].end - own->m[0].start;
	uint64_t old_at = saved->m[saved->vdso].start, old_len = mm->vdso.len;
	uint64_t to = find_room(mm, old_at, own_len);
	uint8_t *copy = (uint8_t *)(space + total_bytes(own));
	struct vdso_image now = {.bytes = own_vdso(own),
				 .len = own->m[own->vdso].end - own->m[own->vdso].start};

	if (!to)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "no room for this kernel's vDSO");
	if (!find_symbols(&now))
		return stasis_fail(err, STASIS_E_INTERNAL, "this kernel's vDSO has no symbols");
	memcpy(copy, mm->vdso.data, old_len);
	if (patch_old(copy, old_len, &now, to + (own->m[own->vdso].start - own->m[0].start), err) < 0)
		return -1;
	fill_specials(own, space, to, ret);
	*ret_patch = (struct restorer_move){
		.from = (uint64_t)copy,
		.to = old_at,
		.len = saved->m[saved->vdso].end - old_at,
	};
	if (mprotect(copy, ret_patch->len, PROT_READ | PROT_EXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_UNSUPPORTED, "make the old vDSO executable");
	return 0;
}

int vdso_plan(struct restore *r, struct restore_proc *p, uint64_t space, struct restorer_special *ret, size_t max,
	      size_t *ret_nr, struct restorer_move *ret_patch, bool *ret_has_patch,
	      struct stasis_error *err)
{
	const struct vdso_maps *own = &r->own_vdso;
	struct vdso_maps saved;

	*ret_has_patch = false;
	*ret_nr = 0;
	if (saved_maps(p->mm, &saved, err) < 0)
		return -1;
	if (own->nr > max)
		return stasis_fail(err, STASIS_E_INTERNAL, "%zu kernel mappings", own->nr);
	if (own->vdso == own->nr || saved.vdso == saved.nr)
		return 0; /* the program lives without, or must */
	if (saved.m[saved.vdso].end - saved.m[saved.vdso].start < p->mm->vdso.len ||
	    p->mm->vdso.len > MAX_VDSO_BYTES)
		return stasis_fail(err, STASIS_E_CORRUPT, "the saved vDSO has %zu bytes",
				   p->mm->vdso.len);
	*ret_nr = own->nr;
	if (is_identical(own, &saved, p->mm)) {
		fill_specials(own, space, saved.m[0].start, ret);
		return 0;
	}
	*ret_has_patch = true;
	return emulate(own, &saved, p->mm, space, ret, ret_patch, err);
}

static bool is_in_vdso(const Stasis__Mm *mm, uint64_t address)
{
	for (size_t i = 0; i < mm->n_vmas; i++)
		if (mm->vmas[i]->kind == STASIS__VMA_KIND__VMA_VDSO &&
		    address >= mm->vmas[i]->start && address < mm->vmas[i]->end)
			return true;
	return false;
}

int vdso_check(struct restore *r, struct stasis_error *err)
{
	struct vdso_maps saved;

	for (size_t i = 0; i < r->nr; i++) {
		const struct restore_proc *p = &r->procs[i];

		if (!p->mm)
			continue;
		if (saved_maps(p->mm, &saved, err) < 0)
			return -1;
		if (saved.vdso == saved.nr || is_identical(&r->own_vdso, &saved, p->mm))
			continue;
		s_info(r->s, "%s(%u): another kernel's vDSO: its functions are redirected",
		       p->process->comm, p->process->pid);
		for (size_t k = 0; k < p->nr_threads; k++)
			if (is_in_vdso(p->mm, restore_regs(p, k).u.rip) && !r->s->is_forced)
				return stasis_fail(err, STASIS_E_UNSUPPORTED,
						   "thread %u was inside the vDSO of another kernel; "
						   "use another checkpoint of it",
						   p->threads[k]->tid);
	}
	return 0;
}
