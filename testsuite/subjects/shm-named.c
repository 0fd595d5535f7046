/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX shared memory and named semaphores: mapped with and without their descriptors, sparse, open only, of a
 * child, and a process that waits at a semaphore. By their names it is the same memory.
 */
#include "subject.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul

static char *name(const char *what)
{
	static char buf[2][64];
	static int turn;

	turn = !turn;
	(void)snprintf(buf[turn], sizeof(buf[turn]), "/subject-%s-%d", what, (int)getpid());
	return buf[turn];
}

static char *make(const char *what, size_t size, int *ret_fd)
{
	int fd = shm_open(name(what), O_RDWR | O_CREAT | O_EXCL, 0640);
	char *p;

	CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	*ret_fd = fd;
	return p;
}

int main(void)
{
	char *closed, *sparse, *lone, *again;
	int closed_fd, sparse_fd, lone_fd;
	sem_t *sem, *waited;
	struct stat st;
	pid_t child;
	int value;

	subject_init();
	(void)umask(0);
	closed = make("closed", 3 * PAGE, &closed_fd);
	pattern_fill(closed, 3 * PAGE, 1);
	CHECK(close(closed_fd) == 0);
	sparse = make("sparse", 1000 * PAGE, &sparse_fd);
	pattern_fill(sparse + 500 * PAGE, PAGE, 2);
	CHECK(munmap(sparse, 100 * PAGE) == 0);
	lone = make("lone", PAGE + 5, &lone_fd);
	pattern_fill(lone, PAGE + 5, 3);
	CHECK(munmap(lone, 2 * PAGE) == 0);
	sem = sem_open(name("sem"), O_CREAT | O_EXCL, 0600, 3);
	waited = sem_open(name("waited"), O_CREAT | O_EXCL, 0600, 0);
	CHECK(sem != SEM_FAILED && waited != SEM_FAILED);
	child = subject_fork();
	if (child == 0) {
		subject_mark("child");
		CHECK(sem_wait(waited) == 0 && closed[0] == 'x');
		_exit(0);
	}
	subject_wait_mark("child");
	subject_ready();
	subject_wait_go();

	CHECK(pattern_matches(closed, 3 * PAGE, 1));
	CHECK(pattern_matches(sparse + 500 * PAGE, PAGE, 2) && sparse[999 * PAGE] == 0);
	CHECK(fstat(sparse_fd, &st) == 0 && st.st_size == 1000 * PAGE && (st.st_mode & 0777) == 0640);
	CHECK(st.st_blocks * 512 < (off_t)(100 * PAGE));
	CHECK(fstat(lone_fd, &st) == 0 && st.st_size == PAGE + 5);
	lone = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, lone_fd, 0);
	CHECK(lone != MAP_FAILED && pattern_matches(lone, PAGE + 5, 3));
	closed_fd = shm_open(name("closed"), O_RDWR, 0);
	CHECK(closed_fd >= 0);
	again = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, closed_fd, 0);
	CHECK(again != MAP_FAILED);
	again[0] = 'x';
	CHECK(closed[0] == 'x');
	CHECK(sem_getvalue(sem, &value) == 0 && value == 3);
	CHECK(sem_post(waited) == 0);
	subject_reap(child);
	CHECK(shm_unlink(name("closed")) == 0 && shm_unlink(name("sparse")) == 0 &&
	      shm_unlink(name("lone")) == 0 && sem_unlink(name("sem")) == 0 && sem_unlink(name("waited")) == 0);
	subject_ok();
}
