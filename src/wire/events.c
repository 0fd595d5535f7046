/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The spelling of --checkpoint-on, for the plugin, the daemon and its configuration. */
#include "wire/events.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char *const names[] = {"preempt", "limit", "drain"}; /* by bit */

static unsigned event_of(const char *name, size_t len)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
			return 1u << i;
	return 0;
}

bool events_parse(const char *text, unsigned *ret)
{
	unsigned all = 0;

	if (strcasecmp(text, "none") == 0) {
		*ret = 0;
		return true;
	}
	for (;;) {
		size_t len = strcspn(text, ",");
		unsigned one = event_of(text, len);

		if (!one)
			return false;
		all |= one;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret = all;
	return true;
}
