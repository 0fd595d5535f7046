/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mappings and pages that an image claims, as input that nobody vouches for: after this no other
 * file has to ask whether an address is in bounds or a run inside a mapping.
 */
#include "memory/load_priv.h"

#include "lib/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_VMAS (16u << 20)

static int bad_vma(const Stasis__Vma *v, const char *what, struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_CORRUPT, "mapping %llx-%llx: %s",
			   (unsigned long long)v->start, (unsigned long long)v->end, what);
}

static int check_range(const Stasis__Vma *v, uint64_t previous_end, struct stasis_error *err)
{
	if (v->start >= v->end || v->start % MEM_PAGE || v->end % MEM_PAGE)
		return bad_vma(v, "not a range of whole pages", err);
	if (v->start < previous_end)
		return bad_vma(v, "overlaps the one before or is out of order", err);
	if (v->end > TASK_MAX && v->kind != STASIS__VMA_KIND__VMA_VSYSCALL)
		return bad_vma(v, "beyond the addresses of user programs", err);
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return bad_vma(v, "unknown protection bits", err);
	if (v->pkey >= LOAD_NR_PKEYS)
		return bad_vma(v, "unknown protection key", err);
	if (v->pgoff % MEM_PAGE || v->pgoff > INT64_MAX - (v->end - v->start))
		return bad_vma(v, "offset out of bounds", err);
	if (v->flags & VMA_F_HUGETLB)
		return v->start % HUGE || v->end % HUGE || v->pgoff % HUGE ?
			       bad_vma(v, "not a range of whole huge pages", err) :
			       0;
	return 0;
}

static int check_backing(const Stasis__Vma *v, struct stasis_error *err)
{
	bool has_file = v->file && v->file->path && v->file->path[0] == '/';

	switch (v->kind) {
	case STASIS__VMA_KIND__VMA_ANON_PRIVATE:
	case STASIS__VMA_KIND__VMA_VDSO:
	case STASIS__VMA_KIND__VMA_VVAR:
	case STASIS__VMA_KIND__VMA_VSYSCALL:
		return v->object ? bad_vma(v, "of no object, but names one", err) : 0;
	case STASIS__VMA_KIND__VMA_FILE_PRIVATE:
		return v->object || has_file ? 0 : bad_vma(v, "names no file", err);
	case STASIS__VMA_KIND__VMA_FILE_SHARED:
		return has_file ? 0 : bad_vma(v, "names no file", err);
	case STASIS__VMA_KIND__VMA_OBJECT_SHARED:
		return v->object ? 0 : bad_vma(v, "names no object", err);
	case STASIS__VMA_KIND__VMA_AIO:
		return v->object ? bad_vma(v, "of no object, but names one", err) :
				   load_check_aio(v, err);
	default:
		return bad_vma(v, "of an unknown kind", err);
	}
}

static bool is_kernels(const Stasis__Vma *v)
{
	return v->kind == STASIS__VMA_KIND__VMA_VDSO || v->kind == STASIS__VMA_KIND__VMA_VVAR ||
	       v->kind == STASIS__VMA_KIND__VMA_VSYSCALL;
}

static int check_vmas(struct load_proc *lp, struct stasis_error *err)
{
	const Stasis__Mm *mm = lp->p->mm;
	uint64_t end = 0;

	if (mm->n_vmas > MAX_VMAS)
		return stasis_fail(err, STASIS_E_CORRUPT, "%zu mappings", mm->n_vmas);
	lp->vmas = calloc(mm->n_vmas + 1, sizeof(*lp->vmas));
	if (!lp->vmas)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const Stasis__Vma *v = mm->vmas[i];
		struct load_vma *lv = &lp->vmas[lp->nr_vmas++];

		if (check_range(v, end, err) < 0 || check_backing(v, err) < 0)
			return -1;
		end = v->end;
		lv->v = v;
		lv->object = NONE;
		lv->is_staged = !is_kernels(v);
		lv->is_private = v->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE ||
				 v->kind == STASIS__VMA_KIND__VMA_FILE_PRIVATE;
	}
	return 0;
}

/* A stored run lies in one private mapping. The vDSO's is for debuggers. */
static int check_seg(struct load_proc *lp, const struct image_segment *seg, size_t *vma,
		     uint64_t *end, struct stasis_error *err)
{
	struct load_vma *lv;

	while (*vma < lp->nr_vmas && lp->vmas[*vma].v->end <= seg->vaddr)
		(*vma)++;
	lv = &lp->vmas[*vma];
	if (seg->vaddr % MEM_PAGE || seg->filesz % MEM_PAGE || seg->vaddr < *end ||
	    *vma == lp->nr_vmas || seg->vaddr < lv->v->start ||
	    seg->filesz > lv->v->end - seg->vaddr)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "stored pages at %llx are not inside a mapping",
				   (unsigned long long)seg->vaddr);
	*end = seg->vaddr + seg->filesz;
	if (lv->v->kind == STASIS__VMA_KIND__VMA_VDSO)
		return 0;
	if (!lv->is_private)
		return stasis_fail(err, STASIS_E_CORRUPT,
				   "stored pages at %llx are inside a shared mapping",
				   (unsigned long long)seg->vaddr);
	if (lv->nr_segs++ == 0)
		lv->first_seg = lp->nr_segs;
	lp->segs[lp->nr_segs++] =
		(struct load_seg){ seg->vaddr, seg->filesz, seg->offset, *vma,
				   image_is_late(seg), seg->digest };
	return 0;
}

static int check_segs(struct load_proc *lp, struct stasis_error *err)
{
	const struct image *img = lp->p->image;
	size_t nr = image_nr_segments(img), vma = 0;
	const struct image_segment *seg;
	uint64_t end = 0;

	lp->segs = calloc(nr + 1, sizeof(*lp->segs));
	if (!lp->segs)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	for (size_t i = 0; i < nr; i++) {
		seg = image_segment(img, i);
		if (seg->type == IMAGE_SEG_LOAD && seg->filesz &&
		    check_seg(lp, seg, &vma, &end, err) < 0)
			return -1;
	}
	return 0;
}

/* Guard pages lie in mappings that are staged. */
static int check_guards(struct load_proc *lp, struct stasis_error *err)
{
	const Stasis__Mm *mm = lp->p->mm;
	uint64_t end = 0;
	size_t vma = 0;

	for (size_t i = 0; i < mm->n_guards; i++) {
		const Stasis__InheritedRun *r = mm->guards[i];

		while (vma < lp->nr_vmas && lp->vmas[vma].v->end <= r->start)
			vma++;
		if (r->start % MEM_PAGE || r->len % MEM_PAGE || r->len == 0 || r->start < end ||
		    vma == lp->nr_vmas || !lp->vmas[vma].is_staged ||
		    r->start < lp->vmas[vma].v->start ||
		    r->len > lp->vmas[vma].v->end - r->start)
			return stasis_fail(err, STASIS_E_CORRUPT, "guard pages at %llx",
					   (unsigned long long)r->start);
		end = r->start + r->len;
	}
	return 0;
}

static int prefix(const struct load_proc *lp, struct stasis_error *err)
{
	if (err)
		err->pid = lp->p->pid;
	return stasis_fail_prefix(err, "image '%s'", image_name(lp->p->image));
}

int load_check_proc(struct mem_load *m, size_t index, struct stasis_error *err)
{
	struct load_proc *lp = &m->procs[index];

	if (!lp->p->mm) /* a zombie */
		return 0;
	if (check_vmas(lp, err) < 0 || check_segs(lp, err) < 0 || check_guards(lp, err) < 0)
		return prefix(lp, err);
	return 0;
}

/* ---- pages that are the parent's ---- */

/* Could the child have got this mapping by fork()? */
static bool is_heir(const struct load_vma *child, const struct load_vma *parent)
{
	const Stasis__Vma *c = child->v, *p = parent->v;

	if (!child->is_private || !parent->is_private || c->kind != p->kind ||
	    ((c->flags | p->flags) & VMA_F_HUGETLB))
		return false;
	if (c->kind == STASIS__VMA_KIND__VMA_ANON_PRIVATE)
		return true;
	return c->pgoff - c->start == p->pgoff - p->start && c->object == p->object &&
	       (c->object || strcmp(c->file->path, p->file->path) == 0);
}

/* Walks through both lists of mappings; the runs are ascending. */
struct heirs {
	struct load_proc *child, *parent;
	size_t c, p;
};

static int check_run(struct heirs *h, uint64_t at, uint64_t end, struct stasis_error *err)
{
	struct load_vma *cv, *pv;

	for (; at < end; at = cv->v->end < pv->v->end ? cv->v->end : pv->v->end) {
		while (h->c < h->child->nr_vmas && h->child->vmas[h->c].v->end <= at)
			h->c++;
		while (h->p < h->parent->nr_vmas && h->parent->vmas[h->p].v->end <= at)
			h->p++;
		cv = &h->child->vmas[h->c];
		pv = &h->parent->vmas[h->p];
		if (h->c == h->child->nr_vmas || h->p == h->parent->nr_vmas || cv->v->start > at ||
		    pv->v->start > at || !is_heir(cv, pv))
			return stasis_fail(err, STASIS_E_CORRUPT,
					   "inherited pages at %llx are in no mapping of process %d",
					   (unsigned long long)at, (int)h->parent->p->pid);
		cv->has_inherited = true;
		pv->is_wanted = true;
	}
	return 0;
}

int load_check_inherited(struct mem_load *m, size_t index, struct stasis_error *err)
{
	struct load_proc *lp = &m->procs[index];
	const Stasis__Mm *mm = lp->p->mm;
	struct heirs h = { .child = lp };
	uint64_t end = 0;

	if (!mm)
		return 0;
	if (mm->n_inherited && lp->parent == NONE)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "image '%s' shares pages with process %d, which is not restarted "
				   "with it: restart the tree from its root",
				   image_name(lp->p->image), (int)lp->p->ppid);
	if (mm->n_inherited)
		h.parent = &m->procs[lp->parent];
	for (size_t i = 0; i < mm->n_inherited; i++) {
		const Stasis__InheritedRun *r = mm->inherited[i];

		if (r->start % MEM_PAGE || r->len % MEM_PAGE || r->len == 0 || r->start < end ||
		    r->start > TASK_MAX || r->len > TASK_MAX - r->start) {
			(void)stasis_fail(err, STASIS_E_CORRUPT, "inherited pages at %llx",
					  (unsigned long long)r->start);
			return prefix(lp, err);
		}
		end = r->start + r->len;
		if (check_run(&h, r->start, end, err) < 0)
			return prefix(lp, err);
	}
	return 0;
}
