/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ASKED_H
#define PLUGIN_ASKED_H

#include <stdbool.h>

/* What a call of sbatch asks of us. */
struct asked {
	bool has_any;	 /* one of --checkpoint... */
	unsigned events; /* of --checkpoint-on */
};

/*
 * Before sbatch has looked at its options: defaults that depend on them can be set then, and only then. From its
 * variables, the script's "#SBATCH" lines and the command line; a script that comes by standard input has not
 * been read yet.
 */
void asked_find(struct asked *ret);

#endif
