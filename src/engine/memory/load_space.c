/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where to stage. The addresses that the processes of the tree use are joined into spans. Most are
 * free in the restarting process, too, and are staged in place. Any other span gets a place of the
 * same size that no process of the tree uses and nothing of ours is in, at a distance of whole GiB,
 * so that huge pages (of page tables too) stay whole when they are moved.
 * The lowest room is taken: the kernel gives out addresses from the top, so nothing that the restart
 * maps later gets in between.
 */
#include "memory/load_priv.h"

#include "lib/io.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GIB	     (1ull << 30)
#define LOWEST	     GIB
#define HIGHEST	     0x7fff00000000ull
#define MAX_SPANS    256u
#define MAX_MAPS_LEN (64u << 20)
#define MARGIN	     (64ull << 20) /* for our own stack and heap to grow */

struct range_list {
	size_t nr, cap;
	struct mem_range *v;
};

static void range_list_done(struct range_list *l)
{
	free(l->v);
}

static int add_range(struct range_list *l, uint64_t start, uint64_t end, struct stasis_error *err)
{
	if (table_grow((void **)&l->v, &l->cap, l->nr, sizeof(*l->v), err) < 0)
		return -1;
	l->v[l->nr++] = (struct mem_range){ start, end };
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct mem_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Sort and join ranges with less than `gap` between them. */
static void merge(struct range_list *l, uint64_t gap)
{
	size_t to = 0;

	if (l->nr == 0)
		return;
	qsort(l->v, l->nr, sizeof(*l->v), by_start);
	for (size_t i = 1; i < l->nr; i++) {
		if (l->v[i].start <= l->v[to].end || l->v[i].start - l->v[to].end < gap) {
			if (l->v[i].end > l->v[to].end)
				l->v[to].end = l->v[i].end;
		} else {
			l->v[++to] = l->v[i];
		}
	}
	l->nr = to + 1;
}

static int used_by_tree(const struct mem_load *m, struct range_list *ret, struct stasis_error *err)
{
	for (size_t p = 0; p < m->nr_procs; p++) {
		const struct load_proc *lp = &m->procs[p];

		for (size_t i = 0; i < lp->nr_vmas; i++)
			if (lp->vmas[i].v->kind != STASIS__VMA_KIND__VMA_VSYSCALL &&
			    add_range(ret, lp->vmas[i].v->start, lp->vmas[i].v->end, err) < 0)
				return -1;
	}
	merge(ret, 1);
	return 0;
}

static int used_by_us(struct range_list *ret, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	uint64_t start, end;
	size_t len;
	char *line;

	if (io_read_file_at(AT_FDCWD, "/proc/self/maps", MAX_MAPS_LEN, &text, &len, err) < 0)
		return -1;
	for (line = text; line && *line; line = line ? line + 1 : NULL) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 &&
		    add_range(ret, start, end, err) < 0)
			return -1;
		line = strchr(line, '\n');
		if (!line)
			break;
	}
	return 0;
}

/* Lowest address with room for len bytes that is congruent to `like` modulo `step`. */
static uint64_t find_room(const struct range_list *used, uint64_t len, uint64_t like, uint64_t step)
{
	uint64_t at = LOWEST + like % step;

	for (size_t i = 0; i < used->nr; i++) {
		if (used->v[i].end <= at)
			continue;
		if (used->v[i].start >= at && used->v[i].start - at >= len)
			break;
		at = used->v[i].end / step * step + like % step;
		if (at < used->v[i].end)
			at += step;
	}
	return at < HIGHEST && HIGHEST - at >= len ? at : 0;
}

static int take_room(struct range_list *used, uint64_t len, uint64_t like, uint64_t step,
		     uint64_t *ret, struct stasis_error *err)
{
	uint64_t at = find_room(used, len, like, step);

	if (at == 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "the program leaves no %llu MiB of addresses free, which the "
				   "restart needs",
				   (unsigned long long)(len >> 20));
	if (add_range(used, at, at + len, err) < 0)
		return -1;
	merge(used, 1);
	*ret = at;
	return 0;
}

/* Joined at gaps below 1 GiB, or below more where there would be too many to look through. */
static int make_spans(struct mem_load *m, const struct range_list *tree, struct stasis_error *err)
{
	scoped(range_list_done) struct range_list l = { 0 };

	for (size_t i = 0; i < tree->nr; i++)
		if (add_range(&l, tree->v[i].start, tree->v[i].end, err) < 0)
			return -1;
	for (uint64_t gap = GIB; gap < TASK_MAX; gap *= 2) {
		merge(&l, gap);
		if (l.nr <= MAX_SPANS)
			break;
	}
	m->spans = calloc(l.nr + 1, sizeof(*m->spans));
	if (!m->spans)
		return stasis_fail(err, STASIS_E_NOMEM, "plan of the memory");
	m->nr_spans = l.nr;
	for (size_t i = 0; i < l.nr; i++)
		m->spans[i] = (struct load_span){ l.v[i].start, l.v[i].end, 1 }; /* not yet */
	return 0;
}

/* Room for the mappings through which objects without a descriptor are passed on. */
static int place_masters(struct mem_load *m, struct range_list *used, struct stasis_error *err)
{
	uint64_t len = 0, at;

	for (size_t i = 0; i < m->nr_objects; i++) {
		uint64_t size = (load_object_len(&m->objects[i]) + HUGE - 1) / HUGE * HUGE;

		m->objects[i].master = len;
		len += m->objects[i].has_master ? size : 0;
		m->objects[i].reader = len;
		len += m->objects[i].has_reader ? size : 0;
		if (size > TASK_MAX || len > TASK_MAX)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "shared memory larger than the address space");
	}
	if (len == 0)
		return 0;
	if (take_room(used, len, 0, HUGE, &at, err) < 0)
		return -1;
	for (size_t i = 0; i < m->nr_objects; i++)
		m->objects[i].master += at, m->objects[i].reader += at;
	return 0;
}

static bool is_clear(const struct load_span *s, const struct range_list *ours)
{
	for (size_t i = 0; i < ours->nr; i++)
		if (ours->v[i].start < s->end + MARGIN && ours->v[i].end + MARGIN > s->start)
			return false;
	return true;
}

/* Hold the addresses, so that nothing the restart maps meanwhile gets in between. */
static bool reserve(struct load_span *s, const struct range_list *ours)
{
	void *want = (void *)(uintptr_t)s->start;
	void *got;

	if (!is_clear(s, ours))
		return false;
	got = mmap(want, s->end - s->start, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (got != MAP_FAILED && got != want)
		(void)munmap(got, s->end - s->start); /* an old kernel's idea of the flag */
	return got == want;
}

/* Only the process that made them, and only while nothing is staged over them. */
void load_free_space(struct mem_load *m)
{
	if (m->owner != getpid() || m->current != NONE || m->is_released)
		return;
	for (size_t i = 0; i < m->nr_spans; i++)
		if (m->spans[i].delta == 0 && m->spans[i].end)
			(void)munmap((void *)(uintptr_t)m->spans[i].start,
				     m->spans[i].end - m->spans[i].start);
}

static int place_spans(struct mem_load *m, struct range_list *used, const struct range_list *ours,
		       struct stasis_error *err)
{
	uint64_t place;

	for (size_t i = 0; i < m->nr_spans; i++) {
		struct load_span *s = &m->spans[i];

		if (reserve(s, ours)) {
			s->delta = 0;
			continue;
		}
		if (take_room(used, s->end - s->start, s->start, GIB, &place, err) < 0)
			return -1;
		s->delta = place - s->start; /* may wrap: it is only ever added */
	}
	return 0;
}

int load_plan_space(struct mem_load *m, size_t zone_len, struct stasis_error *err)
{
	scoped(range_list_done) struct range_list used = { 0 };
	scoped(range_list_done) struct range_list ours = { 0 };

	if (used_by_tree(m, &used, err) < 0 || make_spans(m, &used, err) < 0 ||
	    used_by_us(&ours, err) < 0)
		return -1;
	for (size_t i = 0; i < ours.nr; i++)
		if (add_range(&used, ours.v[i].start, ours.v[i].end, err) < 0)
			return -1;
	/* whole spans: what is reserved is not for others */
	for (size_t i = 0; i < m->nr_spans; i++)
		if (add_range(&used, m->spans[i].start, m->spans[i].end, err) < 0)
			return -1;
	merge(&used, 1);
	m->owner = getpid();
	if (place_spans(m, &used, &ours, err) < 0)
		return -1;
	if (place_masters(m, &used, err) < 0)
		return -1;
	if (zone_len == 0)
		return 0;
	zone_len = (zone_len + MEM_PAGE - 1) / MEM_PAGE * MEM_PAGE;
	return take_room(&used, zone_len, 0, HUGE, &m->zone, err);
}

const struct load_span *load_span_of(const struct mem_load *m, uint64_t addr)
{
	size_t low = 0, high = m->nr_spans;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (m->spans[mid].start <= addr)
			low = mid;
		else
			high = mid;
	}
	return &m->spans[low];
}

uint64_t load_staging(const struct mem_load *m, uint64_t addr)
{
	return addr + load_span_of(m, addr)->delta;
}

/* ---- may the kernel give us that much? ---- */

static uint64_t committed_bytes(const struct mem_load *m)
{
	uint64_t sum = 0;

	for (size_t p = 0; p < m->nr_procs; p++) {
		const struct load_proc *lp = &m->procs[p];

		for (size_t i = 0; i < lp->nr_vmas; i++)
			if (lp->vmas[i].is_private && (lp->vmas[i].v->flags & VMA_F_ACCOUNT))
				sum += lp->vmas[i].v->end - lp->vmas[i].v->start;
	}
	for (size_t i = 0; i < m->nr_objects; i++)
		sum += m->objects[i].has_master ? load_object_len(&m->objects[i]) : 0;
	return sum;
}

static uint64_t meminfo_bytes(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) << 10 : 0;
}

/* ---- huge pages ---- */

static uint64_t pool_counter(const char *name)
{
	scoped_free char *text = NULL;
	char path[128];
	size_t len;

	(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", name);
	return io_read_file_at(AT_FDCWD, path, 64, &text, &len, NULL) < 0 ?
		       0 :
		       strtoull(text, NULL, 10);
}

/* Pages that the pool has, or may get, and that nobody has a claim on. */
static uint64_t pool_pages(void)
{
	uint64_t more = pool_counter("nr_overcommit_hugepages"), surplus = pool_counter("surplus_hugepages");
	uint64_t have = pool_counter("free_hugepages") + (more > surplus ? more - surplus : 0);
	uint64_t claimed = pool_counter("resv_hugepages");

	return have > claimed ? have - claimed : 0;
}

/* What is mapped without reserving is counted by what is stored. */
static uint64_t huge_bytes(const struct load_proc *lp)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < lp->nr_vmas; i++) {
		const struct load_vma *lv = &lp->vmas[i];

		if (!lv->is_private || !(lv->v->flags & VMA_F_HUGETLB))
			continue;
		if (!(lv->v->flags & VMA_F_NORESERVE))
			sum += lv->v->end - lv->v->start;
		for (size_t k = 0; (lv->v->flags & VMA_F_NORESERVE) && k < lv->nr_segs; k++)
			sum += lp->segs[lv->first_seg + k].len;
	}
	return sum;
}

int load_check_hugetlb(const struct mem_load *m, struct stasis_error *err)
{
	uint64_t want = 0, have;

	for (size_t p = 0; p < m->nr_procs; p++)
		want += huge_bytes(&m->procs[p]);
	for (size_t i = 0; i < m->nr_objects; i++)
		if (m->objects[i].rec->type == STASIS__OBJECT_TYPE__OBJECT_HUGETLB)
			want += m->objects[i].rec->size;
	want = (want + HUGE - 1) / HUGE;
	have = want ? pool_pages() : 0;
	if (want <= have)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "the program needs %llu huge pages of 2 MiB and %llu are free; raise "
			   "vm.nr_hugepages",
			   (unsigned long long)want, (unsigned long long)have);
}

/* Only where the kernel counts strictly (vm.overcommit_memory = 2) can it be known beforehand. */
int load_check_commit(struct mem_load *m, struct stasis_error *err)
{
	scoped_free char *mode = NULL;
	scoped_free char *info = NULL;
	uint64_t want, limit, used;
	size_t len;

	if (io_read_file_at(AT_FDCWD, "/proc/sys/vm/overcommit_memory", 64, &mode, &len, NULL) < 0 ||
	    mode[0] != '2' ||
	    io_read_file_at(AT_FDCWD, "/proc/meminfo", 1u << 20, &info, &len, NULL) < 0)
		return 0; /* not known: the kernel will say */
	want = committed_bytes(m);
	limit = meminfo_bytes(info, "CommitLimit:");
	used = meminfo_bytes(info, "Committed_AS:");
	if (limit > used && want <= limit - used)
		return 0;
	return stasis_fail(err, STASIS_E_NOMEM,
			   "the program needs %llu MiB, more than vm.overcommit_memory=2 leaves "
			   "(%llu of %llu MiB are taken)",
			   (unsigned long long)(want >> 20), (unsigned long long)(used >> 20),
			   (unsigned long long)(limit >> 20));
}
