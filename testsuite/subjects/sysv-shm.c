/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V shared memory: attached twice, read-only, partly unmapped, moved, removed but attached, of a child, and
 * attached by nobody. Ids, keys, modes, attachments, content, and that shmdt() finds what is its own.
 */
#include "subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define PAGE 4096ul
#define ODD  10000ul /* not whole pages */

static struct segment {
	int id;
	struct shmid_ds ds;
} keyed, holed, moved, removed, lone;

static void make(struct segment *s, key_t key, size_t size, int mode)
{
	s->id = shmget(key, size, IPC_CREAT | IPC_EXCL | mode);
	CHECK(s->id >= 0);
}

static char *attach(const struct segment *s, void *at, int flags)
{
	char *p = shmat(s->id, at, flags);

	CHECK(p != (char *)-1);
	return p;
}

static void remember(struct segment *s)
{
	CHECK(shmctl(s->id, IPC_STAT, &s->ds) == 0);
}

static void check(const struct segment *s, const char *name)
{
	struct shmid_ds now;

	if (shmctl(s->id, IPC_STAT, &now) < 0)
		subject_bad("%s: id %d: errno %d", name, s->id, errno);
	if (now.shm_segsz != s->ds.shm_segsz || now.shm_perm.__key != s->ds.shm_perm.__key ||
	    now.shm_perm.mode != s->ds.shm_perm.mode || now.shm_perm.uid != s->ds.shm_perm.uid ||
	    now.shm_perm.cuid != s->ds.shm_perm.cuid || now.shm_perm.gid != s->ds.shm_perm.gid)
		subject_bad("%s: size %zu, key %x, mode %o, uid %u, cuid %u", name, now.shm_segsz,
			    now.shm_perm.__key, now.shm_perm.mode, now.shm_perm.uid, now.shm_perm.cuid);
	if (now.shm_nattch != s->ds.shm_nattch)
		subject_bad("%s: attached %lu times, not %lu", name, now.shm_nattch, s->ds.shm_nattch);
}

static unsigned long attachments(const struct segment *s)
{
	struct shmid_ds now;

	CHECK(shmctl(s->id, IPC_STAT, &now) == 0);
	return now.shm_nattch;
}

static bool is_mapped(const char *p)
{
	unsigned char in;

	return mincore((void *)((unsigned long)p & ~(PAGE - 1)), PAGE, &in) == 0;
}

static void child_main(const char *inherited, const char *gone)
{
	char *own = attach(&keyed, NULL, SHM_RDONLY);

	subject_mark("attached");
	subject_wait_mark("parent");
	CHECK(memcmp(own, inherited, ODD) == 0 && own[0] == 'x' && inherited[1] == 'y');
	CHECK(mprotect(own, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	CHECK(strcmp(gone, "removed!") == 0);
	CHECK(shmdt(own) == 0 && !is_mapped(own) && is_mapped(inherited));
	_exit(0);
}

int main(void)
{
	char *a, *b, *h, *m, *to, *r;
	pid_t child;

	subject_init();
	make(&keyed, 0x53000000 | getpid(), ODD, 0640);
	make(&holed, IPC_PRIVATE, 8 * PAGE, 0600);
	make(&moved, IPC_PRIVATE, 4 * PAGE, 0600);
	make(&removed, IPC_PRIVATE, PAGE, 0600);
	make(&lone, IPC_PRIVATE, 3 * PAGE, 0600);
	a = attach(&keyed, NULL, 0);
	b = attach(&keyed, NULL, 0);
	pattern_fill(a, ODD, 1);
	h = attach(&holed, NULL, 0);
	pattern_fill(h, 8 * PAGE, 2);
	CHECK(mprotect(h, PAGE, PROT_READ) == 0);
	m = attach(&moved, NULL, 0);
	pattern_fill(m, 4 * PAGE, 3);
	to = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(to != MAP_FAILED);
	CHECK(mremap(m + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	r = attach(&removed, NULL, 0);
	strcpy(r, "removed!");
	CHECK(shmctl(removed.id, IPC_RMID, NULL) == 0);
	lone.ds.shm_nattch = 0;
	{
		char *p = attach(&lone, NULL, 0);

		pattern_fill(p + PAGE, PAGE, 4);
		CHECK(shmdt(p) == 0);
	}
	CHECK(munmap(h + 2 * PAGE, 3 * PAGE) == 0); /* late, so that nothing gets in there */
	child = subject_fork();
	if (child == 0)
		child_main(a, r);
	subject_wait_mark("attached");
	remember(&keyed);
	remember(&holed);
	remember(&moved);
	remember(&removed);
	remember(&lone);
	subject_ready();
	subject_wait_go();

	check(&keyed, "with a key");
	check(&holed, "with a hole");
	check(&moved, "moved");
	check(&removed, "removed");
	check(&lone, "attached by nobody");
	CHECK(shmget(keyed.ds.shm_perm.__key, ODD, 0) == keyed.id);
	CHECK(pattern_matches(a, ODD, 1) && pattern_matches(b, ODD, 1));
	CHECK(!is_mapped(h + 2 * PAGE) && !is_mapped(h + 4 * PAGE));
	{
		char *whole = attach(&holed, NULL, 0), *four = attach(&moved, NULL, 0);
		char *lonely = attach(&lone, NULL, 0);

		CHECK(pattern_matches(whole, 8 * PAGE, 2) && memcmp(whole, h, 2 * PAGE) == 0);
		CHECK(memcmp(whole + 5 * PAGE, h + 5 * PAGE, 3 * PAGE) == 0);
		CHECK(pattern_matches(four, 4 * PAGE, 3) && memcmp(four + PAGE, to, 2 * PAGE) == 0);
		four[PAGE] = 'm';
		CHECK(to[0] == 'm' && m[0] == four[0] && m[3 * PAGE] == four[3 * PAGE]);
		CHECK(pattern_matches(lonely + PAGE, PAGE, 4) && lonely[0] == 0 && lonely[2 * PAGE] == 0);
		CHECK(shmdt(whole) == 0 && shmdt(four) == 0 && shmdt(lonely) == 0);
	}
	CHECK(attachments(&holed) == holed.ds.shm_nattch && attachments(&moved) == moved.ds.shm_nattch);
	a[0] = 'x';
	b[1] = 'y';
	subject_mark("parent");
	subject_reap(child);
	CHECK(shmdt(a) == 0 && !is_mapped(a) && b[0] == 'x' && attachments(&keyed) == 1);
	CHECK(shmdt(h) == 0 && !is_mapped(h) && !is_mapped(h + 7 * PAGE) && attachments(&holed) == 0);
	CHECK(shmdt(r) == 0 && shmctl(removed.id, IPC_STAT, &removed.ds) < 0);
	CHECK(shmctl(keyed.id, IPC_RMID, NULL) == 0 && shmctl(holed.id, IPC_RMID, NULL) == 0 &&
	      shmctl(moved.id, IPC_RMID, NULL) == 0 && shmctl(lone.id, IPC_RMID, NULL) == 0);
	subject_ok();
}
