/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The letters and texts of restart -i: figures 2-14 to 2-16 of the CONVEX guide. */
#include "cmds/restart_priv.h"

#include <stdio.h>

static const char process_help[] =
	"(Q)uit - exit without performing the restart\n"
	"(R)estart - exit interactive mode and proceed with restart\n"
	"(G)oto - make a specified pid the current process\n"
	"(P)rint - display information about all processes\n"
	"(?) - display this help message\n"
	"(r)estart - make the current process eligible for restart\n"
	"(i)gnore - make the current process ineligible for restart\n"
	"(p)rint - print information about the current process and its children\n"
	"\n";

static const char fd_help_text[] = "\n"
				   "(Q)uit - exit without performing restart\n"
				   "(R)estart - exit interactive mode and proceed with restart\n"
				   "(G)oto - make a specified pid the current process\n"
				   "(P)rint - display information about all processes\n"
				   "(?) - display this help message\n"
				   "(i)gnore - ignore the file descriptor\n"
				   "(u)se - use the file descriptor\n"
				   "(m)odify - change the pathname of a file descriptor\n"
				   "\n";

static const char *fd_hint(const struct stasis_fd_info *f)
{
	(void)f; /* the same for every sort of file */
	return "ium";
}

static void fd_help(const struct stasis_fd_info *f)
{
	(void)f;
	fputs(fd_help_text, stdout);
}

static bool fd_command(const struct stasis_fd_info *f, char letter,
		       enum stasis_fd_action *ret_action)
{
	(void)f;
	switch (letter) {
	case 'i':
		*ret_action = STASIS_FD_IGNORE;
		return true;
	case 'u':
		*ret_action = STASIS_FD_KEEP;
		return true;
	case 'm':
		*ret_action = STASIS_FD_MODIFY;
		return true;
	default:
		return false;
	}
}

enum dialog_end restart_interactive(struct selection *sel)
{
	static const struct dialog_style style = {
		.banner = "Restart interactive mode. Type '?' for help.",
		.proceed = 'R',
		.accept = 'r',
		.process_hint = "ipr",
		.process_help = process_help,
		.fd_hint = fd_hint,
		.fd_help = fd_help,
		.fd_command = fd_command,
	};

	return dialog_run(&style, sel);
}
