/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_INTERVAL_H
#define PLUGIN_INTERVAL_H

#include <stdbool.h>

/* Whether text is a time as --checkpoint takes it: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s, or -1,
 * INFINITE, UNLIMITED for never. */
bool interval_is_valid(const char *text);

#endif
