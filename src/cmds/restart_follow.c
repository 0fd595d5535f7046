/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After the restart this process stands for the restarted root: towards the shell, which knows only
 * this one, and towards the user, whose terminal belongs to the root's process group meanwhile
 * (sections "Process Groups and Terminal Control" and "Passing Signals Through" of the CONVEX
 * guide). All signals of interest are blocked and read from a signalfd, so there are no handlers.
 */
#include "cmds/restart_priv.h"

#include "lib/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

/* Sent on to the root when they come here; SIGCONT has its own rules. */
static const int passed_signals[] = {SIGINT,  SIGQUIT,	SIGTSTP, SIGHUP,
				     SIGTERM, SIGWINCH, SIGUSR1, SIGUSR2};

#define NR_PASSED (sizeof(passed_signals) / sizeof(passed_signals[0]))

/*
 * Every change of the root's state makes a descriptor readable: SIGCHLD comes from a child, the
 * namespace's first process reports on status_fd. Should one get lost, we are this late.
 */
#define RECHECK_MS 1000

struct follower {
	struct stasis_restored *root;
	const struct follow_hooks *hooks; /* or NULL */
	struct timespec begin;
	bool is_settled;
	int tty;		   /* controlling terminal, -1 without one */
	bool has_given_terminal;   /* the root's group is in the foreground through us */
	int signals;		   /* signalfd of what is passed on, SIGCONT and SIGCHLD */
	sigset_t ignored_at_start; /* nohup, or background of a shell without job control */
};

/* The root's process group when it can be spoken to as one: not when it is our own. */
static pid_t root_group(const struct follower *f)
{
	pid_t group = getpgid(f->root->root);

	return group > 0 && group != getpgrp() ? group : 0;
}

/* Only if the terminal is ours to give. SIGTTOU is blocked, so asking from the background is safe.
 */
static void give_terminal(struct follower *f)
{
	pid_t group = root_group(f);
	pid_t foreground;

	if (f->tty < 0 || !group)
		return;
	foreground = tcgetpgrp(f->tty);
	/* fails when the root has a session of its own: then it has no part in this terminal */
	if (foreground == group || (foreground == getpgrp() && tcsetpgrp(f->tty, group) == 0))
		f->has_given_terminal = true;
}

static void take_terminal_back(struct follower *f)
{
	if (!f->has_given_terminal)
		return;
	f->has_given_terminal = false;
	(void)tcsetpgrp(f->tty, getpgrp()); /* a terminal that hung up needs no owner */
}

/* From the kernel: for everyone at the terminal. From a process: for the one it was sent to. */
static void send_on(struct follower *f, int sig, bool is_for_group)
{
	pid_t group = root_group(f);

	if (is_for_group && group && kill(-group, sig) == 0)
		return;
	(void)stasis_signal(f->root, sig, NULL); /* may have ended just now: SIGCHLD tells */
}

static void pass_signal(struct follower *f, const struct signalfd_siginfo *info)
{
	int sig = (int)info->ssi_signo;
	bool is_from_terminal = info->ssi_code == SI_KERNEL;

	if (sig == SIGHUP && sigismember(&f->ignored_at_start, sig))
		return; /* nohup means it, whoever sends */
	if (is_from_terminal && sigismember(&f->ignored_at_start, sig))
		return;
	/* in our own group the root has had it from the terminal already */
	if (is_from_terminal && getpgid(f->root->root) == getpgrp())
		return;
	send_on(f, sig, is_from_terminal);
}

static void continue_root(struct follower *f)
{
	give_terminal(f);
	send_on(f, SIGCONT, true);
}

/*
 * Stop as the root did, so that the shell sees a stopped job and takes the terminal. SIGTSTP stands
 * for SIGSTOP: unlike that one it does nothing in an orphaned process group (no shell there would
 * ever continue us).
 */
static void stop_self(int sig)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t one;

	if (sig != SIGTTIN && sig != SIGTTOU)
		sig = SIGTSTP;
	(void)sigaction(sig, &dfl, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	(void)raise(sig);
	(void)sigprocmask(SIG_UNBLOCK, &one, NULL); /* stops here; SIGCONT is taken by the loop */
	(void)sigprocmask(SIG_BLOCK, &one, NULL);
}

static void root_stopped(struct follower *f, int sig)
{
	/* It may have read from the terminal before we could hand that over. */
	if (sig == SIGTTIN || sig == SIGTTOU) {
		give_terminal(f);
		if (f->has_given_terminal) {
			send_on(f, SIGCONT, true);
			return;
		}
	}
	take_terminal_back(f);
	stop_self(sig);
}

/* Take in what happened to the root; true when it has ended, with *ret_status. */
static bool root_has_ended(struct follower *f, int *ret_wstatus, bool *ret_failed)
{
	struct stasis_error err;
	int wstatus, rc;

	while ((rc = stasis_wait(f->root, &wstatus, WNOHANG | WUNTRACED | WCONTINUED, &err)) > 0) {
		if (WIFSTOPPED(wstatus)) {
			root_stopped(f, WSTOPSIG(wstatus));
		} else if (WIFCONTINUED(wstatus)) {
			give_terminal(f);
		} else {
			*ret_wstatus = wstatus;
			return true;
		}
	}
	if (rc == 0 || err.sys_errno == EINTR)
		return false;
	(void)cmd_report(&err);
	*ret_failed = true;
	return true;
}

static void settle(struct follower *f)
{
	if (!f->hooks || !f->hooks->settle_ms || f->is_settled)
		return;
	f->is_settled = true;
	f->hooks->has_settled(f->hooks->arg);
}

/* As late as RECHECK_MS. */
static void check_settled(struct follower *f)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (f->hooks && (now.tv_sec - f->begin.tv_sec) * 1000 + (now.tv_nsec - f->begin.tv_nsec) / 1000000 >=
				f->hooks->settle_ms)
		settle(f);
}

static void take_signals(struct follower *f)
{
	struct signalfd_siginfo info;

	while (read(f->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCONT)
			continue_root(f);
		else if (f->hooks && f->hooks->warning && (int)info.ssi_signo == f->hooks->warning)
			f->hooks->is_warned(f->hooks->arg);
		else if (info.ssi_signo != SIGCHLD)
			pass_signal(f, &info);
		if (info.ssi_signo == SIGTERM)
			settle(f);
	}
}

static void wait_for_event(const struct follower *f)
{
	struct pollfd fds[] = {
		{.fd = f->signals, .events = POLLIN},
		{.fd = f->root->status_fd, .events = POLLIN}, /* -1 is passed over */
	};

	(void)poll(fds, 2, RECHECK_MS); /* whatever it says, all sources are looked at next */
}

/* What came together with the root's end. */
static void take_last_signals(struct follower *f)
{
	struct signalfd_siginfo info;

	while (read(f->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM)
			settle(f);
}

static void collect_signals(struct follower *f, sigset_t *awaited)
{
	struct sigaction old;

	sigemptyset(awaited);
	sigemptyset(&f->ignored_at_start);
	sigaddset(awaited, SIGCHLD);
	sigaddset(awaited, SIGCONT);
	if (f->hooks && f->hooks->warning)
		sigaddset(awaited, f->hooks->warning);
	for (size_t i = 0; i < NR_PASSED; i++) {
		sigaddset(awaited, passed_signals[i]);
		if (sigaction(passed_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			sigaddset(&f->ignored_at_start, passed_signals[i]);
	}
}

void restart_hold_signals(void)
{
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < NR_PASSED; i++)
		sigaddset(&held, passed_signals[i]);
	(void)sigprocmask(SIG_BLOCK, &held, NULL);
}

static int follower_init(struct follower *f, struct stasis_restored *root,
			 const struct follow_hooks *hooks, struct stasis_error *err)
{
	sigset_t awaited, blocked;

	*f = (struct follower){.root = root, .hooks = hooks, .tty = -1};
	(void)clock_gettime(CLOCK_MONOTONIC, &f->begin);
	collect_signals(f, &awaited);
	blocked = awaited;
	sigaddset(&blocked, SIGTTIN);
	sigaddset(&blocked, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
	f->signals = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
	if (f->signals < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "signalfd");
	f->tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	return 0;
}

/* End as the root did, but leave no core of our own. */
static int end_like(int wstatus)
{
	const struct rlimit no_core = {0, 0};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t one;

	if (!WIFSIGNALED(wstatus))
		return WEXITSTATUS(wstatus);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)sigaction(WTERMSIG(wstatus), &dfl, NULL); /* EINVAL for SIGKILL, which needs none */
	sigemptyset(&one);
	sigaddset(&one, WTERMSIG(wstatus));
	(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
	(void)raise(WTERMSIG(wstatus));
	return 128 + WTERMSIG(wstatus); /* not reached unless the signal is harmless to us (init) */
}

int restart_follow(struct stasis_restored *restored, const struct follow_hooks *hooks)
{
	struct follower f;
	struct stasis_error err;
	bool has_failed = false;
	int wstatus = 0;

	if (follower_init(&f, restored, hooks, &err) < 0)
		return cmd_report(&err);
	give_terminal(&f);
	while (!root_has_ended(&f, &wstatus, &has_failed)) {
		wait_for_event(&f);
		take_signals(&f);
		check_settled(&f);
	}
	take_last_signals(&f);
	take_terminal_back(&f);
	scoped_close_fd(&f.tty);
	scoped_close_fd(&f.signals);
	return has_failed ? 1 : end_like(wstatus);
}
