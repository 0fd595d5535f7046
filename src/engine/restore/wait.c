/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waits for a restarted root, a child or in a namespace, in the same words. */
#include "lib/io.h"

#include <poll.h>
#include <signal.h>
#include <stasis/stasis.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_wanted(int status, int options)
{
	if (WIFSTOPPED(status))
		return options & WUNTRACED;
	if (WIFCONTINUED(status))
		return options & WCONTINUED;
	return true;
}

/* The first process of the namespace writes each status as waitpid() gave it there. */
static int wait_in_namespace(struct stasis_restored *r, int *ret_wstatus, int options,
			     struct stasis_error *err)
{
	struct pollfd pfd = {.fd = r->status_fd, .events = POLLIN};
	int status;

	do {
		int ready = poll(&pfd, 1, options & WNOHANG ? 0 : -1);

		if (ready < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "wait for %d", r->root);
		if (ready == 0)
			return 0;
		if (io_read_full(r->status_fd, &status, sizeof(status), err) < 0)
			return stasis_fail(err, STASIS_E_GONE,
					   "the namespace of %d was destroyed from outside", r->root);
	} while (!is_wanted(status, options));
	*ret_wstatus = status;
	return r->root;
}

int stasis_wait(struct stasis_restored *r, int *ret_wstatus, int options, struct stasis_error *err)
{
	pid_t pid;

	if (r->status_fd >= 0)
		return wait_in_namespace(r, ret_wstatus, options, err);
	pid = waitpid(r->root, ret_wstatus, options);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "wait for %d", r->root);
	return pid;
}

int stasis_signal(struct stasis_restored *r, int sig, struct stasis_error *err)
{
	if (kill(r->root, sig) < 0)
		return stasis_fail_errno(err, STASIS_E_GONE, "signal %d", r->root);
	return 0;
}
