/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What strangers do to System V objects; no subject.
 *
 *	sysv-touch fill ID     write all over the segment
 *	sysv-touch make KEY    make one with that key
 *	sysv-touch hold ID     attach it, say so, and wait for ever
 *	sysv-touch sem KEY     make a set with that key
 *	sysv-touch msg KEY     make a queue with that key
 *	sysv-touch mq NAME     open a POSIX message queue, say so, and wait for ever
 *	sysv-touch use ID      change semaphore 2 of a set and back, say so, and wait for ever
 */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

static char *attach(int id)
{
	char *p = shmat(id, NULL, 0);

	if (p == (char *)-1) {
		perror("shmat");
		exit(1);
	}
	return p;
}

int main(int argc, char **argv)
{
	struct shmid_ds ds;
	int number;

	if (argc != 3)
		return 2;
	number = (int)strtol(argv[2], NULL, 10);
	if (strcmp(argv[1], "make") == 0)
		return shmget(number, 4096, IPC_CREAT | IPC_EXCL | 0600) < 0;
	if (strcmp(argv[1], "fill") == 0) {
		if (shmctl(number, IPC_STAT, &ds) < 0)
			return 1;
		memset(attach(number), 0xee, ds.shm_segsz);
		return 0;
	}
	if (strcmp(argv[1], "sem") == 0)
		return semget(number, 1, IPC_CREAT | IPC_EXCL | 0600) < 0;
	if (strcmp(argv[1], "msg") == 0)
		return msgget(number, IPC_CREAT | IPC_EXCL | 0600) < 0;
	if (strcmp(argv[1], "use") == 0) {
		struct sembuf pair[2] = {{.sem_num = 2, .sem_op = 1}, {.sem_num = 2, .sem_op = -1}};

		if (semop(number, pair, 2) < 0)
			return 1;
	} else if (strcmp(argv[1], "mq") == 0) {
		if (mq_open(argv[2], O_RDWR) < 0)
			return 1;
	} else {
		(void)attach(number);
	}
	(void)puts("held");
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}
