/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spellings of a time in Slurm's options. */
#include "plugin/interval.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { MAX_DIGITS = 6 };

/* 1 to 6 digits; what is behind them, or NULL. */
static const char *skip_number(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n && n <= MAX_DIGITS ? text + n : NULL;
}

bool interval_is_valid(const char *text)
{
	const char *p;
	int nr_colons = 0;

	if (!strcmp(text, "-1") || !strcasecmp(text, "INFINITE") || !strcasecmp(text, "UNLIMITED"))
		return true;
	p = skip_number(text);
	if (p && *p == '-')
		p = skip_number(p + 1);
	while (p && *p == ':' && nr_colons++ < 2)
		p = skip_number(p + 1);
	return p && !*p;
}
