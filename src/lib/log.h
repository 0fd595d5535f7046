/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stasis/stasis.h>

/* Where messages go: the options of each operation carry one; fn may be NULL (silence). */
struct log_sink {
	stasis_log_fn fn;
	void *arg;
	enum stasis_log_level max_level; /* messages above it are not formatted */
};

void log_write(const struct log_sink *sink, enum stasis_log_level level, const char *fmt, ...)
	__attribute__((__format__(__printf__, 3, 4)));

#endif
