/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which node to ask: Slurm's own squeue tells the job's nodes, as the library of Slurm changes its name with
 * every release. On that node itself the daemon is asked over its Unix socket, from others over TCP.
 * $STASIS_SOCKET and $STASIS_PORT are for daemons that listen elsewhere.
 */
#include "api/client.h"

#include "lib/scoped.h"
#include "wire/codes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
	QUERY_MS = 30000,
	CONNECT_MS = 10000,
	SEND_MS = 10000,
	MAX_OUTPUT = 1 << 20, /* all tasks of an array */
	MAX_NODE = 64,
	NODES_TO_TRY = 5, /* for a job without nodes */
};

extern char **environ;

static int read_until_end(int fd, char *buf, size_t size, struct stasis_error *err)
{
	int64_t deadline = wire_now_ms() + QUERY_MS;
	size_t len = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - wire_now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return stasis_fail(err, STASIS_E_TIMEOUT, "squeue does not answer");
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "squeue");
		len += (size_t)n;
		buf[len] = '\0';
		if (n == 0 || len == size - 1)
			return 0;
	}
}

/* Our own stdout and stderr are the caller's; the child's are ours. */
static int spawn(const char *const argv[], pid_t *ret_pid, int *ret_fd, struct stasis_error *err)
{
	posix_spawn_file_actions_t actions;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "pipe");
	rc = posix_spawn_file_actions_init(&actions);
	if (!rc) {
		rc = posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
		if (!rc)
			rc = posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
		/* it is declared for writable strings, which it does not write to */
		if (!rc)
			rc = posix_spawnp(ret_pid, argv[0], &actions, NULL,
					  (char *const *)(uintptr_t)argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)close(fds[1]);
	if (rc) {
		(void)close(fds[0]);
		errno = rc;
		return stasis_fail_errno(err, STASIS_E_GONE, "%s", argv[0]);
	}
	*ret_fd = fds[0];
	return 0;
}

/* Exit status 0 and what it said; a caller that reaps all children may have taken the status: fine. */
static int ask_slurm(const char *const argv[], char *out, struct stasis_error *err)
{
	scoped_fd int fd = -1;
	int status = 0, rc;
	pid_t pid;

	if (spawn(argv, &pid, &fd, err) < 0)
		return -1;
	rc = read_until_end(fd, out, MAX_OUTPUT, err);
	if (rc < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc < 0)
		return -1;
	if (!status)
		return 0;
	out[strcspn(out, "\n")] = '\0';
	return stasis_fail(err, STASIS_E_GONE, "%.200s", *out ? out : argv[0]);
}

/* "JOBID|STATE|NODES"; with the number of an array or a heterogeneous job there are lines of others, too. */
static bool find_line(char *out, uint32_t job, char *nodes)
{
	char *line, *rest = out, state[24];
	unsigned found;
	int n = 0;

	while ((line = strsep(&rest, "\n"))) {
		nodes[0] = '\0';
		if (sscanf(line, "%u|%23[A-Z_]|%n%4095[^\n]", &found, state, &n, nodes) >= 2 && n && found == job)
			return true;
	}
	return false;
}

/* CODE_* when the job has no node; 0 with its name. */
static int first_node(uint32_t job, char ret[MAX_NODE], struct stasis_error *err)
{
	char id[16], nodes[4096];
	const char *const job_argv[] = {"squeue", "-h", "-r", "-t", "all", "-j", id, "-o", "%A|%T|%N", NULL};
	const char *const list_argv[] = {"scontrol", "show", "hostnames", nodes, NULL};
	scoped_free char *out = malloc(MAX_OUTPUT);

	(void)snprintf(id, sizeof(id), "%u", job);
	if (!out)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory");
	if (ask_slurm(job_argv, out, err) < 0)
		return strstr(err->text, "Invalid job id") ? CODE_INVALID_JOB_ID : -1;
	if (!find_line(out, job, nodes))
		return CODE_INVALID_JOB_ID;
	if (!*nodes) /* it has none: not yet, or not any more */
		return 0;
	if (ask_slurm(list_argv, out, err) < 0)
		return -1;
	out[strcspn(out, "\n")] = '\0';
	if (strlen(out) >= MAX_NODE)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "node name '%.80s' is too long", out);
	(void)strcpy(ret, out); /* fits, see above */
	return 0;
}

/* Of a heterogeneous job squeue shows all components, whichever is asked for. */
int client_find_job(const char *name, uint32_t *ret, struct stasis_error *err)
{
	const char *const argv[] = {"squeue", "-h", "-r", "-t", "all", "-j", name, "-o", "%i|%A", NULL};
	scoped_free char *out = malloc(MAX_OUTPUT);
	size_t len = strlen(name);
	char *line, *rest = out;

	if (!out)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory");
	if (ask_slurm(argv, out, err) < 0)
		return strstr(err->text, "Invalid job id") ? CODE_INVALID_JOB_ID : -1;
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, name, len) != 0 || line[len] != '|')
			continue;
		*ret = (uint32_t)strtoul(line + len + 1, NULL, 10);
		return 0;
	}
	return CODE_INVALID_JOB_ID;
}

static bool is_own_host(const char *node)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	return strcmp(host, node) == 0;
}

static unsigned port_of_daemons(void)
{
	const char *port = secure_getenv("STASIS_PORT");

	return port ? (unsigned)atoi(port) : WIRE_DEFAULT_PORT;
}

static int connect_local(struct wire_conn *ret, struct stasis_error *err)
{
	const char *path = secure_getenv("STASIS_SOCKET");

	return wire_connect_unix(path ? path : WIRE_DEFAULT_SOCKET, ret, err);
}

static int connect_node(const char *node, struct wire_conn *ret, struct stasis_error *err)
{
	if (is_own_host(node) && connect_local(ret, NULL) == 0)
		return 0;
	return wire_connect_tcp(node, port_of_daemons(), CONNECT_MS, ret, err);
}

/* What is to be said of a job without nodes any daemon can say; fills the name of a remote one. */
static int connect_any(char node[MAX_NODE], struct wire_conn *ret, struct stasis_error *err)
{
	const char *const argv[] = {"sinfo", "-h", "-N", "-r", "-o", "%N", NULL};
	scoped_free char *out = malloc(MAX_OUTPUT);
	char *rest = out, *name;

	if (connect_local(ret, NULL) == 0)
		return 0;
	if (!out)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory");
	if (ask_slurm(argv, out, err) < 0)
		return -1;
	(void)stasis_fail(err, STASIS_E_GONE, "no node answers on which a stasisd could run");
	for (int i = 0; i < NODES_TO_TRY && (name = strsep(&rest, "\n"));) {
		if (!*name || strlen(name) >= MAX_NODE || strcmp(name, node) == 0)
			continue;
		(void)strcpy(node, name); /* fits, see above */
		if (connect_node(node, ret, err) == 0)
			return 0;
		i++;
	}
	return -1;
}

/* Of root, or who asked could be told anything. */
static int take_answer(struct wire_conn *c, struct wire_msg *ret, int timeout_ms,
		       struct stasis_error *err)
{
	uint64_t rc;

	if (wire_recv(c, ret, timeout_ms, err) < 0)
		return -1;
	if (c->peer != 0)
		return stasis_fail(err, STASIS_E_DENIED, "the answer is uid %u's, not root's", c->peer);
	if (wire_get_number(ret, "rc", INT32_MAX, CODE_UNEXPECTED_MSG, &rc, err) < 0)
		return -1;
	return (int)rc;
}

int client_ask(uint32_t job, struct wire_msg *request, int timeout_ms, struct wire_msg *ret,
	       struct stasis_error *err)
{
	scoped(wire_close) struct wire_conn c = WIRE_CONN_INIT;
	char node[MAX_NODE] = "";
	int code = first_node(job, node, err);

	if (code)
		return code;
	if (wire_put_number(request, "job", job, err) < 0 ||
	    (*node ? connect_node(node, &c, err) : connect_any(node, &c, err)) < 0 ||
	    wire_put(request, "node", node, err) < 0 ||
	    wire_send(&c, request, (uid_t)-1, SEND_MS, err) < 0)
		return -1;
	return take_answer(&c, ret, timeout_ms, err);
}

int client_ask_local(struct wire_msg *request, int timeout_ms, struct wire_msg *ret,
		     struct stasis_error *err)
{
	scoped(wire_close) struct wire_conn c = WIRE_CONN_INIT;

	if (connect_local(&c, err) < 0 || wire_send(&c, request, (uid_t)-1, SEND_MS, err) < 0)
		return -1;
	return ret ? take_answer(&c, ret, timeout_ms, err) : 0;
}
