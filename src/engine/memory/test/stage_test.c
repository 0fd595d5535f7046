/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real processes: a parent and a child fill a window of addresses with mappings of many kinds; they
 * are saved, and staged and moved into place again in processes of this program, which then compare
 * bytes, protections and flags page by page with the originals.
 */
#include "image/image.h"
#include "inject/inject.h"
#include "lib/proc.h"
#include "lib/scoped.h"
#include "memory/memory.h"
#include "tree/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define WINDOW	     0x200000000000ull
#define WINDOW_END   0x300000000000ull
#define PAGE	     4096ull
#define MIB	     (1ull << 20)
#define COMPARED     (1u << 20) /* bytes compared at the start of a mapping that is very long */
#define NR_SMALL     3000u
#define FLAGS_OF_MMAP                                                                          \
	(VMA_F_SHARED | VMA_F_GROWSDOWN | VMA_F_NORESERVE | VMA_F_DONTFORK | VMA_F_DONTDUMP | \
	 VMA_F_HUGEPAGE | VMA_F_NOHUGEPAGE | VMA_F_SEQUENTIAL | VMA_F_RANDOM | VMA_F_WIPEONFORK | \
	 VMA_F_MAYSHARE | VMA_F_MAYWRITE)

static int test_nr, failures;
static char folder[64];
static bool is_exact; /* zero pages are there, and can be told from others */

static void ok(bool is_ok, const char *name)
{
	printf("%sok %d - %s\n", is_ok ? "" : "not ", ++test_nr, name);
	(void)fflush(stdout);
	failures += !is_ok;
}

static void log_line(void *arg, enum stasis_log_level level, const char *text)
{
	(void)arg;
	printf("# %d %s\n", (int)level, text);
}

static char *at(uint64_t offset)
{
	return (char *)(uintptr_t)(WINDOW + offset);
}

static void must(bool is_ok, const char *what)
{
	if (is_ok)
		return;
	perror(what);
	_exit(99);
}

static char *map(uint64_t offset, uint64_t len, int prot, int flags, int fd, off_t pgoff)
{
	char *p = mmap(at(offset), len, prot, flags | MAP_FIXED_NOREPLACE, fd, pgoff);

	must(p == at(offset), "mmap");
	return p;
}

static void scribble(char *p, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len / 8; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		((uint64_t *)(void *)p)[i] = seed;
	}
}

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)

static void map_anonymous(void)
{
	char *p = map(0, 64 * PAGE, RW, ANON, -1, 0);

	for (unsigned i = 0; i < 64; i += 2)
		scribble(p + i * PAGE, PAGE, i + 1);
	scribble(map(16 * MIB, 16 * MIB, RW, ANON, -1, 0), 16 * MIB, 7);
	p = map(64 * MIB, 16 * PAGE, RW, ANON, -1, 0);
	scribble(p, 16 * PAGE, 8);
	must(mprotect(p, 8 * PAGE, PROT_NONE) == 0, "mprotect");
	must(mprotect(p + 8 * PAGE, 4 * PAGE, PROT_READ) == 0, "mprotect");
	scribble(map(80 * MIB, 32 * PAGE, RW, ANON | MAP_GROWSDOWN, -1, 0) + 16 * PAGE, 16 * PAGE, 9);
	(void)map(1024 * 1024 * MIB, 4 * 1024 * 1024 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	scribble(map(100 * 1024 * MIB, 10 * 1024 * MIB, RW, ANON | MAP_NORESERVE, -1, 0), PAGE, 10);
	(void)*(volatile char *)(at(100 * 1024 * MIB) + 512 * MIB); /* the zero page */
}

static void map_advised(void)
{
	static const int advices[] = { MADV_HUGEPAGE,	MADV_NOHUGEPAGE, MADV_DONTDUMP,
				       MADV_SEQUENTIAL, MADV_RANDOM,	 MADV_WIPEONFORK,
				       MADV_DONTFORK };

	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		char *p = map(200 * MIB + i * 4 * MIB, 4 * MIB, RW, ANON, -1, 0);

		must(madvise(p, 4 * MIB, advices[i]) == 0, "madvise");
		scribble(p, 2 * MIB + 12 * PAGE, 100 + i);
	}
}

static int file_in_folder(const char *name, uint64_t len)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	must(fd >= 0 && ftruncate(fd, (off_t)len) == 0, path);
	return fd;
}

static void map_files(void)
{
	int fd = file_in_folder("plain", 64 * PAGE);
	char path[128];
	char *p;

	p = map(300 * MIB, 64 * PAGE, RW, MAP_SHARED, fd, 0);
	scribble(p, 64 * PAGE, 11);
	scribble(map(301 * MIB, 32 * PAGE, RW, MAP_PRIVATE, fd, 16 * PAGE) + 8 * PAGE, 4 * PAGE, 12);
	close(fd);
	(void)snprintf(path, sizeof(path), "%s/plain", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)map(302 * MIB, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	fd = file_in_folder("gone (deleted)\n", 64 * PAGE);
	p = map(303 * MIB, 64 * PAGE, RW, MAP_SHARED, fd, 0);
	scribble(p + 10 * PAGE, 10 * PAGE, 13);
	scribble(map(304 * MIB, 32 * PAGE, RW, MAP_PRIVATE, fd, 8 * PAGE), 2 * PAGE, 14);
	close(fd);
	(void)snprintf(path, sizeof(path), "%s/gone (deleted)\n", folder);
	must(unlink(path) == 0, "unlink");
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	scribble(map(305 * MIB, 4 * PAGE, RW, MAP_PRIVATE, fd, 0), PAGE, 15);
	close(fd);
}

static void map_shared(void)
{
	char *p = map(400 * MIB, 8 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("a name", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	scribble(p + MIB, MIB, 16);
	must(munmap(p + 4 * MIB, 2 * MIB) == 0, "munmap");
	must(mprotect(p + 6 * MIB, MIB, PROT_READ) == 0, "mprotect");
	must(fd >= 0 && ftruncate(fd, 100 * PAGE + 5) == 0, "memfd");
	scribble(map(420 * MIB, 64 * PAGE, RW, MAP_SHARED, fd, 0) + 5 * PAGE, 7 * PAGE, 17);
	scribble(map(421 * MIB, 4 * PAGE, RW, MAP_PRIVATE, fd, 4 * PAGE), PAGE, 18);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) == 0, "seals");
	close(fd);
}

static void map_inheritance(void)
{
	scribble(map(500 * MIB, 8 * MIB, RW, ANON, -1, 0), 8 * MIB, 19);
	scribble(map(520 * MIB, 16 * PAGE, RW, ANON, -1, 0), 16 * PAGE, 20);
	scribble(map(540 * MIB, 64 * PAGE, RW, ANON, -1, 0), 64 * PAGE, 21);
	scribble(map(560 * MIB, 16 * PAGE, RW, ANON, -1, 0), 16 * PAGE, 22);
}

static void map_small(void)
{
	for (unsigned i = 0; i < NR_SMALL; i++) {
		char *p = map(600 * MIB + i * PAGE, PAGE, RW, ANON, -1, 0);

		if (i % 3 == 0)
			scribble(p, PAGE, 1000 + i);
		if (i % 2)
			must(mprotect(p, PAGE, PROT_READ) == 0, "mprotect");
	}
}

/* What the child does to its copies. */
static void change_in_child(void)
{
	scribble(at(500 * MIB) + 3 * MIB, 10 * PAGE, 30);
	must(madvise(at(500 * MIB) + 5 * MIB, 5 * PAGE, MADV_DONTNEED) == 0, "madvise");
	must(mprotect(at(500 * MIB) + 6 * MIB, MIB, PROT_READ) == 0, "mprotect");
	scribble(map(520 * MIB + 16 * PAGE, 48 * PAGE, RW, ANON, -1, 0), 20 * PAGE, 31);
	must(munmap(at(540 * MIB) + 8 * PAGE, 8 * PAGE) == 0, "munmap");
	(void)map(540 * MIB + 8 * PAGE, 8 * PAGE, RW, ANON, -1, 0);
	must(munmap(at(560 * MIB), 16 * PAGE) == 0, "munmap");
	scribble(at(301 * MIB) + 20 * PAGE, PAGE, 32);
	scribble(at(400 * MIB) + 2 * MIB, 3 * PAGE, 33);
}

static void target(int ready)
{
	map_anonymous();
	map_advised();
	map_files();
	map_shared();
	map_inheritance();
	map_small();
	if (fork() == 0)
		change_in_child();
	must(write(ready, "r", 1) == 1, "write");
	for (;;)
		pause();
}

/* ---- the originals, kept for comparison in memory that every process inherits ---- */

struct original {
	struct vma_list vmas;
	uint8_t **bytes; /* of each mapping in the window */
	size_t *lens;
};

static bool in_window(const struct vma *v)
{
	return v->start >= WINDOW && v->end <= WINDOW_END;
}

static size_t read_some(int mem, uint64_t addr, uint8_t *to, size_t len)
{
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = pread(mem, to + have, len - have, (off_t)(addr + have));
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

static uint64_t compared_len(const struct vma *v)
{
	return v->end - v->start > 64 * MIB ? COMPARED : v->end - v->start;
}

static void take_original(int procfd, struct original *o)
{
	int mem = openat(procfd, "mem", O_RDONLY | O_CLOEXEC);

	must(mem >= 0 && vma_list_read(procfd, &o->vmas, NULL) == 0, "smaps");
	o->bytes = calloc(o->vmas.nr, sizeof(*o->bytes));
	o->lens = calloc(o->vmas.nr, sizeof(*o->lens));
	for (size_t i = 0; i < o->vmas.nr; i++) {
		const struct vma *v = &o->vmas.v[i];

		if (!in_window(v))
			continue;
		o->bytes[i] = malloc(compared_len(v));
		o->lens[i] = read_some(mem, v->start, o->bytes[i], compared_len(v));
	}
	close(mem);
}

static int differ(const struct vma *v, const char *what, uint64_t a, uint64_t b)
{
	printf("# %" PRIx64 "-%" PRIx64 " (%s): %s is %" PRIx64 ", was %" PRIx64 "\n", v->start, v->end,
	       v->path ? v->path : "", what, a, b);
	return 1;
}

static int compare_bytes(const struct original *o, size_t i, const struct vma *now, int mem)
{
	static uint8_t buf[64 * MIB];
	const struct vma *v = &o->vmas.v[i];

	if (read_some(mem, v->start, buf, compared_len(v)) != o->lens[i])
		return differ(now, "length", 0, o->lens[i]);
	if (memcmp(buf, o->bytes[i], o->lens[i]) != 0)
		return differ(now, "content", 0, 0);
	return 0;
}

/* Neighbours whose pages came about apart may be one mapping now. */
static int compare_vma(const struct original *o, size_t i, const struct vma *now, int mem)
{
	const struct vma *v = &o->vmas.v[i];
	uint32_t mask = FLAGS_OF_MMAP;

	if (now->start > v->start || now->end < v->end)
		return differ(now, "start", now->start, v->start);
	if (now->prot != v->prot)
		return differ(now, "prot", now->prot, v->prot);
	if ((now->flags & mask) != (v->flags & mask))
		return differ(now, "flags", now->flags & mask, v->flags & mask);
	if (v->ino && now->pgoff - now->start != v->pgoff - v->start)
		return differ(now, "offset", now->pgoff, v->pgoff);
	if (!now->path != !v->path)
		return differ(now, "name", 0, 0);
	if (is_exact && now->end - now->start == v->end - v->start && v->end - v->start < 64 * MIB &&
	    now->rss_kb > v->rss_kb + 64 && !v->ino)
		return differ(now, "rss", now->rss_kb, v->rss_kb);
	return compare_bytes(o, i, now, mem);
}

static uint64_t total_len(const struct vma_list *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->nr; i++)
		sum += in_window(&l->v[i]) ? l->v[i].end - l->v[i].start : 0;
	return sum;
}

static int compare(const struct original *o)
{
	int procfd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct vma_list now;
	size_t n = 0;
	int bad = 0;

	must(mem >= 0 && vma_list_read(procfd, &now, NULL) == 0, "smaps");
	for (size_t i = 0; i < o->vmas.nr && bad < 20; i++) {
		if (!in_window(&o->vmas.v[i]))
			continue;
		while (n < now.nr && now.v[n].end <= o->vmas.v[i].start)
			n++;
		if (n == now.nr)
			return bad + differ(&o->vmas.v[i], "mapping", 0, 1);
		bad += compare_vma(o, i, &now.v[n], mem);
	}
	if (total_len(&now) != total_len(&o->vmas))
		bad += differ(&now.v[0], "sum of lengths", total_len(&now), total_len(&o->vmas));
	return bad;
}

/* ---- dump ---- */

static void show_obstacle(void *arg, struct task *t, int fd, const char *text)
{
	(void)arg;
	(void)fd;
	printf("# obstacle of %d: %s\n", (int)t->pid, text);
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dump_task(struct mem_save *m, struct task *t, int dirfd, struct stasis_error *err)
{
	Stasis__Process proc = STASIS__PROCESS__INIT;
	Stasis__ImageInfo info = STASIS__IMAGE_INFO__INIT;
	struct image_writer *w = NULL;
	Stasis__Mm mm;
	char name[32];

	(void)snprintf(name, sizeof(name), "%d", (int)t->pid);
	proc.pid = (uint32_t)t->pid;
	proc.ppid = (uint32_t)t->ppid;
	info.version = IMAGE_FORMAT_VERSION;
	info.pid = (uint32_t)t->pid;
	info.page_size = 4096;
	if (image_create(dirfd, name, true, &w, err) < 0 ||
	    image_put_record(w, IMAGE_TAG_INFO, &info.base, err) < 0 ||
	    image_put_record(w, IMAGE_TAG_PROCESS, &proc.base, err) < 0 ||
	    mem_save_record(m, t, &mm, err) < 0 ||
	    image_put_record(w, IMAGE_TAG_MM, &mm.base, err) < 0 || mem_save_begin_write(m, t, w, err) < 0 ||
	    mem_save_end_write(m, t, w, err) < 0 ||
	    image_seal(w, err) < 0 || image_commit_all(&w, 1, dirfd, err) < 0)
		return -1;
	printf("# image of %d: %" PRIu64 " bytes, %zu mappings, %zu inherited runs\n", (int)t->pid,
	       image_file_size(w), mm.n_vmas, mm.n_inherited);
	image_discard(w);
	return 0;
}

static int dump(struct session *s, struct tree *tree, int dirfd, struct stasis_error *err)
{
	double start = seconds();
	struct mem_save *m;
	struct task *t;
	size_t i;

	if (mem_save_plan(s, tree, show_obstacle, NULL, &m, err) < 0)
		return -1;
	printf("# plan: %.1f ms\n", (seconds() - start) * 1e3);
	if (inject_open_all(s, tree, err) < 0)
		return -1;
	start = seconds();
	tree_for_each(tree, i, t)
		if (dump_task(m, t, dirfd, err) < 0)
			return -1;
	printf("# write: %.1f ms\n", (seconds() - start) * 1e3);
	mem_save_free(m);
	return 0;
}

/* ---- restart ---- */

/* As the restorer does it, but in the window only: the rest is this program. */
static void unmap_rest(const struct mem_range *keep, size_t nr)
{
	uint64_t from = WINDOW;

	for (size_t i = 0; i <= nr && from < WINDOW_END; i++) {
		uint64_t to = i < nr && keep[i].start < WINDOW_END ? keep[i].start : WINDOW_END;

		if (from < to)
			must(munmap((void *)(uintptr_t)from, to - from) == 0, "munmap");
		if (i < nr && keep[i].end > from)
			from = keep[i].end;
	}
}

static int move_window(struct mem_load *m, size_t index, struct stasis_error *err)
{
	struct mem_move *moves;
	struct mem_range *keep;
	size_t nr, nr_keep;

	if (mem_load_moves(m, index, &moves, &nr, err) < 0 ||
	    mem_load_keep(m, index, &keep, &nr_keep, err) < 0)
		return -1;
	unmap_rest(keep, nr_keep);
	for (size_t i = 0; i < nr; i++) {
		void *to = (void *)(uintptr_t)moves[i].to;

		if (moves[i].to < WINDOW || moves[i].to >= WINDOW_END)
			continue;
		if (mremap((void *)(uintptr_t)moves[i].from, moves[i].len, moves[i].len,
			   MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
			return stasis_fail_errno(err, STASIS_E_IO, "move %zu of %zu", i, nr);
	}
	free(moves);
	free(keep);
	return 0;
}

static int grow_stack(void)
{
	volatile char *p = at(80 * MIB) - PAGE;

	*p = 1; /* a moved MAP_GROWSDOWN mapping still grows */
	return *p;
}

static int finish_proc(struct mem_load *m, size_t index, const struct original *o)
{
	struct stasis_error err = { 0 };
	double start = seconds();

	if (move_window(m, index, &err) < 0) {
		printf("# %s\n", err.text);
		return 97;
	}
	printf("# process %zu: moves %.1f ms\n", index, (seconds() - start) * 1e3);
	if (compare(o))
		return 96;
	return grow_stack() == 1 ? 0 : 95;
}

static int stage(struct mem_load *m, size_t index)
{
	struct stasis_error err = { 0 };
	double start = seconds();

	if (mem_load_stage(m, index, &err) < 0) {
		printf("# %s\n", err.text);
		return -1;
	}
	printf("# process %zu: staged in %.1f ms\n", index, (seconds() - start) * 1e3);
	return 0;
}

/* Builder, root and child: one below the other, as a restart has them. */
static int restore(struct session *s, const struct mem_proc *procs, const struct original *o)
{
	struct stasis_error err = { 0 };
	struct mem_load *m;
	int status;
	pid_t pid;

	if (mem_load_plan(s, procs, 2, 1 << 20, false, &m, &err) < 0 ||
	    mem_load_objects(m, 200, &err) < 0) {
		printf("# %s\n", err.text);
		return 90;
	}
	if (stage(m, 0) < 0)
		return 91;
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		status = stage(m, 1) < 0 ? 92 : finish_proc(m, 1, &o[1]);
		(void)fflush(stdout);
		_exit(status);
	}
	(void)waitpid(pid, &status, 0);
	if (status)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 94;
	return finish_proc(m, 0, &o[0]);
}

static int load(struct session *s, int dirfd, struct tree *tree, const struct original *o,
		bool is_in_the_way)
{
	struct stasis_error err = { 0 };
	struct mem_proc procs[2];
	struct image *img;
	char name[32];

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(name, sizeof(name), "%d", (int)tree->tasks[i]->pid);
		if (image_open(dirfd, name, &img, &err) < 0 || image_verify_data(img, 2, &err) < 0) {
			printf("# %s\n", err.text);
			return 80;
		}
		procs[i].pid = tree->tasks[i]->pid;
		procs[i].ppid = tree->tasks[i]->ppid;
		procs[i].image = img;
		procs[i].mm = image_record(img, IMAGE_TAG_MM, 0, &stasis__mm__descriptor, &err);
		if (!procs[i].mm)
			return 81;
	}
	/* something of ours beside the window: it is staged elsewhere and moved */
	if (is_in_the_way)
		(void)mmap((void *)(uintptr_t)(WINDOW - PAGE), PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	return restore(s, procs, o);
}

static pid_t start_target(void)
{
	int ready[2];
	char byte[2];
	pid_t pid;
	size_t n = 0;
	ssize_t got;

	must(pipe(ready) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		target(ready[1]);
	}
	close(ready[1]);
	while (n < 2 && (got = read(ready[0], byte, 1)) > 0)
		n += (size_t)got;
	must(n == 2, "target");
	close(ready[0]);
	return pid;
}

static void kill_all(struct tree *tree)
{
	for (size_t i = tree->nr_tasks; i-- > 0;)
		(void)kill(tree->tasks[i]->pid, SIGKILL);
}

static int load_apart(struct session *s, int dirfd, struct tree *tree, const struct original *o,
		      bool is_in_the_way)
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		status = load(s, dirfd, tree, o, is_in_the_way);
		(void)fflush(stdout);
		_exit(status);
	}
	(void)waitpid(pid, &status, 0);
	if (status)
		printf("# status %x\n", (unsigned)status);
	return status;
}

static void run(struct session *s, pid_t pid, int dirfd)
{
	struct original *o = calloc(2, sizeof(*o));
	struct stasis_error err = { 0 };
	struct tree *tree = NULL;
	int status;

	if (tree_stop(s, pid, true, NULL, 5000, &tree, &err) < 0 || tree->nr_tasks != 2) {
		printf("# %s\n", err.text);
		ok(false, "stops the tree");
		return;
	}
	for (size_t i = 0; i < 2; i++)
		take_original(tree->tasks[i]->procfd, &o[i]);
	status = dump(s, tree, dirfd, &err);
	if (status < 0)
		printf("# %s\n", err.text);
	ok(status == 0, "saves every mapping");
	if (status == 0) {
		ok(load_apart(s, dirfd, tree, o, false) == 0,
		   "restores bytes, protections and flags of parent and child in place");
		ok(load_apart(s, dirfd, tree, o, true) == 0, "the same by way of a staging area");
	}
	kill_all(tree);
	tree_resume(tree, NULL);
	(void)waitpid(pid, NULL, 0);
}

/* Some kernels of virtual machines (pvm_no_zero_page) give a page to whoever reads one that was never written: then
 * comparing fills the memory that is compared. */
static bool has_zero_page(void)
{
	volatile char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int procfd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vma_list l;
	bool has = false;

	must(p != MAP_FAILED, "mmap");
	(void)*p;
	must(procfd >= 0 && vma_list_read(procfd, &l, NULL) == 0, "smaps");
	for (size_t i = 0; i < l.nr; i++)
		if (l.v[i].start <= (uintptr_t)p && l.v[i].end > (uintptr_t)p)
			has = l.v[i].rss_kb < (l.v[i].end - l.v[i].start) / 1024;
	vma_list_done(&l);
	close(procfd);
	return has;
}

/* As another kernel or another user would find it. */
static void run_with(const char *what, const struct session *s, bool has_scan, bool is_root,
		     int dirfd)
{
	struct session other = *s;
	pid_t pid;

	printf("# %s\n", what);
	(void)fflush(stdout);
	other.caps.has_pagemap_scan &= has_scan;
	is_exact = (other.caps.has_pagemap_scan || s->caps.is_root) && has_zero_page();
	other.caps.has_map_files &= is_root;
	other.caps.is_root &= is_root;
	pid = start_target();
	run(&other, pid, dirfd);
}

int main(void)
{
	struct stasis_error err = { 0 };
	char command[128];
	struct session s;
	int dirfd;

	(void)snprintf(folder, sizeof(folder), "%s/stage-test.XXXXXX", "/tmp");
	must(mkdtemp(folder) != NULL, "mkdtemp");
	dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(session_init(&s, log_line, NULL, STASIS_LOG_INFO, &err) == 0, "session_init");
	run_with("as it is", &s, true, true, dirfd);
	run_with("without PAGEMAP_SCAN", &s, false, true, dirfd);
	run_with("without map_files", &s, true, false, dirfd);
	printf("1..%d\n", test_nr);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	must(system(command) == 0, "rm");
	return failures != 0;
}
