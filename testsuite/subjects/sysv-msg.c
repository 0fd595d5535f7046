/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V message queues: messages with types, lengths and order, limits, a process that waits for one that was
 * never used, and one that waits for room.
 */
#include "subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

struct message {
	long type;
	char text[8000];
};

static int queue, unused, full;

static void put(int id, long type, const char *text, size_t len)
{
	struct message m = {.type = type};

	memcpy(m.text, text, len);
	CHECK(msgsnd(id, &m, len, 0) == 0);
}

static void get(int id, long type, long want_type, const char *text, size_t len)
{
	struct message m;
	ssize_t got = msgrcv(id, &m, sizeof(m.text), type, IPC_NOWAIT);

	if (got != (ssize_t)len || m.type != want_type || memcmp(m.text, text, len) != 0)
		subject_bad("asked for %ld got %zd bytes of type %ld, errno %d", type, got, m.type, errno);
}

static void receiver(void)
{
	struct message m;

	subject_mark("receiver");
	CHECK(msgrcv(unused, &m, sizeof(m.text), 77, 0) == 3 && memcmp(m.text, "yes", 3) == 0);
	_exit(0);
}

static void sender(const char *big)
{
	subject_mark("sender");
	put(full, 2, big, 100);
	_exit(0);
}

/* It has begun to wait when it sleeps and is in the call. */
static bool is_in_call(pid_t pid, const char *nr)
{
	char path[64], text[64] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = '\0';
		(void)fclose(f);
	}
	return strncmp(text, nr, strlen(nr)) == 0;
}

int main(void)
{
	static char big[8000];
	struct msqid_ds ds;
	pid_t in, out;

	subject_init();
	pattern_fill(big, sizeof(big), 1);
	queue = msgget(0x53000000 | getpid(), IPC_CREAT | IPC_EXCL | 0620);
	unused = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	full = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	CHECK(queue >= 0 && unused >= 0 && full >= 0);
	put(queue, 3, "three", 5);
	put(queue, 1, "one", 3);
	put(queue, 1L << 40, "large type", 10);
	put(queue, 3, "", 0);
	put(queue, 2, big, sizeof(big));
	put(queue, 1, "one again", 9);
	CHECK(msgctl(full, IPC_STAT, &ds) == 0);
	ds.msg_qbytes = 7000;
	CHECK(msgctl(full, IPC_SET, &ds) == 0);
	put(full, 1, big, 6950);
	in = subject_fork();
	if (in == 0)
		receiver();
	out = subject_fork();
	if (out == 0)
		sender(big);
	while (!is_in_call(in, "70 ") || !is_in_call(out, "69 "))
		subject_nap_ms(5);
	subject_ready();
	subject_wait_go();

	CHECK(msgget(0x53000000 | getpid(), 0) == queue);
	CHECK(msgctl(queue, IPC_STAT, &ds) == 0 && (ds.msg_perm.mode & 0777) == 0620 && ds.msg_qnum == 6);
	put(unused, 77, "yes", 3);
	subject_reap(in);
	get(queue, -2, 1, "one", 3);
	get(queue, 3, 3, "three", 5);
	get(queue, 0, 1L << 40, "large type", 10);
	get(queue, 2, 2, big, sizeof(big));
	get(queue, 0, 3, "", 0);
	get(queue, 0, 1, "one again", 9);
	CHECK(msgctl(full, IPC_STAT, &ds) == 0 && ds.msg_qbytes == 7000 && ds.msg_qnum == 1);
	get(full, 1, 1, big, 6950);
	subject_reap(out);
	get(full, 0, 2, big, 100);
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && msgctl(unused, IPC_RMID, NULL) == 0 &&
	      msgctl(full, IPC_RMID, NULL) == 0);
	subject_ok();
}
