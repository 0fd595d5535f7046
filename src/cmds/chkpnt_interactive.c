/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The letters and texts of chkpnt -i: figures 2-3 to 2-5 of the CONVEX guide. */
#include "cmds/chkpnt_priv.h"

#include <stdio.h>

static const char process_help[] =
	"(Q)uit - exit without performing any checkpointing\n"
	"(C)heckpoint - exit interactive mode and proceed with checkpointing\n"
	"(G)oto - make a specified pid the current process\n"
	"(P)rint - display information about all processes\n"
	"(?) - display help message\n"
	"(c)heckpoint - make the current process eligible for checkpointing\n"
	"(i)gnore - make the current process ineligible for checkpointing\n"
	"(p)rint - print information about the current process\n"
	"\n";

static const char fd_help_head[] =
	"\n"
	"(Q)uit - exit without performing any checkpointing\n"
	"(C)heckpoint - exit interactive mode and proceed with checkpointing\n"
	"(G)oto - make a specified pid the current process\n"
	"(P)rint - display information about all processes\n"
	"(?) - display this help message\n";
static const char fd_help_copy[] = "(c)opy - copy the file to the checkpoint directory\n";
static const char fd_help_tail[] = "(s)ave - store data about the file in the checkpoint file.\n"
				   "(i)gnore - no information about the file will be stored\n"
				   "\n";

static const char *fd_hint(const struct stasis_fd_info *f)
{
	return f->is_regular ? "cis" : "is";
}

static void fd_help(const struct stasis_fd_info *f)
{
	printf("%s%s%s", fd_help_head, f->is_regular ? fd_help_copy : "", fd_help_tail);
}

static bool fd_command(const struct stasis_fd_info *f, char letter,
		       enum stasis_fd_action *ret_action)
{
	switch (letter) {
	case 'c':
		*ret_action = STASIS_FD_COPY;
		return f->is_regular;
	case 'i':
		*ret_action = STASIS_FD_IGNORE;
		return true;
	case 's':
		*ret_action = STASIS_FD_KEEP;
		return true;
	default:
		return false;
	}
}

enum dialog_end chkpnt_interactive(struct selection *sel)
{
	static const struct dialog_style style = {
		.banner = "Chkpnt interactive mode. Type '?' for help.",
		.proceed = 'C',
		.accept = 'c',
		.process_hint = "cip",
		.process_help = process_help,
		.fd_hint = fd_hint,
		.fd_help = fd_help,
		.fd_command = fd_command,
	};

	return dialog_run(&style, sel);
}
