/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A look into a pseudo-terminal, which takes out what is in it for a moment. Should this engine be
 * killed in that moment, the parasite puts everything back all the same; but the other processes, let
 * go by the kernel, could read or write in between. So the parasite gets a leash: a socket in which our
 * ends of all other parasites' lines are in flight. These see the end of file by which they go home
 * only when it has closed the leash. (A thread other than the leader has no parasite and is not held.)
 */
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <string.h>
#include <sys/socket.h>

enum { LINES_PER_MESSAGE = 200 }; /* below SCM_MAX_FD, 253 */

static int send_lines(int sock, const int *lines, size_t nr)
{
	union {
		char bytes[CMSG_SPACE(LINES_PER_MESSAGE * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(c), lines, nr * sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}

/* A socket that holds the lines of all processes but one; what does not fit is not held. */
static int make_leash(const struct task *but, struct stasis_error *err)
{
	int pair[2], lines[LINES_PER_MESSAGE];
	size_t nr = 0, i;
	struct task *t;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "socketpair");
	tree_for_each(but->tree, i, t) {
		if (t == but || !t->inject || t->inject->sock < 0)
			continue;
		lines[nr++] = t->inject->sock;
		if (nr < LINES_PER_MESSAGE)
			continue;
		(void)send_lines(pair[0], lines, nr);
		nr = 0;
	}
	if (nr)
		(void)send_lines(pair[0], lines, nr);
	(void)close(pair[0]);
	return pair[1];
}

/* The process may be hostile: what it says must at least fit together. */
static int check(const struct task *t, const struct parasite_pty *p, struct stasis_error *err)
{
	uint32_t sum = 0;

	if (p->nr_lines <= PARASITE_PTY_LINES && p->input_len <= PARASITE_PTY_BYTES &&
	    p->output_len <= PARASITE_PTY_BYTES) {
		for (uint32_t i = 0; i < p->nr_lines && sum <= p->input_len; i++)
			sum += p->lines[i];
		if (sum <= p->input_len)
			return 0;
	}
	return stasis_fail(err, STASIS_E_INTERNAL, "process %d gives a wrong answer", t->pid);
}

int inject_pty(struct task *t, int master, struct parasite_pty *ret, struct stasis_error *err)
{
	struct wire_request req = {.op = WIRE_OP_PTY, .a = {(uint64_t)master}};
	scoped_fd int leash = -1;

	if (!t->inject)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	leash = make_leash(t, err);
	if (leash < 0)
		return -1;
	if (inject_request(t->inject, &req, leash, NULL, err) < 0 ||
	    inject_read(t->inject, t->inject->at.buffer, ret, sizeof(*ret), err) < 0)
		return -1;
	return check(t, ret, err);
}
