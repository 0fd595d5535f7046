/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of operations: whole lines, appended with one write(), so that many processes may. */
#include "daemon/journal.h"

#include "lib/scoped.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

void journal(const struct config *c, const char *fmt, ...)
{
	scoped_fd int fd = -1;
	time_t now = time(NULL);
	char line[2048];
	struct tm tm;
	size_t len;
	va_list ap;
	int n;

	len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S ", localtime_r(&now, &tm));
	len += (size_t)snprintf(line + len, sizeof(line) - len, "%s ", c->node);
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	len += n < 0 ? 0 : (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	line[len++] = '\n';
	fd = *c->journal ? open(c->journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (write(fd >= 0 ? fd : STDERR_FILENO, line, len) < 0)
		return; /* nowhere left to say it */
}
