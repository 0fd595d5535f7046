/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stops every kind of subject many times, runs the parasite in it, writes its memory, resumes it: the
 * subject must not notice, and nothing may be left in it. */
#include "inject/inject.h"
#include "inject/test/subjects.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { NR_CYCLES = 40, MAX_RUNS = 1024, STOP_TIMEOUT_MS = 5000 };

static size_t find_runs(pid_t pid, struct page_run *runs, uint64_t *ret_bytes)
{
	char path[64], line[512], perms[5];
	uint64_t start, end, inode;
	size_t nr = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	*ret_bytes = 0;
	/* no executable memory: the parasite's own changes under it */
	while (f && nr < MAX_RUNS && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64, &start, &end,
			   perms, &inode) != 4 ||
		    perms[3] != 'p' || perms[2] == 'x' || strstr(line, "[v") || (inode && perms[1] != 'w') ||
		    end - start > 64 << 20)
			continue;
		runs[nr++] = (struct page_run){.addr = start, .len = end - start,
					       .offset = *ret_bytes};
		*ret_bytes += end - start;
	}
	if (f)
		(void)fclose(f);
	return nr;
}

/* The kernel keeps the number of the processor in the rseq area up to date, while the leader runs. */
static void ignore_rseq(const struct task *t, const struct page_run *run, uint8_t *bytes)
{
	for (size_t i = 0; i < t->nr_threads; i++) {
		uint64_t at = t->threads[i].rseq_ptr - run->addr;

		if (t->threads[i].rseq_ptr && at < run->len)
			memset(bytes + at, 0, t->threads[i].rseq_len);
	}
}

static int check_run(struct task *t, const struct page_run *run, uint8_t *from_file, uint64_t digest,
		     struct stasis_error *err)
{
	scoped_free uint8_t *from_memory = malloc(run->len);

	if (XXH3_64bits(from_file, run->len) != digest)
		return stasis_fail(err, STASIS_E_CORRUPT, "wrong digest at %" PRIx64, run->addr);
	if (!from_memory || task_read_mem(t, run->addr, from_memory, run->len, err) < 0)
		return -1;
	ignore_rseq(t, run, from_file);
	ignore_rseq(t, run, from_memory);
	if (memcmp(from_memory, from_file, run->len) != 0)
		return stasis_fail(err, STASIS_E_CORRUPT, "wrong content at %" PRIx64, run->addr);
	return 0;
}

static int ask_pid(struct task *t, struct stasis_error *err)
{
	int64_t result;

	if (inject_syscall(t, 39 /* getpid */, (const uint64_t[6]){0}, &result, err) < 0)
		return -1;
	return result == t->pid ? 0 : stasis_fail(err, STASIS_E_INTERNAL, "getpid: %" PRId64, result);
}

static int check_file(struct task *t, int fd, const struct page_run *runs, size_t nr, uint64_t bytes,
		      const uint64_t *digests, struct stasis_error *err)
{
	uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	int bad = 0;

	if (map == MAP_FAILED)
		return stasis_fail_errno(err, STASIS_E_IO, "map the file");
	for (size_t i = 0; i < nr && !bad; i++)
		bad = check_run(t, &runs[i], map + runs[i].offset, digests[i], err);
	(void)munmap(map, bytes);
	return bad;
}

/* The subject may be busy with the last of it while it is asked for something else. */
static int write_memory(struct task *t, bool is_asked, struct stasis_error *err)
{
	scoped_fd int fd = memfd_create("image", MFD_CLOEXEC);
	struct page_run runs[MAX_RUNS];
	uint64_t digests[MAX_RUNS], bytes;
	size_t nr = find_runs(t->pid, runs, &bytes);

	if (inject_write_begin(t, fd, runs, nr, digests, err) < 0 || (is_asked && ask_pid(t, err) < 0) ||
	    inject_write_end(t, err) < 0)
		return -1;
	return check_file(t, fd, runs, nr, bytes, digests, err);
}

static int check_collected(struct task *t, struct stasis_error *err)
{
	const struct parasite_thread *threads;
	const struct parasite_task *task;

	if (inject_collect(t, &task, &threads, err) < 0)
		return -1;
	for (size_t i = 0; i < t->nr_threads; i++)
		if (threads[i].tid != t->threads[i].tid)
			return stasis_fail(err, STASIS_E_INTERNAL, "thread %zu: wrong answer", i);
	return task->brk ? 0 : stasis_fail(err, STASIS_E_INTERNAL, "no brk");
}

/* A policy is told of the mappings that were asked for ahead, and of others. */
static int check_policies(struct task *t, struct stasis_error *err)
{
	struct parasite_policy list[3] = {{.addr = t->stat.start_stack}, {.addr = t->stat.start_code}, {.addr = 1}};

	if (inject_policies(t, list, 3, err) < 0)
		return -1;
	for (size_t i = 0; i < 3; i++)
		if (list[i].mode)
			return stasis_fail(err, STASIS_E_INTERNAL, "address %zu: policy %u", i, list[i].mode);
	return list[0].addr == t->stat.start_stack && list[2].addr == 1
		       ? 0
		       : stasis_fail(err, STASIS_E_INTERNAL, "policies of other addresses");
}

static int ask_all(struct tree *tree, struct stasis_error *err)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t) {
		const tracee_addr mappings[] = {t->stat.start_stack, t->stat.start_code};

		if (t->state != TASK_ZOMBIE && inject_collect_ahead(t, mappings, 2, err) < 0)
			return -1;
	}
	return 0;
}

static int cycle(struct session *s, const struct subject *sub, int round, struct stasis_error *err)
{
	scoped(tree_resumep) struct tree *tree = NULL;
	struct task *t;
	size_t i;

	if (tree_stop(s, sub->pid, round % 4 != 3, NULL, STOP_TIMEOUT_MS, &tree, err) < 0)
		return -1;
	if ((tree->tasks[0]->state == TASK_STOPPED) != sub->is_stopped)
		return stasis_fail(err, STASIS_E_INTERNAL, "wrong state %d", tree->tasks[0]->state);
	if (round % 5 == 0)
		return 0; /* a stop alone */
	if (inject_open_all(s, tree, err) < 0)
		return -1;
	if (round % 2 && ask_all(tree, err) < 0)
		return -1;
	if (round % 5 == 1)
		return 0; /* in and out, with an answer or without that nobody has waited for */
	tree_for_each(tree, i, t) {
		if (t->state == TASK_ZOMBIE)
			continue;
		if (check_collected(t, err) < 0 || check_policies(t, err) < 0 || ask_pid(t, err) < 0)
			return -1;
		if (round % 5 == 4 && write_memory(t, round % 2, err) < 0)
			return -1;
	}
	return 0;
}

/* The subject must go on after the last cycle. */
static const char *check_progress(const struct subject *s, int fds, int maps)
{
	uint64_t before = s->page->rounds;

	for (int i = 0; i < 5000 && !s->is_idle && s->page->rounds < before + 2; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (!subject_is_well(s))
		return s->page->failed ? s->page->text : "it is dead or in the wrong state";
	if (!s->is_idle && s->page->rounds < before + 2)
		return "it makes no progress";
	if (subject_count_fds(s->pid) != fds)
		return "descriptors are left behind";
	if (maps && subject_count_maps(s->pid) != maps)
		return "mappings are left behind";
	return NULL;
}

/* Which change by themselves. */
static bool has_steady_maps(const struct subject *s)
{
	return !strstr(s->name, "thread") && !strstr(s->name, "tiny") && !strstr(s->name, "spawn");
}

static const char *test_subject(struct session *s, struct subject *sub, struct stasis_error *err)
{
	int fds, maps;

	if (subject_start(sub, false) < 0)
		return sub->page && sub->page->failed ? sub->page->text : "it does not start";
	nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
	fds = subject_count_fds(sub->pid);
	maps = has_steady_maps(sub) ? subject_count_maps(sub->pid) : 0;
	for (int i = 0; i < NR_CYCLES; i++) {
		if (cycle(s, sub, i, err) < 0)
			return err->text;
		if (!subject_is_well(sub))
			return sub->page->failed ? sub->page->text : "it died or changed state";
		nanosleep(&(struct timespec){.tv_nsec = (i % 13) * 1000000}, NULL);
	}
	return check_progress(sub, fds, maps);
}

int main(int argc, char **argv)
{
	struct stasis_error err = {.cls = STASIS_E_OK};
	int nr = 0, failed = 0;
	struct session s;

	if (session_init(&s, NULL, NULL, STASIS_LOG_ERROR, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	for (const struct subject *k = subject_kinds; k->name; k++) {
		struct subject sub = *k;
		const char *why;

		if (argc > 1 && strcmp(argv[1], k->name) != 0)
			continue;
		why = test_subject(&s, &sub, &err);
		printf("%s %d - %s does not notice%s%s\n", why ? "not ok" : "ok", ++nr, k->name,
		       why ? ": " : "", why ? why : "");
		(void)fflush(stdout);
		failed += why != NULL;
		subject_end(&sub);
	}
	printf("1..%d\n", nr);
	return failed ? 1 : 0;
}
