/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V semaphores: values, who changed them last, what is undone when a process ends (also of a program with
 * threads, and at the ends of the range), and a process that waits.
 */
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NR = 6, MOST = 32767 };

static int id, large;

static void op(int set, int num, int by, int flags)
{
	struct sembuf b = {(unsigned short)num, (short)by, (short)flags};

	CHECK(semop(set, &b, 1) == 0);
}

static int value(int set, int num)
{
	return semctl(set, num, GETVAL);
}

static void check(int set, int num, int want)
{
	if (value(set, num) != want)
		subject_bad("semaphore %d of set %d is %d, not %d", num, set, value(set, num), want);
}

static void *idle(void *arg)
{
	for (;;)
		(void)pause();
	return arg;
}

/* What it did is undone: 0 gets 1 back, 2 loses 3, 4 and 5 are at the ends of what can be undone. */
static void undoer(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, idle, NULL) == 0);
	op(id, 0, -1, SEM_UNDO);
	op(id, 2, 3, SEM_UNDO);
	op(id, 4, -MOST, SEM_UNDO);
	op(id, 5, MOST, SEM_UNDO);
	op(id, 5, -MOST, 0);
	op(id, 5, 1, SEM_UNDO);
	op(id, 5, 22222, 0);
	op(large, 299, 7, SEM_UNDO);
	subject_mark("undoer");
	for (;;)
		(void)pause();
}

static void waiter(void)
{
	subject_mark("waiter");
	op(id, 1, -2, 0);
	_exit(0);
}

int main(void)
{
	unsigned short values[NR] = {2, 0, 0, 9, MOST, 0};
	struct semid_ds ds;
	pid_t undo, wait;
	int status;

	subject_init();
	id = semget(0x53000000 | getpid(), NR, IPC_CREAT | IPC_EXCL | 0640);
	large = semget(IPC_PRIVATE, 300, IPC_CREAT | 0600);
	CHECK(id >= 0 && large >= 0);
	CHECK(semctl(id, 0, SETALL, values) == 0);
	op(large, 1, 1, 0);
	undo = subject_fork();
	if (undo == 0)
		undoer();
	wait = subject_fork();
	if (wait == 0)
		waiter();
	subject_wait_mark("undoer");
	subject_wait_mark("waiter");
	while (semctl(id, 1, GETNCNT) != 1)
		subject_nap_ms(5);
	subject_ready();
	subject_wait_go();

	CHECK(semget(0x53000000 | getpid(), NR, 0) == id);
	CHECK(semctl(id, 0, IPC_STAT, &ds) == 0 && (ds.sem_perm.mode & 0777) == 0640 && ds.sem_nsems == NR);
	check(id, 0, 1);
	check(id, 1, 0);
	check(id, 2, 3);
	check(id, 3, 9);
	check(id, 4, 0);
	check(id, 5, 22223);
	check(large, 299, 7);
	CHECK(semctl(id, 0, GETPID) == undo && semctl(id, 3, GETPID) == getpid());
	while (semctl(id, 1, GETNCNT) != 1)
		subject_nap_ms(5);
	op(id, 1, 2, 0);
	subject_reap(wait);
	CHECK(kill(undo, SIGKILL) == 0 && waitpid(undo, &status, 0) == undo);
	check(id, 0, 2);
	check(id, 2, 0);
	check(id, 3, 9);
	check(id, 4, MOST);
	check(id, 5, 0); /* 22223 - 32768, which stops at 0 */
	check(large, 299, 0);
	check(large, 1, 1);
	CHECK(semctl(id, 0, IPC_RMID) == 0 && semctl(large, 0, IPC_RMID) == 0);
	subject_ok();
}
