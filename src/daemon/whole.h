/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_WHOLE_H
#define DAEMON_WHOLE_H

#include <stdbool.h>

/*
 * Whether the checkpoint `name` in the folder has images, and each of them is whole as far as its tables tell.
 * They are read by a process that has given up all rights but those of the user whose file rights we have.
 */
bool whole_check(int folder_fd, const char *name);

#endif
