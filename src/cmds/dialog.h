/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interactive mode that chkpnt -i and restart -i share: walk a tree item by item and choose. */
#ifndef CMDS_DIALOG_H
#define CMDS_DIALOG_H

#include "cmds/selection.h"

/* How one command's dialogue differs from the other's. */
struct dialog_style {
	const char *banner;
	char proceed;		  /* leaves the dialogue and goes on: 'C' or 'R' */
	char accept;		  /* makes a process eligible: 'c' or 'r' */
	const char *process_hint; /* between the brackets of a prompt */
	const char *process_help;
	const char *(*fd_hint)(const struct stasis_fd_info *f);
	void (*fd_help)(const struct stasis_fd_info *f); /* prints to stdout */
	/*
	 * Is `letter` a command for this descriptor? Then *ret_action is what it means. Every
	 * letter that means STASIS_FD_MODIFY takes a path.
	 */
	bool (*fd_command)(const struct stasis_fd_info *f, char letter,
			   enum stasis_fd_action *ret_action);
};

enum dialog_end {
	DIALOG_PROCEED, /* the last item was answered, or the user said so */
	DIALOG_QUIT,	/* the user said so, or the input ended */
};

/*
 * Ask on stdout, read answers from stdin, change the selection. Input that does not come from a
 * terminal is echoed, so that a transcript reads as on a terminal. Not one byte behind the last
 * answer is read: it belongs to a restarted program.
 */
enum dialog_end dialog_run(const struct dialog_style *style, struct selection *sel);

#endif
