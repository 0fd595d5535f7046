/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scheckpoint: `scontrol checkpoint` word for word, as it was up to Slurm 19.05, with its abbreviations and
 * messages; and what one wished it had: waiting for the outcome.
 */
#include "api/client.h"
#include "cmds/common.h"
#include "lib/scoped.h"
#include "wire/codes.h"

#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	DEFAULT_MAX_WAIT_S = 10,
	WAIT_DEFAULT_S = 300, /* with --wait: long enough for a large job */
	ANSWER_MS = 60000,
	ANSWER_GRACE_MS = 30000,
	OPT_WAIT = 256,
	OPT_JSON,
	OPT_VERSION,
};

static const char help[] =
	"Usage: scheckpoint [OPTION]... OPERATION JOB[_TASK][.STEP] [MaxWait=SECONDS] [ImageDir=DIR] [StickToNodes]\n"
	"What 'scontrol checkpoint' did up to Slurm 19.05.\n"
	"\n"
	"Operations (may be abbreviated, in any case):\n"
	"  able      can it be checkpointed now; since when is one in progress\n"
	"  create    checkpoint, and let it run on\n"
	"  disable   forbid checkpoints; enable takes that back\n"
	"  enable    allow them again\n"
	"  error     code and message of the last operation\n"
	"  list      the last checkpoint: when, how large, where\n"
	"  requeue   checkpoint the batch job, end it, and put it into the queue again\n"
	"  restart   let a vacated batch job run again, from its checkpoint\n"
	"  vacate    checkpoint, then end it; a batch job waits, held, for restart\n"
	"\n"
	"  -Q, --quiet    no messages about errors\n"
	"      --wait     wait for the outcome of create, vacate and requeue\n"
	"      --json     answer as one JSON object\n"
	"  -h, --help     print this and end\n"
	"      --version  print the version and end\n";

static const struct option long_options[] = {
	{"quiet", no_argument, NULL, 'Q'},	 {"wait", no_argument, NULL, OPT_WAIT},
	{"json", no_argument, NULL, OPT_JSON},	 {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION}, {NULL, 0, NULL, 0},
};

struct options {
	bool is_quiet, is_waiting, is_json;
	const char *op;
	uint32_t job;
	char name[32]; /* "ARRAY_TASK" or "JOB+COMPONENT"; "" with a number alone */
	uint32_t step;
	uint16_t max_wait_s; /* 0: not said */
	const char *image_dir;
	bool is_sticking;
};

/* ---- words ---- */

/* clang-format off */
static const struct {
	const char *name;
	size_t min; /* letters that tell it from others */
	bool has_wait, has_stick, has_dir;
} operations[] = {
	{"able", 1, false, false, false},	{"complete", 2, false, false, false},
	{"disable", 1, false, false, false},	{"enable", 1, false, false, false},
	{"create", 2, true, false, true},	{"vacate", 1, true, false, true},
	{"requeue", 2, true, false, true},	{"restart", 3, false, true, true},
	{"error", 2, false, false, false},	{"list", 1, false, false, false},
};
/* clang-format on */

static const char *find_operation(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (len >= operations[i].min && len <= strlen(operations[i].name) &&
		    strncasecmp(word, operations[i].name, len) == 0)
			return operations[i].name;
	return NULL;
}

static bool takes(const char *op, char what)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (strcmp(op, operations[i].name) == 0)
			return what == 'w' ? operations[i].has_wait
			       : what == 's' ? operations[i].has_stick : operations[i].has_dir;
	return false;
}

/* "J" or "J.S" and nothing behind it; J also as squeue has it, "J_T" or "J+C". */
static bool parse_id(const char *text, struct options *o)
{
	unsigned long step, job;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	o->step = STEP_NO_VAL;
	job = strtoul(text, &end, 10);
	o->job = (uint32_t)job;
	if ((*end == '_' || *end == '+') && isdigit((unsigned char)end[1])) {
		(void)strtoul(end + 1, &end, 10);
		if ((size_t)(end - text) >= sizeof(o->name))
			return false;
		(void)snprintf(o->name, sizeof(o->name), "%.*s", (int)(end - text), text);
	}
	if (*end == '.' && isdigit((unsigned char)end[1])) {
		step = strtoul(end + 1, &end, 10);
		o->step = (uint32_t)step;
		if (step > STEP_BATCH_SCRIPT)
			return false;
	}
	return !*end && job <= UINT32_MAX;
}

static bool parse_option(const char *word, struct options *o)
{
	size_t len = strlen(word);
	int seconds;

	if (takes(o->op, 'w') && strncasecmp(word, "MaxWait=", 8) == 0) {
		if (!cmd_parse_int(word + 8, &seconds) || seconds > UINT16_MAX)
			return false;
		o->max_wait_s = (uint16_t)seconds;
		return true;
	}
	if (takes(o->op, 'd') && strncasecmp(word, "ImageDir=", 9) == 0) {
		o->image_dir = word + 9;
		return true;
	}
	if (takes(o->op, 's') && len >= 5 && strncasecmp(word, "StickToNodes", len) == 0) {
		o->is_sticking = true;
		return true;
	}
	return false;
}

static int complain_number(int nr_words)
{
	fprintf(stderr, "too %s arguments for keyword:checkpoint\n", nr_words < 2 ? "few" : "many");
	return 1;
}

/* -1 to go on, else the exit status. */
static int parse_words(int nr, char **words, struct options *o)
{
	if (nr < 2 || nr > 4)
		return complain_number(nr);
	o->op = find_operation(words[0]);
	if (!o->op) {
		fprintf(stderr, "Invalid checkpoint operation: %s\n", words[0]);
		return 1; /* scontrol ended with 0 here */
	}
	if (!parse_id(words[1], o)) {
		fprintf(stderr, "Invalid job step name\n");
		return 1; /* and here */
	}
	for (int i = 2; i < nr; i++) {
		if (parse_option(words[i], o))
			continue;
		fprintf(stderr, "scontrol: error: Invalid input: %s\n", words[i]);
		fprintf(stderr, "scontrol: error: Request aborted\n");
		return 1;
	}
	return -1;
}

/* ---- answers ---- */

static const struct {
	int code;
	const char *text;
} texts[] = {
	{CODE_UNEXPECTED_MSG, "Unexpected message received"},
	{CODE_ACCESS_DENIED, "Access/permission denied"},
	{CODE_INVALID_JOB_ID, "Invalid job id specified"},
	{CODE_ALREADY_DONE, "Job/step already completing or completed"},
	{CODE_JOB_PENDING, "Job is pending execution"},
	{CODE_NOT_SUPPORTED, "Requested operation not supported on this system"},
	{CODE_DISABLED, "Requested operation is presently disabled"},
	{CODE_JOB_SUSPENDED, "Job is current suspended, requested operation disabled"},
	{CODE_JOB_NOT_FINISHED, "Job is not finished"},
	{CODE_NOT_RUNNING, "Job step not running"},
};

static const char *text_of(int code)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].code == code)
			return texts[i].text;
	return strerror(code);
}

static void format_time(uint64_t when, char *ret, size_t size)
{
	const char *format = getenv("SLURM_TIME_FORMAT");
	time_t t = (time_t)when;
	struct tm tm;

	if (!format || strcmp(format, "standard") == 0 || strcmp(format, "relative") == 0)
		format = "%Y-%m-%dT%H:%M:%S";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the user's own, as in Slurm */
	if (!when || !strftime(ret, size, format, localtime_r(&t, &tm)))
		(void)snprintf(ret, size, "Unknown");
#pragma GCC diagnostic pop
}

static uint64_t number_in(const struct wire_msg *m, const char *key)
{
	uint64_t n;

	return wire_get_number(m, key, UINT64_MAX, 0, &n, NULL) < 0 ? 0 : n;
}

static int print_json(const struct options *o, int code, const struct wire_msg *m, const char *why)
{
	const char *message = wire_get(m, "message");
	json_t *j = json_pack("{s:s, s:I, s:i}", "operation", o->op, "job", (json_int_t)o->job, "rc",
			      code);

	if (!j)
		return 1;
	if (!step_is_job(o->step))
		(void)json_object_set_new(j, "step", json_integer(o->step));
	if (strcmp(o->op, "able") == 0 && code == 0)
		(void)json_object_set_new(j, "begin", json_integer((json_int_t)number_in(m, "start")));
	if (strcmp(o->op, "error") == 0 && code == 0)
		(void)json_object_set_new(j, "error_code", json_integer((json_int_t)number_in(m, "code")));
	if (strcmp(o->op, "list") == 0 && code == 0) {
		(void)json_object_set_new(j, "time", json_integer((json_int_t)number_in(m, "saved")));
		(void)json_object_set_new(j, "bytes", json_integer((json_int_t)number_in(m, "bytes")));
		(void)json_object_set_new(j, "tasks", json_integer((json_int_t)number_in(m, "tasks")));
		(void)json_object_set_new(j, "folder", json_string(wire_get(m, "folder")));
	}
	if (why || message)
		(void)json_object_set_new(j, "message", json_string(why ? why : message));
	(void)json_dumpf(j, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(j);
	return code ? 1 : 0;
}

static int print_answer(const struct options *o, int code, const struct wire_msg *m)
{
	const char *message = wire_get(m, "message");
	char when[64];

	if (strcmp(o->op, "able") == 0 && code == CODE_DISABLED) {
		puts("No");
		return 0;
	}
	if (code) {
		if (!o->is_quiet && message)
			fprintf(stderr, "scheckpoint: %s\n", message);
		if (!o->is_quiet)
			fprintf(stderr, "scontrol_checkpoint error: %s\n", text_of(code));
		return 1;
	}
	if (strcmp(o->op, "list") == 0) {
		format_time(number_in(m, "saved"), when, sizeof(when));
		printf("%s  %llu bytes  %llu tasks  %s\n", when,
		       (unsigned long long)number_in(m, "bytes"),
		       (unsigned long long)number_in(m, "tasks"),
		       wire_get(m, "folder") ? wire_get(m, "folder") : "");
	}
	if (strcmp(o->op, "error") == 0)
		printf("error(%u): %s\n", (unsigned)number_in(m, "code"), message ? message : "");
	if (strcmp(o->op, "able") == 0 && number_in(m, "start")) {
		format_time(number_in(m, "start"), when, sizeof(when));
		printf("Began at %s\n", when);
	} else if (strcmp(o->op, "able") == 0) {
		puts("Yes");
	}
	return 0;
}

/* ---- request ---- */

static int put_request(const struct options *o, struct wire_msg *m, unsigned max_wait,
		       struct stasis_error *err)
{
	static unsigned nr_completes;

	if (wire_put(m, "op", o->op, err) < 0 || wire_put_number(m, "step", o->step, err) < 0)
		return -1;
	if (takes(o->op, 'w') && (wire_put_number(m, "max_wait", max_wait, err) < 0 ||
				  wire_put_number(m, "wait", o->is_waiting, err) < 0))
		return -1;
	if (o->image_dir && wire_put(m, "image_dir", o->image_dir, err) < 0)
		return -1;
	if (o->is_sticking && wire_put_number(m, "stick", 1, err) < 0)
		return -1;
	if (strcmp(o->op, "complete") != 0)
		return 0;
	/* scontrol's test operation */
	if (wire_put_number(m, "code", ++nr_completes, err) < 0)
		return -1;
	return wire_put(m, "message", "test error message 1", err);
}

static int ask(struct options *o, struct wire_msg *m, unsigned max_wait, struct wire_msg *ret, struct stasis_error *err)
{
	int code = *o->name ? client_find_job(o->name, &o->job, err) : 0;

	if (code)
		return code;
	return client_ask(o->job, m, o->is_waiting ? (int)max_wait * 1000 + ANSWER_GRACE_MS : ANSWER_MS, ret, err);
}

static int run(struct options *o)
{
	unsigned max_wait = o->max_wait_s ? o->max_wait_s
			    : o->is_waiting ? WAIT_DEFAULT_S : DEFAULT_MAX_WAIT_S;
	scoped_free struct wire_msg *m = calloc(2, sizeof(*m));
	struct stasis_error err = {.cls = STASIS_E_OK};
	int code;

	if (!m)
		return 1;
	if (put_request(o, &m[0], max_wait, &err) < 0)
		return cmd_report(&err);
	code = ask(o, &m[0], max_wait, &m[1], &err);
	if (o->is_json)
		return print_json(o, code, &m[1], code < 0 ? err.text : code ? text_of(code) : NULL);
	if (code >= 0)
		return print_answer(o, code, &m[1]);
	if (!o->is_quiet)
		cmd_message("%s", err.text);
	return 1;
}

int main(int argc, char **argv)
{
	struct options o = {.is_quiet = false};
	int opt, status;

	cmd_init(argv);
	while ((opt = getopt_long(argc, argv, "Qh", long_options, NULL)) >= 0) {
		switch (opt) {
		case 'Q':
			o.is_quiet = true;
			break;
		case OPT_WAIT:
			o.is_waiting = true;
			break;
		case OPT_JSON:
			o.is_json = true;
			break;
		case 'h':
			return cmd_help(help);
		case OPT_VERSION:
			return cmd_version();
		default:
			return cmd_try_help();
		}
	}
	status = parse_words(argc - optind, argv + optind, &o);
	return cmd_finish(status >= 0 ? status : run(&o));
}
