/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the source files of the stasis command. */
#ifndef CMDS_STASIS_PRIV_H
#define CMDS_STASIS_PRIV_H

#include "cmds/common.h"

#include <jansson.h>

/* Options of all subcommands; each takes those that its table names. */
struct stasis_opts {
	struct cmd_log log;
	bool is_json;
	bool is_recursive;
	int nr_args;
	char **args; /* operands */
};

/* Subcommands; they return the exit status. */
int stasis_check(struct stasis_opts *o);
int stasis_verify(struct stasis_opts *o);
int stasis_show(struct stasis_opts *o);
int stasis_ls(struct stasis_opts *o);

void stasis_tree_info_freep(struct stasis_tree_info **info);

/*
 * JSON. Memory that cannot be had gives NULL, which the jansson functions take as no value and
 * json_print() reports. Text that is not UTF-8 is written with its bytes as \ooo.
 */
json_t *json_text(const char *text);
json_t *json_tree(const struct stasis_tree_info *info);
/* Print to stdout and free; 0, or 1 with a message. */
int json_print(json_t *value);

#endif
