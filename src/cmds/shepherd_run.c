/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shepherd of a batch script that is to be checkpointed before Slurm ends it: it is there from the first
 * run, since the process that slurmstepd started gets the warning (EVENT_SIGNAL, which the plugin asked sbatch
 * for), and tells stasisd, which knows what is about to happen.
 */
#include "cmds/shepherd_priv.h"

#include "api/client.h"
#include "lib/scoped.h"
#include "wire/codes.h"
#include "wire/events.h"
#include "wire/shepherd.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 60000 }; /* who ends before that has ended at once */

static void hold_warning(int how)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, EVENT_SIGNAL);
	(void)sigprocmask(how, &one, NULL);
}

void shepherd_hold_signals(void)
{
	restart_hold_signals();
	hold_warning(SIG_BLOCK);
}

/* stasisd looks itself from time to time: one that does not answer now may still hear of it. */
static void tell_daemon(void *arg)
{
	const char *job = getenv("SLURM_JOB_ID");
	struct wire_msg m = {.len = 0};
	struct stasis_error err;

	(void)arg;
	if (!job)
		return;
	if (wire_put(&m, "op", "warned", &err) < 0 || wire_put(&m, "job", job, &err) < 0 ||
	    wire_put_number(&m, "step", STEP_BATCH_SCRIPT, &err) < 0 || client_ask_local(&m, 0, NULL, &err) < 0)
		cmd_message("Slurm is about to end the job, but %s", err.text);
}

static void forget_tries(void *arg)
{
	shepherd_forget_tries(arg);
}

int shepherd_follow(struct stasis_restored *restored, bool is_script, const char *folder)
{
	struct follow_hooks hooks = {.settle_ms = folder ? SETTLE_MS : 0,
				     .has_settled = forget_tries,
				     .arg = (void *)(uintptr_t)folder};
	const char *wish = getenv("SLURM_CHECKPOINT_ON");
	unsigned events = 0;
	int status;

	if (is_script && wish && events_parse(wish, &events) && events & (EVENT_PREEMPT | EVENT_LIMIT)) {
		hooks.warning = EVENT_SIGNAL;
		hooks.is_warned = tell_daemon;
	} else {
		hold_warning(SIG_UNBLOCK);
	}
	status = restart_follow(restored, &hooks);
	if (folder && status == 0)
		shepherd_forget_tries(folder);
	return status;
}

static void __attribute__((__noreturn__)) become_script(const char *script, char **argv,
							const sigset_t *mask)
{
	argv[0] = (char *)(uintptr_t)script; /* for execv(), which does not write to it */
	(void)unsetenv(SHEPHERD_RUN);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execv(script, argv);
	cmd_message("%s: %s", script, strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

int shepherd_run(const char *script, char **argv)
{
	struct stasis_restored child = {.nr_procs = 1, .status_fd = -1};
	struct stasis_error err;
	sigset_t mask;

	(void)sigprocmask(SIG_SETMASK, NULL, &mask);
	shepherd_hold_signals();
	child.root = fork();
	if (child.root == 0)
		become_script(script, argv, &mask);
	if (child.root < 0) {
		(void)stasis_fail_errno(&err, STASIS_E_IO, "fork");
		return cmd_report(&err);
	}
	child.saved_pid = child.root;
	return shepherd_follow(&child, true, NULL);
}
