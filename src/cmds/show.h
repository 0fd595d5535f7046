/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes and descriptors as lines of text, as the CONVEX guide's figures 2-3 to 2-7 have them.
 */
#ifndef CMDS_SHOW_H
#define CMDS_SHOW_H

#include <stasis/stasis.h>
#include <stdio.h>

/* Text from outside: a character that does not print is written as \ooo, a backslash as it is. */
void show_text(FILE *out, const char *text);

/* "-rw-r--r--": type and permissions of st_mode; buf holds 11 bytes. */
void show_mode(mode_t mode, char buf[11]);

/* "loop - pid = 5120 pgrp = 5120 ppid = 5026", without newline. */
void show_process(FILE *out, const struct stasis_proc_info *p);

/*
 * "fd 3 -rw-r--r-- root Apr 11 16:39:17 1990 6872/0 /etc/ttys", without newline. The numbers are
 * size and offset in bytes, or for a device its major and minor number.
 */
void show_fd(FILE *out, const struct stasis_fd_info *f);

/* One process and its descriptors, a line each; the same for a whole tree. */
void show_process_fds(FILE *out, const struct stasis_proc_info *p);
void show_tree(FILE *out, const struct stasis_tree_info *info);

/*
 * What keeps a process from being checkpointed, one line each after `prefix`: the process itself,
 * "name(pid): text", and one descriptor, "name(pid) fd 7: socket: text". Both return the number of
 * lines; nothing is printed without an obstacle.
 */
size_t show_process_obstacles(FILE *out, const char *prefix, const struct stasis_proc_info *p);
size_t show_fd_obstacle(FILE *out, const char *prefix, const struct stasis_proc_info *p,
			const struct stasis_fd_info *f);

#endif
