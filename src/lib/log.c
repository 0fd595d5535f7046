/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats a message only when somebody listens at its level. */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 1024 };

void log_write(const struct log_sink *sink, enum stasis_log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	if (!sink->fn || level > sink->max_level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap); /* a cut line is better than none */
	va_end(ap);
	sink->fn(sink->arg, level, line);
}
