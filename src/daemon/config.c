/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis.yaml: the only place that knows its keys, their defaults and their bounds. */
#include "daemon/config.h"

#include "lib/scoped.h"
#include "wire/events.h"
#include "wire/wire.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

enum key_type { KEY_TEXT, KEY_PATH, KEY_NUMBER, KEY_EVENTS };

/* clang-format off */
static const struct key {
	const char *name;
	enum key_type type;
	size_t offset, size; /* of the field */
	unsigned min, max;
} keys[] = {
#define TEXT(name, field) {name, KEY_TEXT, offsetof(struct config, field), sizeof(((struct config *)0)->field), 0, 0}
#define FILE_PATH(name, field) {name, KEY_PATH, offsetof(struct config, field), sizeof(((struct config *)0)->field), 0, 0}
#define NUMBER(name, field, min, max) {name, KEY_NUMBER, offsetof(struct config, field), sizeof(unsigned), min, max}
#define EVENTS(name, field) {name, KEY_EVENTS, offsetof(struct config, field), sizeof(unsigned), 0, 0}
	TEXT("node", node),
	FILE_PATH("socket", socket),
	NUMBER("port", port, 0, 65535),
	FILE_PATH("run", run),
	FILE_PATH("journal", journal),
	FILE_PATH("directory", directory),
	NUMBER("keep", keep, 1, 1000),
	NUMBER("max-keep", max_keep, 1, 1000),
	NUMBER("restarts", restarts, 1, 1000),
	NUMBER("max-wait", max_wait_s, 1, 65535),
	NUMBER("min-interval", min_interval_s, 1, 1000000),
	EVENTS("checkpoint-on", checkpoint_on),
	EVENTS("checkpoint-on-allowed", checkpoint_on_allowed),
	NUMBER("watch", watch_s, 1, 3600),
	NUMBER("limit-margin", limit_margin_s, 1, 86400),
	NUMBER("tree-width", tree_width, 2, 512),
	NUMBER("operations", operations, 1, 1024),
};
/* clang-format on */

static void set_defaults(struct config *c)
{
	*c = (struct config){
		.socket = WIRE_DEFAULT_SOCKET,
		.port = WIRE_DEFAULT_PORT,
		.run = "/run/stasis",
		.journal = "/var/log/stasis.journal",
		.keep = 2,
		.max_keep = 10,
		.restarts = 3,
		.max_wait_s = 300,
		.min_interval_s = 60,
		.checkpoint_on_allowed = EVENTS_ALL,
		.watch_s = 15,
		.limit_margin_s = 60,
		.tree_width = 16,
		.operations = 64,
	};
	(void)gethostname(c->node, sizeof(c->node) - 1);
	c->node[strcspn(c->node, ".")] = '\0';
}

static int set_number(const struct key *k, const char *value, void *field, struct stasis_error *err)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end || errno || n < k->min || n > k->max)
		return stasis_fail(err, STASIS_E_USAGE, "%s: '%s' is not a number from %u to %u",
				   k->name, value, k->min, k->max);
	*(unsigned *)field = (unsigned)n;
	return 0;
}

static int set_key(struct config *c, const char *name, const char *value, struct stasis_error *err)
{
	const struct key *k = NULL;
	char *field;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].name, name) == 0)
			k = &keys[i];
	if (!k)
		return stasis_fail(err, STASIS_E_USAGE, "unknown key '%s'", name);
	field = (char *)c + k->offset;
	if (k->type == KEY_NUMBER)
		return set_number(k, value, field, err);
	if (k->type == KEY_EVENTS && !events_parse(value, (unsigned *)(void *)field))
		return stasis_fail(err, STASIS_E_USAGE,
				   "%s: '%s' is not 'none' or a list of preempt, limit, drain", name, value);
	if (k->type == KEY_EVENTS)
		return 0;
	if (k->type == KEY_PATH && *value && *value != '/')
		return stasis_fail(err, STASIS_E_USAGE, "%s: '%s' is not an absolute path", name,
				   value);
	if (strlen(value) >= k->size)
		return stasis_fail(err, STASIS_E_USAGE, "%s: more than %zu bytes", name,
				   k->size - 1);
	(void)strcpy(field, value); /* fits, see above */
	return 0;
}

static void parser_done(yaml_parser_t *p)
{
	yaml_parser_delete(p);
}

/* One top-level mapping of scalars. */
static int take_event(struct config *c, const yaml_event_t *e, char *name, size_t name_size,
		      bool *has_name, struct stasis_error *err)
{
	const char *text;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		text = (const char *)e->data.scalar.value;
		if (*has_name) {
			*has_name = false;
			return set_key(c, name, text, err);
		}
		*has_name = true;
		(void)snprintf(name, name_size, "%s", text);
		return 0;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_ALIAS_EVENT:
		return stasis_fail(err, STASIS_E_USAGE, "'key: value' is expected");
	case YAML_MAPPING_START_EVENT:
		if (*has_name)
			return stasis_fail(err, STASIS_E_USAGE, "%s: a single value is expected", name);
		return 0;
	default:
		return 0;
	}
}

static int parse(FILE *f, struct config *c, struct stasis_error *err)
{
	scoped(parser_done) yaml_parser_t parser;
	bool has_name = false, is_done = false;
	char name[64];

	if (!yaml_parser_initialize(&parser)) {
		memset(&parser, 0, sizeof(parser));
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the parser");
	}
	yaml_parser_set_input_file(&parser, f);
	while (!is_done) {
		yaml_event_t e;
		int rc;

		if (!yaml_parser_parse(&parser, &e))
			return stasis_fail(err, STASIS_E_USAGE, "line %zu: %s",
					   parser.problem_mark.line + 1, parser.problem);
		is_done = e.type == YAML_STREAM_END_EVENT;
		rc = take_event(c, &e, name, sizeof(name), &has_name, err);
		if (rc < 0)
			(void)stasis_fail_prefix(err, "line %zu", e.start_mark.line + 1);
		yaml_event_delete(&e);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int config_read(const char *path, bool must_exist, struct config *ret, struct stasis_error *err)
{
	scoped_file FILE *f = fopen(path, "re");
	struct config c;

	set_defaults(&c);
	if (!f && (must_exist || errno != ENOENT))
		return stasis_fail_errno(err, STASIS_E_IO, "'%s'", path);
	if (f && parse(f, &c, err) < 0)
		return stasis_fail_prefix(err, "'%s'", path);
	*ret = c;
	return 0;
}
