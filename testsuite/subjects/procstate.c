/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What belongs to a process as a whole: limits, umask, folder, prctl state, OOM score. */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct state {
	struct rlimit limits[RLIM_NLIMITS];
	mode_t mask;
	char cwd[PATH_MAX], exe[PATH_MAX], name[16], oom[32], cmdline[512], root[64];
	int subreaper, no_new_privs, thp_disable, dumpable, slack, pdeathsig, persona, nice, keep_caps;
	int pgrp, sid;
};

static void read_text(const char *path, char *ret, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	CHECK(fd >= 0);
	n = read(fd, ret, len - 1);
	CHECK(n >= 0);
	ret[n] = 0;
	(void)close(fd);
}

static void read_link(const char *path, char *ret, size_t len)
{
	ssize_t n = readlink(path, ret, len - 1);

	CHECK(n > 0);
	ret[n] = 0;
}

static void observe(struct state *s)
{
	int i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < RLIM_NLIMITS; i++)
		CHECK(getrlimit((__rlimit_resource_t)i, &s->limits[i]) == 0);
	s->mask = umask(0);
	(void)umask(s->mask);
	CHECK(getcwd(s->cwd, sizeof(s->cwd)) != NULL);
	read_link("/proc/self/exe", s->exe, sizeof(s->exe));
	read_link("/proc/self/root", s->root, sizeof(s->root));
	read_text("/proc/self/oom_score_adj", s->oom, sizeof(s->oom));
	read_text("/proc/self/cmdline", s->cmdline, sizeof(s->cmdline));
	CHECK(prctl(PR_GET_NAME, s->name) == 0);
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &s->subreaper) == 0);
	CHECK(prctl(PR_GET_PDEATHSIG, &s->pdeathsig) == 0);
	s->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	s->thp_disable = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	s->dumpable = prctl(PR_GET_DUMPABLE);
	s->slack = prctl(PR_GET_TIMERSLACK);
	s->keep_caps = prctl(PR_GET_KEEPCAPS);
	s->persona = personality(0xffffffff);
	s->nice = getpriority(PRIO_PROCESS, 0);
	s->pgrp = getpgrp();
	s->sid = getsid(0);
}

static void lower(int resource, rlim_t cur)
{
	struct rlimit r;

	CHECK(getrlimit((__rlimit_resource_t)resource, &r) == 0);
	if (r.rlim_max == RLIM_INFINITY || cur < r.rlim_max)
		r.rlim_cur = cur;
	CHECK(setrlimit((__rlimit_resource_t)resource, &r) == 0);
}

static void build(void)
{
	char path[PATH_MAX];
	int fd;

	lower(RLIMIT_CORE, 12345);
	lower(RLIMIT_NOFILE, 777);
	lower(RLIMIT_STACK, 6 << 20);
	lower(RLIMIT_FSIZE, 1ul << 40);
	CHECK(mkdir(subject_path(path, "a folder"), 0755) == 0);
	CHECK(chdir(path) == 0);
	(void)umask(0137);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, "321", 3) == 3);
	(void)close(fd);
	CHECK(prctl(PR_SET_NAME, "a (very) odd) 1") == 0);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_TIMERSLACK, 77777ul) == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
	CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR); /* the one who started us may well die */
	CHECK(personality(ADDR_NO_RANDOMIZE) >= 0);
	CHECK(setpriority(PRIO_PROCESS, 0, 3) == 0);
}

static void compare(const struct state *a, const struct state *b)
{
	int i;

	for (i = 0; i < RLIM_NLIMITS; i++) {
		if (memcmp(&a->limits[i], &b->limits[i], sizeof(a->limits[i])) != 0)
			subject_bad("rlimit %d was %lld and is %lld", i, (long long)a->limits[i].rlim_cur,
				    (long long)b->limits[i].rlim_cur);
	}
	CHECK(a->mask == b->mask);
	CHECK(strcmp(a->cwd, b->cwd) == 0);
	if (strcmp(a->exe, b->exe) != 0)
		subject_bad("exe was '%.150s' and is '%.150s'", a->exe, b->exe);
	CHECK(strcmp(a->root, b->root) == 0);
	CHECK(strcmp(a->name, b->name) == 0);
	CHECK(strcmp(a->oom, b->oom) == 0);
	CHECK(strcmp(a->cmdline, b->cmdline) == 0);
	CHECK(a->subreaper == b->subreaper);
	CHECK(a->no_new_privs == b->no_new_privs);
	CHECK(a->thp_disable == b->thp_disable);
	CHECK(a->dumpable == b->dumpable);
	CHECK(a->slack == b->slack);
	CHECK(a->pdeathsig == b->pdeathsig);
	CHECK(a->keep_caps == b->keep_caps);
	CHECK(a->persona == b->persona);
	CHECK(a->nice == b->nice);
}

int main(void)
{
	static struct state before, after;

	subject_init();
	build();
	observe(&before);
	subject_ready();
	subject_wait_go();
	observe(&after);
	compare(&before, &after);
	CHECK(strcmp(getenv("STASIS_TEST_MARK") ? "set" : "unset", "set") == 0);
	subject_ok();
}
