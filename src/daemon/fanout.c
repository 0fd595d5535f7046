/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The asking side of a round: branches, what is told to them, and how their answers are added up. */
#include "daemon/fanout.h"

#include "lib/scoped.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

enum {
	CONNECT_MS = 10000,
	SEND_MS = 10000,
	MAX_BELOW = 8 * 1024, /* bytes of names in a message; the rest of it is for paths */
	HOP_SHARE = 16,	      /* this part of the time left is the level's own, */
	HOP_MAX_MS = 2000,    /* but not more */
};

/* ---- reports ---- */

static const struct figure {
	const char *key;
	size_t offset;
	bool is_sum; /* else the longest counts */
} figures[] = {
	{"bytes", offsetof(struct report, bytes), true},
	{"tasks", offsetof(struct report, tasks), true},
	{"stopped_us", offsetof(struct report, stopped_us), false},
	{"freeze_us", offsetof(struct report, freeze_us), false},
	{"save_us", offsetof(struct report, save_us), false},
	{"commit_us", offsetof(struct report, commit_us), false},
	{"resume_us", offsetof(struct report, resume_us), false},
	{"nodes", offsetof(struct report, nodes), true},
	{"messages", offsetof(struct report, messages), true},
	{"depth", offsetof(struct report, depth), false},
};

enum { NR_FIGURES = sizeof(figures) / sizeof(figures[0]) };

static uint64_t *figure_of(struct report *r, size_t i)
{
	return (uint64_t *)(void *)((char *)r + figures[i].offset);
}

int report_put(const struct report *r, struct wire_msg *m, struct stasis_error *err)
{
	struct report copy = *r;

	for (size_t i = 0; i < NR_FIGURES; i++)
		if (wire_put_number(m, figures[i].key, *figure_of(&copy, i), err) < 0)
			return -1;
	return 0;
}

int report_take(const struct wire_msg *m, struct report *ret, struct stasis_error *err)
{
	for (size_t i = 0; i < NR_FIGURES; i++)
		if (wire_get_number(m, figures[i].key, UINT64_MAX, 0, figure_of(ret, i), err) < 0)
			return -1;
	return 0;
}

void report_add(struct report *sum, const struct report *r)
{
	struct report copy = *r;

	for (size_t i = 0; i < NR_FIGURES; i++) {
		uint64_t *to = figure_of(sum, i), n = *figure_of(&copy, i);

		if (figures[i].is_sum)
			*to += n;
		else if (n > *to)
			*to = n;
	}
}

/* ---- branches ---- */

/* A failure of that node, or of who is behind it. */
static int fail_at(struct fanout *f, const char *name)
{
	(void)snprintf(f->at, sizeof(f->at), "%s", name);
	return -1;
}

/* Where branch i of nr begins, when they are as long as each other. */
static size_t branch_start(size_t nr_nodes, size_t nr, size_t i)
{
	return i * (nr_nodes / nr) + (i < nr_nodes % nr ? i : nr_nodes % nr);
}

static size_t text_len(const char (*nodes)[SLURM_NAME_LEN], size_t from, size_t to)
{
	size_t len = 0;

	for (size_t i = from; i < to; i++)
		len += strlen(nodes[i]) + 1;
	return len;
}

/* As many as may be, or more, when else their names are too long for a message. */
static size_t count_branches(const char (*nodes)[SLURM_NAME_LEN], size_t nr_nodes, size_t width)
{
	size_t nr = nr_nodes < width ? nr_nodes : width;

	for (size_t i = 0; i < nr; i++) {
		if (text_len(nodes, branch_start(nr_nodes, nr, i), branch_start(nr_nodes, nr, i + 1)) <=
		    MAX_BELOW)
			continue;
		nr++;
		i = (size_t)-1; /* from the first again */
	}
	return nr;
}

static int connect_node(const struct config *c, const char *name, int64_t left_ms, struct wire_conn *ret,
			struct stasis_error *err)
{
	if (strcmp(name, c->node) == 0)
		return wire_connect_unix(c->socket, ret, err);
	if (!c->port)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "node %s cannot be reached: 'port' is 0 in stasis.yaml", name);
	return wire_connect_tcp(name, c->port, left_ms < CONNECT_MS ? (int)left_ms : CONNECT_MS, ret, err);
}

static int put_below(struct wire_msg *m, const char (*nodes)[SLURM_NAME_LEN], size_t from, size_t to,
		     struct stasis_error *err)
{
	char text[MAX_BELOW + 1];
	size_t len = 0;

	if (from >= to)
		return 0;
	for (size_t i = from; i < to; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "", nodes[i]);
	return wire_put(m, "below", text, err);
}

static int send_prepare(struct branch *b, const struct wire_msg *order, const char (*nodes)[SLURM_NAME_LEN],
			size_t from, size_t to, int64_t left_ms, struct stasis_error *err)
{
	struct wire_msg m = {.len = order->len};

	memcpy(m.text, order->text, order->len);
	/* each says which node it is for: munged refuses it a second time on the same machine only */
	if (wire_put(&m, "node", b->name, err) < 0 ||
	    wire_put_number(&m, "left_ms", (uint64_t)left_ms, err) < 0 ||
	    put_below(&m, nodes, from, to, err) < 0)
		return -1;
	b->messages++;
	return wire_send(&b->conn, &m, 0, SEND_MS, err);
}

static int64_t hop_of(int64_t left_ms)
{
	return left_ms / HOP_SHARE < HOP_MAX_MS ? left_ms / HOP_SHARE : HOP_MAX_MS;
}

int fanout_begin(struct fanout *f, const struct config *c, const char (*nodes)[SLURM_NAME_LEN], size_t nr,
		 const struct wire_msg *order, int64_t left_ms, struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + left_ms - hop_of(left_ms);
	size_t nr_branches = count_branches(nodes, nr, c->tree_width);

	*f = (struct fanout){.c = c, .branches = calloc(nr_branches + 1, sizeof(*f->branches))};
	if (!f->branches)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu nodes", nr);
	for (size_t i = 0; i < nr_branches; i++) {
		struct branch *b = &f->branches[f->nr++];

		b->conn = (struct wire_conn)WIRE_CONN_INIT;
		memcpy(b->name, nodes[branch_start(nr, nr_branches, i)], sizeof(b->name));
		if (connect_node(c, b->name, deadline - wire_now_ms(), &b->conn, err) < 0)
			return fail_at(f, b->name);
	}
	/* only now: while one cannot be reached nobody stands still for nothing */
	for (size_t i = 0; i < nr_branches; i++) {
		struct branch *b = &f->branches[i];
		int64_t left = deadline - wire_now_ms();

		b->is_due = true;
		if (send_prepare(b, order, nodes, branch_start(nr, nr_branches, i) + 1,
				 branch_start(nr, nr_branches, i + 1), left > 0 ? left : 0, err) < 0)
			return fail_at(f, b->name);
	}
	return 0;
}

int fanout_parse(const char *text, char (**ret)[SLURM_NAME_LEN], size_t *ret_nr, struct stasis_error *err)
{
	scoped_free char(*names)[SLURM_NAME_LEN] = NULL;
	size_t nr = 0, max = 1;

	for (const char *p = text; *p; p++)
		max += *p == ',';
	names = calloc(max, sizeof(*names));
	if (!names)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu nodes", max);
	for (const char *p = text; nr < max; nr++) {
		size_t len = strcspn(p, ",");

		if (!len || len >= sizeof(*names))
			return stasis_fail(err, STASIS_E_CORRUPT, "prepare: '%.80s' is no name of a node", p);
		memcpy(names[nr], p, len);
		p += len + (p[len] == ',');
	}
	*ret = ptr_take(&names);
	*ret_nr = nr;
	return 0;
}

void fanout_done(struct fanout *f)
{
	for (size_t i = 0; i < f->nr; i++)
		wire_close(&f->branches[i].conn);
	free(f->branches);
	f->branches = NULL;
	f->nr = 0;
}

/* ---- phases ---- */

int fanout_tell(struct fanout *f, const char *phase, struct stasis_error *err)
{
	struct wire_msg m = {.len = 0};

	if (wire_put(&m, "phase", phase, err) < 0)
		return -1;
	f->sum = (struct report){.nodes = 0};
	for (size_t i = 0; i < f->nr; i++) {
		struct branch *b = &f->branches[i];

		b->messages++;
		b->is_due = wire_send(&b->conn, &m, 0, SEND_MS, err) == 0;
		if (!b->is_due && err)
			return fail_at(f, b->name);
	}
	return 0;
}

size_t fanout_poll(const struct fanout *f, struct pollfd *p)
{
	size_t nr = 0;

	for (size_t i = 0; i < f->nr; i++) {
		p[i] = (struct pollfd){.fd = f->branches[i].is_due ? f->branches[i].conn.fd : -1,
				       .events = POLLIN};
		nr += f->branches[i].is_due;
	}
	return nr;
}

/* What the other side says of its failure, and of whose it is. */
static int take_failure(struct fanout *f, const struct branch *b, const struct wire_msg *m,
			struct stasis_error *err)
{
	const char *message = wire_get(m, "message"), *at = wire_get(m, "at");
	uint64_t cls, number;

	if (wire_get_number(m, "class", STASIS_E_INTERNAL, STASIS_E_INTERNAL, &cls, err) < 0 ||
	    wire_get_number(m, "errno", INT_MAX, 0, &number, err) < 0)
		return fail_at(f, b->name);
	(void)stasis_fail(err, (enum stasis_errclass)cls, "%.200s", message ? message : "unexpected answer");
	if (err)
		err->sys_errno = (int)number;
	return fail_at(f, at ? at : b->name);
}

static int take_answer(struct fanout *f, struct branch *b, const struct wire_msg *m, const char *phase,
		       struct stasis_error *err)
{
	const char *got = wire_get(m, "phase");
	struct report r;

	if (b->conn.peer != 0) {
		(void)stasis_fail(err, STASIS_E_DENIED, "answer of uid %u", b->conn.peer);
		return fail_at(f, b->name);
	}
	if (!got || strcmp(got, phase) != 0)
		return take_failure(f, b, m, err);
	if (report_take(m, &r, err) < 0)
		return fail_at(f, b->name);
	r.messages += b->messages;
	r.depth++;
	report_add(&f->sum, &r);
	return 0;
}

int fanout_hear(struct fanout *f, const struct pollfd *p, const char *phase, struct stasis_error *err)
{
	scoped_free struct wire_msg *m = malloc(sizeof(*m));

	if (!m)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a message");
	for (size_t i = 0; i < f->nr; i++) {
		struct branch *b = &f->branches[i];

		if (!b->is_due || !p[i].revents)
			continue;
		b->is_due = false;
		b->messages++;
		if (wire_recv(&b->conn, m, SEND_MS, err) < 0)
			return fail_at(f, b->name);
		if (take_answer(f, b, m, phase, err) < 0)
			return -1;
	}
	return 0;
}

int fanout_late(struct fanout *f, struct stasis_error *err)
{
	const char *name = "";

	for (size_t i = 0; i < f->nr; i++)
		if (f->branches[i].is_due)
			name = f->branches[i].name;
	(void)stasis_fail(err, STASIS_E_TIMEOUT, "does not answer");
	return fail_at(f, name);
}

int fanout_await(struct fanout *f, const char *phase, int64_t deadline, struct stasis_error *err)
{
	scoped_free struct pollfd *p = calloc(f->nr + 1, sizeof(*p));

	if (!p)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu branches", f->nr);
	while (fanout_poll(f, p)) {
		int64_t left = deadline - wire_now_ms();
		int rc = poll(p, f->nr, left > 0 ? (int)left : 0);

		if (rc == 0)
			return fanout_late(f, err);
		if (rc < 0 && errno != EINTR)
			return stasis_fail_errno(err, STASIS_E_IO, "poll");
		if (rc > 0 && fanout_hear(f, p, phase, err) < 0)
			return -1;
	}
	return 0;
}
