/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis.yaml: the only place that knows its keys, their defaults and their bounds. */
#include "daemon/config.h"

#include "lib/scoped.h"
#include "wire/events.h"
#include "wire/wire.h"

#include <fnmatch.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

enum key_type { KEY_TEXT, KEY_PATH, KEY_NUMBER, KEY_PERIOD, KEY_EVENTS };

/* clang-format off */
static const struct key {
	const char *name;
	enum key_type type;
	size_t offset, size; /* of the field */
	unsigned min, max;
	bool of_job; /* a policy may have it */
} keys[] = {
#define FIELD(field) offsetof(struct config, field), sizeof(((struct config *)0)->field)
#define TEXT(name, field) {name, KEY_TEXT, FIELD(field), 0, 0, false}
#define FILE_PATH(name, field) {name, KEY_PATH, FIELD(field), 0, 0, false}
#define NUMBER(name, field, min, max) {name, KEY_NUMBER, FIELD(field), min, max, false}
#define JOB_NUMBER(name, field, min, max) {name, KEY_NUMBER, FIELD(field), min, max, true}
	TEXT("node", node),
	FILE_PATH("socket", socket),
	NUMBER("port", port, 0, 65535),
	FILE_PATH("run", run),
	FILE_PATH("journal", journal),
	{"directory", KEY_PATH, FIELD(directory), 0, 0, true},
	JOB_NUMBER("keep", keep, 1, 1000),
	JOB_NUMBER("max-keep", max_keep, 1, 1000),
	JOB_NUMBER("restarts", restarts, 1, 1000),
	JOB_NUMBER("max-wait", max_wait_s, 1, 65535),
	JOB_NUMBER("interval", interval_s, 0, 31536000),
	JOB_NUMBER("min-interval", min_interval_s, 1, 1000000),
	JOB_NUMBER("first-delay", first_delay_s, 0, 31536000),
	JOB_NUMBER("spread", spread, 0, 100),
	{"checkpoint-on", KEY_EVENTS, FIELD(checkpoint_on), 0, 0, true},
	{"checkpoint-on-allowed", KEY_EVENTS, FIELD(checkpoint_on_allowed), 0, 0, true},
	NUMBER("watch", watch_s, 1, 3600),
	JOB_NUMBER("limit-margin", limit_margin_s, 1, 86400),
	NUMBER("tree-width", tree_width, 2, 512),
	NUMBER("operations", operations, 1, 1024),
	{"clean-after", KEY_PERIOD, FIELD(clean_after_s), 0, 31536000, true},
};

/* What a policy goes by. */
static const struct trait {
	const char *name;
	size_t offset, size; /* of the field in struct job_traits */
} traits[] = {
#define TRAIT(field) {#field, offsetof(struct job_traits, field), sizeof(((struct job_traits *)0)->field)}
	TRAIT(partition),
	TRAIT(qos),
	TRAIT(account),
};
/* clang-format on */

enum { NR_KEYS = sizeof(keys) / sizeof(keys[0]), NR_TRAITS = sizeof(traits) / sizeof(traits[0]) };

struct policy {
	struct policy *next;
	char *wanted[NR_TRAITS]; /* list of patterns, NULL: any */
	char *values[NR_KEYS];	 /* NULL: as it is */
};

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
		.spread = 20,
		.checkpoint_on_allowed = EVENTS_ALL,
		.watch_s = 15,
		.limit_margin_s = 60,
		.tree_width = 16,
		.operations = 64,
		.clean_after_s = CONFIG_NEVER,
	};
	(void)gethostname(c->node, sizeof(c->node) - 1);
	c->node[strcspn(c->node, ".")] = '\0';
}

/* ---- values ---- */

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

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < NR_KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int set_text(const struct key *k, const char *value, char *field, struct stasis_error *err)
{
	if (k->type == KEY_PATH && *value && *value != '/')
		return stasis_fail(err, STASIS_E_USAGE, "%s: '%s' is not an absolute path", k->name,
				   value);
	if (strlen(value) >= k->size)
		return stasis_fail(err, STASIS_E_USAGE, "%s: more than %zu bytes", k->name,
				   k->size - 1);
	(void)strcpy(field, value); /* fits, see above */
	return 0;
}

static int set_value(struct config *c, const struct key *k, const char *value, struct stasis_error *err)
{
	void *field = (char *)c + k->offset;

	switch (k->type) {
	case KEY_PERIOD:
		if (strcmp(value, "never") == 0) {
			*(unsigned *)field = CONFIG_NEVER;
			return 0;
		}
		return set_number(k, value, field, err);
	case KEY_NUMBER:
		return set_number(k, value, field, err);
	case KEY_EVENTS:
		if (events_parse(value, field))
			return 0;
		return stasis_fail(err, STASIS_E_USAGE,
				   "%s: '%s' is not 'none' or a list of preempt, limit, drain", k->name, value);
	default:
		return set_text(k, value, field, err);
	}
}

/* ---- policies ---- */

static void policies_done(struct policy *p)
{
	while (p) {
		struct policy *next = p->next;

		for (size_t i = 0; i < NR_TRAITS; i++)
			free(p->wanted[i]);
		for (size_t i = 0; i < NR_KEYS; i++)
			free(p->values[i]);
		free(p);
		p = next;
	}
}

void config_done(struct config *c)
{
	policies_done(c->policies);
	c->policies = NULL;
}

static bool is_in_list(const char *list, const char *name)
{
	char pattern[64];

	while (*list) {
		size_t len = strcspn(list, ",");

		(void)snprintf(pattern, sizeof(pattern), "%.*s", (int)len, list);
		if (fnmatch(pattern, name, 0) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

static bool fits(const struct policy *p, const struct job_traits *t)
{
	for (size_t i = 0; i < NR_TRAITS; i++)
		if (p->wanted[i] && !is_in_list(p->wanted[i], (const char *)t + traits[i].offset))
			return false;
	return true;
}

static void apply(const struct policy *p, struct config *c)
{
	for (size_t i = 0; i < NR_KEYS; i++)
		if (p->values[i])
			(void)set_value(c, &keys[i], p->values[i], NULL); /* has been tried */
}

void config_for_job(const struct config *c, const struct job_traits *t, struct config *ret)
{
	*ret = *c;
	for (const struct policy *p = c->policies; p; p = p->next)
		if (fits(p, t))
			apply(p, ret);
}

/* ---- the file ---- */

/* A document and where a mistake in it is. */
struct file {
	yaml_document_t doc;
	size_t line;
};

static void file_done(struct file *f)
{
	yaml_document_delete(&f->doc);
}

static const char *scalar_of(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* Calls take() for each pair of a mapping. */
static int each_pair(struct file *f, const yaml_node_t *map,
		     int (*take)(struct file *f, void *arg, const char *key, const yaml_node_t *value,
				 struct stasis_error *err),
		     void *arg, struct stasis_error *err)
{
	if (map->type != YAML_MAPPING_NODE) {
		f->line = map->start_mark.line + 1;
		return stasis_fail(err, STASIS_E_USAGE, "'key: value' is expected");
	}
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(&f->doc, p->key);

		f->line = key->start_mark.line + 1;
		if (!scalar_of(key))
			return stasis_fail(err, STASIS_E_USAGE, "'key: value' is expected");
		if (take(f, arg, scalar_of(key), yaml_document_get_node(&f->doc, p->value), err) < 0)
			return -1;
	}
	return 0;
}

static const char *expect_scalar(const char *key, const yaml_node_t *value, struct stasis_error *err)
{
	if (!scalar_of(value))
		(void)stasis_fail(err, STASIS_E_USAGE, "%s: a single value is expected", key);
	return scalar_of(value);
}

static int keep_text(char **field, const char *value, struct stasis_error *err)
{
	free(*field);
	*field = strdup(value);
	return *field ? 0 : stasis_fail(err, STASIS_E_NOMEM, "no memory for a policy");
}

/* What is to be tried, and where it is kept. */
struct policy_draft {
	struct config scratch;
	struct policy *policy;
};

static int take_of_policy(struct file *f, void *arg, const char *key, const yaml_node_t *value,
			  struct stasis_error *err)
{
	struct policy_draft *d = arg;
	const struct key *k = find_key(key);
	const char *text = expect_scalar(key, value, err);

	(void)f;
	if (!text)
		return -1;
	for (size_t i = 0; i < NR_TRAITS; i++)
		if (strcmp(traits[i].name, key) == 0)
			return keep_text(&d->policy->wanted[i], text, err);
	if (!k)
		return stasis_fail(err, STASIS_E_USAGE, "unknown key '%s'", key);
	if (!k->of_job)
		return stasis_fail(err, STASIS_E_USAGE, "%s: is one for all jobs, no part of a policy", key);
	if (set_value(&d->scratch, k, text, err) < 0)
		return -1;
	return keep_text(&d->policy->values[k - keys], text, err);
}

static int take_policies(struct file *f, struct config *c, const yaml_node_t *list, struct stasis_error *err)
{
	struct policy_draft d = {.scratch = *c};
	struct policy **end = &c->policies;

	if (scalar_of(list) && !*scalar_of(list))
		return 0;
	if (list->type != YAML_SEQUENCE_NODE)
		return stasis_fail(err, STASIS_E_USAGE, "policies: a list ('- key: value') is expected");
	while (*end)
		end = &(*end)->next;
	for (const yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
		d.policy = *end = calloc(1, sizeof(**end));
		if (!d.policy)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for a policy");
		end = &d.policy->next;
		if (each_pair(f, yaml_document_get_node(&f->doc, *i), take_of_policy, &d, err) < 0)
			return -1;
	}
	return 0;
}

static int take_key(struct file *f, void *arg, const char *key, const yaml_node_t *value,
		    struct stasis_error *err)
{
	struct config *c = arg;
	const struct key *k = find_key(key);
	const char *text;

	if (strcmp(key, "policies") == 0)
		return take_policies(f, c, value, err);
	text = expect_scalar(key, value, err);
	if (!text)
		return -1;
	if (!k)
		return stasis_fail(err, STASIS_E_USAGE, "unknown key '%s'", key);
	return set_value(c, k, text, err);
}

static void parser_done(yaml_parser_t *p)
{
	yaml_parser_delete(p);
}

static int parse(FILE *in, struct config *c, struct stasis_error *err)
{
	scoped(parser_done) yaml_parser_t parser;
	scoped(file_done) struct file f = {.line = 1};
	const yaml_node_t *root;

	if (!yaml_parser_initialize(&parser)) {
		memset(&parser, 0, sizeof(parser));
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for the parser");
	}
	yaml_parser_set_input_file(&parser, in);
	if (!yaml_parser_load(&parser, &f.doc)) {
		memset(&f.doc, 0, sizeof(f.doc));
		return stasis_fail(err, STASIS_E_USAGE, "line %zu: %s", parser.problem_mark.line + 1,
				   parser.problem);
	}
	root = yaml_document_get_root_node(&f.doc);
	if (root && each_pair(&f, root, take_key, c, err) < 0)
		return stasis_fail_prefix(err, "line %zu", f.line);
	return 0;
}

static void find_scan_period(struct config *c)
{
	c->scan_s = c->watch_s < c->min_interval_s ? c->watch_s : c->min_interval_s;
	for (const struct policy *p = c->policies; p; p = p->next) {
		struct config each = *c;

		apply(p, &each);
		if (each.min_interval_s < c->scan_s)
			c->scan_s = each.min_interval_s;
	}
}

int config_read(const char *path, bool must_exist, struct config *ret, struct stasis_error *err)
{
	scoped_file FILE *f = fopen(path, "re");
	struct config c;

	set_defaults(&c);
	if (!f && (must_exist || errno != ENOENT))
		return stasis_fail_errno(err, STASIS_E_IO, "'%s'", path);
	if (f && parse(f, &c, err) < 0) {
		config_done(&c);
		return stasis_fail_prefix(err, "'%s'", path);
	}
	memcpy(c.look_in, c.directory, sizeof(c.look_in));
	find_scan_period(&c);
	*ret = c;
	return 0;
}
