/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the source files of chkpnt. */
#ifndef CMDS_CHKPNT_PRIV_H
#define CMDS_CHKPNT_PRIV_H

#include "cmds/common.h"
#include "cmds/dialog.h"

/* The command line, checked. Strings belong to argv. */
struct chkpnt_opts {
	struct cmd_log log;
	bool is_copying;       /* -C */
	bool is_forced;	       /* -F */
	bool is_interactive;   /* -i, -L */
	bool is_check_only;    /* -n */
	bool is_recursive;     /* -r, -j */
	unsigned external;     /* --external: enum stasis_external */
	struct stasis_stand_in stand_ins[64]; /* --stand-in */
	size_t nr_stand_ins;
	const char *dir;       /* -d */
	const char *file;      /* -f */
	const char *read_log;  /* -I */
	const char *write_log; /* -L */
	int signal_root;       /* -k */
	int signal_all;	       /* -K */
	pid_t pid;
};

/*
 * Parse the command line. Returns -1 to go on with *ret, else the exit status: --help and --version
 * are done, or a message was printed.
 */
int chkpnt_opts_parse(int argc, char **argv, struct chkpnt_opts *ret);

/* Where the checkpoint file goes. */
struct chkpnt_place {
	int dirfd;	  /* checkpoint directory */
	const char *name; /* of the root's file, NULL for the default */
	char *dir;	  /* path of the directory as the user gave it, malloc()ed */
};

/* Open the checkpoint directory that -d and -f mean together and check what can be checked. */
int chkpnt_place_open(const struct chkpnt_opts *opts, struct chkpnt_place *ret,
		      struct stasis_error *err);
void chkpnt_place_close(struct chkpnt_place *place);

/* The dialogue of chkpnt -i. */
enum dialog_end chkpnt_interactive(struct selection *sel);

#endif
