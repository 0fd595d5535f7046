/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of a message: one line "key=value" for each field. Whoever sent it is not trusted. */
#include "wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 24 };

static bool is_key(const char *key, size_t len)
{
	if (!len || len > MAX_KEY)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((key[i] < 'a' || key[i] > 'z') && key[i] != '_')
			return false;
	return true;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

int wire_put(struct wire_msg *m, const char *key, const char *value, struct stasis_error *err)
{
	int n;

	if (has_control(value))
		return stasis_fail(err, STASIS_E_USAGE, "%s contains a control character", key);
	n = snprintf(m->text + m->len, sizeof(m->text) - m->len, "%s=%s\n", key, value);
	if (n < 0 || (size_t)n >= sizeof(m->text) - m->len) {
		m->text[m->len] = '\0';
		return stasis_fail(err, STASIS_E_USAGE, "%s is too long for a message", key);
	}
	m->len += (size_t)n;
	return 0;
}

int wire_put_number(struct wire_msg *m, const char *key, uint64_t value, struct stasis_error *err)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return wire_put(m, key, text, err);
}

static int parse_line(struct wire_msg *m, char *line, struct stasis_error *err)
{
	char *equals = strchr(line, '=');

	if (!equals || !is_key(line, (size_t)(equals - line)))
		return stasis_fail(err, STASIS_E_CORRUPT, "message has a line without a key");
	*equals = '\0';
	if (has_control(equals + 1))
		return stasis_fail(err, STASIS_E_CORRUPT, "message has a control character in '%s'",
				   line);
	if (wire_get(m, line) || m->nr_fields == WIRE_MAX_FIELDS)
		return stasis_fail(err, STASIS_E_CORRUPT, "message has '%s' twice, or too many fields",
				   line);
	m->keys[m->nr_fields] = line;
	m->values[m->nr_fields++] = equals + 1;
	return 0;
}

int wire_parse(struct wire_msg *m, struct stasis_error *err)
{
	char *line = m->text, *end;

	m->nr_fields = 0;
	if (m->len > WIRE_MAX_TEXT || memchr(m->text, '\0', m->len) ||
	    (m->len && m->text[m->len - 1] != '\n'))
		return stasis_fail(err, STASIS_E_CORRUPT, "message of %zu bytes is not text lines",
				   m->len);
	m->text[m->len] = '\0';
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		if (parse_line(m, line, err) < 0)
			return -1;
	}
	return 0;
}

const char *wire_get(const struct wire_msg *m, const char *key)
{
	for (size_t i = 0; i < m->nr_fields; i++)
		if (strcmp(m->keys[i], key) == 0)
			return m->values[i];
	return NULL;
}

int wire_get_number(const struct wire_msg *m, const char *key, uint64_t max, uint64_t missing,
		    uint64_t *ret, struct stasis_error *err)
{
	const char *text = wire_get(m, key);
	unsigned long long n;
	char *end;

	if (!text) {
		*ret = missing;
		return 0;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n > max)
		return stasis_fail(err, STASIS_E_CORRUPT, "'%s' is not a number up to %llu", key,
				   (unsigned long long)max);
	*ret = n;
	return 0;
}
