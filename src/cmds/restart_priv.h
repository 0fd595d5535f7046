/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the source files of restart. */
#ifndef CMDS_RESTART_PRIV_H
#define CMDS_RESTART_PRIV_H

#include "cmds/common.h"
#include "cmds/dialog.h"

/* The command line, checked. Strings belong to argv. */
struct restart_opts {
	struct cmd_log log;
	bool is_copying_back; /* -C */
	bool is_rolling_back; /* --rollback-files */
	bool keeps_monotonic; /* --keep-monotonic */
	bool is_forced;	      /* -F */
	bool is_interactive;  /* -i */
	bool is_traced;	      /* -t */
	bool ignores_changes; /* -w: no warning for files changed since the checkpoint */
	bool is_waiting;      /* not -W */
	bool is_stopped;      /* -z */
	int signal_root;      /* -k, or SIGCONT */
	int signal_all;	      /* -K */
	enum stasis_cgroup cgroup; /* --cgroup */
	const char *cgroup_path;
	const char *file;
};

/*
 * Parse the command line. Returns -1 to go on with *ret, else the exit status: --help and --version
 * are done, or a message was printed.
 */
int restart_opts_parse(int argc, char **argv, struct restart_opts *ret);

/* The dialogue of restart -i. */
enum dialog_end restart_interactive(struct selection *sel);

/*
 * From now on signals that are meant for the target are kept until restart_follow() passes them on:
 * one that comes while the target is being made must not end restart and leave the target alone.
 */
void restart_hold_signals(void);

/* What a shepherd wants to hear of while it follows. */
struct follow_hooks {
	int warning; /* a signal that is for us, not for the root; 0: none */
	void (*is_warned)(void *arg);
	int settle_ms; /* 0, or when the root has lasted that long, or somebody sends SIGTERM: */
	void (*has_settled)(void *arg);
	void *arg;
};

/*
 * Stay until the restarted root ends: pass signals on, share the terminal, stop and continue as it
 * does; hooks may be NULL. Returns its exit status; does not return when the root was killed by a signal, but dies of
 * the same one. A failure of the waiting itself is printed and is status 1.
 */
int restart_follow(struct stasis_restored *restored, const struct follow_hooks *hooks);

#endif
