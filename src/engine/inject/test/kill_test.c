/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kills the engine at random instants of a dump: the subject must run on as if nothing had been, with
 * neither descriptors nor mappings left behind, and a later engine must find its way.
 */
#include "inject/inject.h"
#include "inject/test/subjects.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { NR_KILLS = 200, MAX_DELAY_US = 3000, STOP_TIMEOUT_MS = 5000, SETTLE_MS = 8000 };

static void write_something(struct task *t)
{
	scoped_fd int fd = memfd_create("image", MFD_CLOEXEC);
	struct page_run run = {.len = 8192};
	uint64_t digest;

	run.addr = arch_sp(&t->threads[0].regs) & ~4095ull;
	for (int i = 0; i < 20; i++)
		(void)inject_write_runs(t, fd, &run, 1, &digest, NULL); /* may be unreadable */
}

/* Never returns. */
static void be_engine(pid_t pid)
{
	struct session s;

	if (session_init(&s, NULL, NULL, STASIS_LOG_ERROR, NULL) < 0)
		_exit(1);
	for (;;) {
		scoped(tree_resumep) struct tree *tree = NULL;
		const struct parasite_thread *threads;
		const struct parasite_task *task;
		struct task *t;
		size_t i;

		if (tree_stop(&s, pid, true, NULL, STOP_TIMEOUT_MS, &tree, NULL) < 0)
			continue;
		if (inject_open_all(&s, tree, NULL) < 0)
			continue;
		tree_for_each(tree, i, t)
			if (t->state != TASK_ZOMBIE &&
			    inject_collect(t, &task, &threads, NULL) == 0)
				write_something(t);
	}
}

static void kill_one_engine(pid_t subject, unsigned *seed)
{
	pid_t engine = fork();

	if (engine == 0)
		be_engine(subject);
	nanosleep(&(struct timespec){.tv_nsec = 200000 + rand_r(seed) % MAX_DELAY_US * 1000L}, NULL);
	(void)kill(engine, SIGKILL);
	(void)waitpid(engine, NULL, 0);
}

static bool is_traced(pid_t pid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f)
		(void)fclose(f);
	return tracer != 0;
}

static const char *check_left_behind(const struct subject *s, int fds, int maps)
{
	for (int i = 0; i < SETTLE_MS; i++) {
		if (!is_traced(s->pid) && subject_count_fds(s->pid) == fds &&
		    (!maps || subject_count_maps(s->pid) == maps))
			return NULL;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	if (is_traced(s->pid))
		return "it is still traced";
	return subject_count_fds(s->pid) != fds ? "descriptors are left behind"
						: "mappings are left behind";
}

static const char *check_progress(const struct subject *s)
{
	uint64_t before = s->page->rounds;

	for (int i = 0; i < 5000 && !s->is_idle && s->page->rounds < before + 2; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (!subject_is_well(s))
		return s->page->failed ? s->page->text : "it is dead or in the wrong state";
	return s->is_idle || s->page->rounds >= before + 2 ? NULL : "it makes no progress";
}

static const char *test_subject(struct subject *sub, int nr_kills)
{
	bool steady = !strstr(sub->name, "thread") && !strstr(sub->name, "tiny") &&
		      !strstr(sub->name, "spawn") && !sub->is_stopped;
	static char text[256];
	unsigned seed = 1;
	int fds, maps;

	if (subject_start(sub, true) < 0)
		return sub->page && sub->page->failed ? sub->page->text : "it does not start";
	nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
	fds = subject_count_fds(sub->pid);
	maps = steady ? subject_count_maps(sub->pid) : 0;
	for (int i = 0; i < nr_kills; i++) {
		const char *why;

		kill_one_engine(sub->pid, &seed);
		/* a stopped process cleans up when it is continued */
		why = sub->is_stopped ? NULL : check_left_behind(sub, fds, maps);
		if (!why)
			why = check_progress(sub);
		if (why) {
			(void)snprintf(text, sizeof(text), "%s (after %d kills)", why, i + 1);
			return text;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int nr = 0, failed = 0;

	for (const struct subject *k = subject_kinds; k->name; k++) {
		struct subject sub = *k;
		const char *why;

		if (argc > 1 && strcmp(argv[1], k->name) != 0)
			continue;
		if (strstr(k->name, "hostile"))
			continue; /* the kernel kills it as soon as anybody wakes it */
		why = test_subject(&sub, argc > 2 ? atoi(argv[2]) : NR_KILLS / 10);
		printf("%s %d - %s survives the engine's death%s%s\n", why ? "not ok" : "ok", ++nr,
		       k->name, why ? ": " : "", why ? why : "");
		(void)fflush(stdout);
		failed += why != NULL;
		subject_end(&sub);
	}
	printf("1..%d\n", nr);
	return failed ? 1 : 0;
}
