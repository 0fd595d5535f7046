/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of a POSIX queue. They can only be seen by receiving them: the one with the highest priority
 * first, those of one priority in their order, so sent in the same order they are as they were.
 */
#include "resource/mqueue.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

int mqueue_messages_init(struct mqueue_messages *m, const struct mq_attr *a, struct stasis_error *err)
{
	size_t nr = (size_t)a->mq_maxmsg, numbers = sizeof(*m->sum) + 2 * nr * sizeof(uint32_t);
	size_t text = nr * (size_t)a->mq_msgsize;

	memset(m, 0, sizeof(*m));
	if (a->mq_maxmsg < 0 || a->mq_maxmsg > MQUEUE_MAX_MESSAGES || a->mq_msgsize < 0 ||
	    a->mq_msgsize > MQUEUE_MAX_BYTES || text > MQUEUE_MAX_BYTES)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "message queue for %ld messages of %ld bytes",
				   a->mq_maxmsg, a->mq_msgsize);
	m->map_len = numbers + text + (size_t)a->mq_msgsize + 1;
	m->map = mmap(NULL, m->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1, 0);
	if (m->map == MAP_FAILED) {
		m->map = NULL;
		return stasis_fail_errno(err, STASIS_E_NOMEM, "no memory for %zu bytes of messages", text);
	}
	m->sum = m->map;
	m->lengths = (uint32_t *)(m->sum + 1);
	m->priorities = m->lengths + nr;
	m->text = (char *)m->map + numbers;
	return 0;
}

void mqueue_messages_done(struct mqueue_messages *m)
{
	if (m->map)
		(void)munmap(m->map, m->map_len);
	memset(m, 0, sizeof(*m));
}

int mqueue_take(int fd, const struct mq_attr *a, struct mqueue_messages *m, struct stasis_error *err)
{
	unsigned priority;
	ssize_t len;

	for (m->sum->nr = m->sum->len = 0; m->sum->nr < (size_t)a->mq_maxmsg; m->sum->nr++) {
		/* room for one more is behind the last */
		len = mq_receive(fd, m->text + m->sum->len, (size_t)a->mq_msgsize, &priority);
		if (len < 0 && errno == EAGAIN)
			return 0;
		if (len < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "receive from a message queue");
		m->lengths[m->sum->nr] = (uint32_t)len;
		m->priorities[m->sum->nr] = priority;
		m->sum->len += (size_t)len;
	}
	return 0;
}

int mqueue_put(int fd, const struct mqueue_messages *m, struct stasis_error *err)
{
	const char *text = m->text;

	for (size_t i = 0; i < m->sum->nr; text += m->lengths[i++])
		if (mq_send(fd, text, m->lengths[i], m->priorities[i]) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "send to a message queue");
	return 0;
}

/* For an empty queue, a message that comes and goes: whoever wants to be told must be told in any case. */
static int turn_over(int fd, const struct mq_attr *a, struct mqueue_messages *m)
{
	char *spare = m->text + m->sum->len;
	struct stasis_error err;
	unsigned priority;

	if (mqueue_take(fd, a, m, &err) < 0)
		return mqueue_put(fd, m, &err) < 0 ? 2 : 1;
	if (m->sum->nr)
		return mqueue_put(fd, m, &err) < 0 ? 2 : 0;
	return mq_send(fd, spare, 0, 0) < 0 || mq_receive(fd, spare, (size_t)a->mq_msgsize, &priority) < 0;
}

static void block_all(sigset_t *ret_old)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, ret_old);
}

int mqueue_peek(int fd, const struct mq_attr *a, struct mqueue_messages *m, struct stasis_error *err)
{
	int status = -1;
	sigset_t old;
	pid_t pid;

	block_all(&old);
	pid = fork();
	if (pid == 0) {
		(void)setsid(); /* out of reach of who ends the process group */
		_exit(turn_over(fd, a, m));
	}
	if (pid > 0)
		(void)waitpid(pid, &status, 0);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	if (status != 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "looking into a message queue: status 0x%x",
				   (unsigned)status);
	return 0;
}
