/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A round of many daemons on one machine, to count and to break: each node is an address of 127.77.0.0/16
 * with a worker of its own, which is the daemon's code from the first frame on (request.c, node.c,
 * fanout.c, store.c) with real sockets and munge. The coordinator is the daemon's as well. Simulated are
 * accept(), the look for tasks (one on each node) and the engine: stasis_dump() here writes a small file,
 * waits at its barriers, and notes how it ended. Needs root, and $STASIS_MUNGE_SOCKET of a munged.
 *
 *	fanout_sim [OPTION]... FOLDER
 *
 *	-n NODES  -w WIDTH  -t SECONDS  -r ROUNDS  -p PORT
 *	-v  vacate instead of create
 *	-f NODE:MOMENT:HOW  break node NODE (from 1) at start, written or durable: fail, die (the worker is
 *	    killed) or stop (it stands still until the end)
 *	-a NODE  who fails does so when the dump on NODE has begun
 *
 * Prints its session and one line for each round: "done" or "failed", then key=value. FOLDER gets log (of each
 * dump "NODE stops", and at its end "NODE runs" or "NODE killed"), journal, and the images.
 */
#include "daemon/coordinate.h"
#include "daemon/request.h"
#include "daemon/store.h"
#include "daemon/tasks.h"
#include "daemon/whole.h"
#include "lib/scoped.h"
#include "wire/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stasis/stasis.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { MAX_NODES = SLURM_MAX_NODES, RACK = 64, MAX_FAULTS = 64, JOB = 1 };

enum moment { AT_START, AT_WRITTEN, AT_DURABLE };
enum how { FAIL, DIE, STOP };

struct fault {
	unsigned node;
	enum moment moment;
	enum how how;
};

static struct sim {
	struct config c;
	unsigned nr_nodes, rounds, max_wait_s;
	bool is_vacate;
	char folder[PATH_MAX];
	struct fault faults[MAX_FAULTS];
	size_t nr_faults;
	unsigned awaited[MAX_FAULTS]; /* nodes */
	size_t nr_awaited;
	unsigned node; /* in a worker: which one it is */
} sim;

static void __attribute__((__noreturn__)) die(const char *what)
{
	perror(what);
	exit(1);
}

static struct in_addr address_of(unsigned node)
{
	return (struct in_addr){htonl((127u << 24) + (77u << 16) + node)};
}

static void name_of(unsigned node, char *ret, size_t size)
{
	struct in_addr a = address_of(node);

	(void)inet_ntop(AF_INET, &a, ret, (socklen_t)size);
}

/* ---- in place of tasks.c and of the engine ---- */

int tasks_find(uint32_t job, uint32_t step, uid_t uid, struct task_list *ret, struct stasis_error *err)
{
	(void)job;
	(void)step;
	(void)uid;
	ret->tasks = calloc(1, sizeof(*ret->tasks));
	if (!ret->tasks)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a task");
	ret->tasks[0] = (struct task_info){.pid = getpid(), .global = sim.node - 1};
	ret->nr = 1;
	return 0;
}

int tasks_find_any(uint32_t job, uint32_t step, struct task_list *ret, struct stasis_error *err)
{
	return tasks_find(job, step, 0, ret, err);
}

int tasks_each_step(int (*fn)(void *arg, uint32_t job, uint32_t step), void *arg)
{
	return fn(arg, JOB, 0);
}

void tasks_done(struct task_list *l)
{
	free(l->tasks);
	*l = (struct task_list){.nr = 0};
}

static void note(const char *what)
{
	char path[PATH_MAX + 8], line[64];
	scoped_fd int fd = -1;
	int n = snprintf(line, sizeof(line), "%u %s\n", sim.node, what);

	(void)snprintf(path, sizeof(path), "%s/log", sim.folder);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		die(path);
}

static bool has_stopped(unsigned node)
{
	char path[PATH_MAX + 8], line[64], wanted[64];
	bool found = false;
	FILE *log;

	(void)snprintf(wanted, sizeof(wanted), "%u stops\n", node);
	(void)snprintf(path, sizeof(path), "%s/log", sim.folder);
	log = fopen(path, "re");
	while (log && !found && fgets(line, sizeof(line), log))
		found = strcmp(line, wanted) == 0;
	if (log)
		(void)fclose(log);
	return found;
}

/* A failure that is to be met by others in the middle of their work comes when they are there. */
static void await_others(void)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int64_t deadline = wire_now_ms() + 60000;

	for (size_t i = 0; i < sim.nr_awaited; i++)
		while (!has_stopped(sim.awaited[i]) && wire_now_ms() < deadline)
			(void)nanosleep(&pause, NULL);
}

/* What is to happen to this node now; in a dump the worker is the parent. */
static int break_here(enum moment moment, pid_t worker, struct stasis_error *err)
{
	for (size_t i = 0; i < sim.nr_faults; i++) {
		const struct fault *f = &sim.faults[i];

		if (f->node != sim.node || f->moment != moment)
			continue;
		if (f->how != FAIL) {
			(void)kill(worker, f->how == DIE ? SIGKILL : SIGSTOP);
			continue;
		}
		await_others();
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "this node is told to fail");
	}
	return 0;
}

static int write_file(const struct stasis_dump_opts *opts, struct stasis_error *err)
{
	scoped_fd int fd = openat(opts->dirfd, opts->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "image", 5) != 5)
		return stasis_fail_errno(err, STASIS_E_IO, "write '%s'", opts->name);
	return break_here(AT_WRITTEN, getppid(), err);
}

static int save(const struct stasis_dump_opts *opts, struct stasis_error *err)
{
	if (write_file(opts, err) < 0)
		return -1;
	if (!opts->signal_all && opts->barrier(opts->barrier_arg, STASIS_DUMP_WRITTEN, err) < 0)
		return -1;
	if (break_here(AT_DURABLE, getppid(), err) < 0)
		return -1;
	return opts->signal_all ? opts->barrier(opts->barrier_arg, STASIS_DUMP_DURABLE, err) : 0;
}

int stasis_dump(const struct stasis_dump_opts *opts, struct stasis_dump_result *ret,
		struct stasis_error *err)
{
	int rc;

	note("stops");
	rc = save(opts, err);
	note(rc == 0 && opts->signal_all ? "killed" : "runs");
	*ret = (struct stasis_dump_result){.nr_files = 1, .bytes = 5};
	return rc;
}

/* What save() writes has no structure to be checked. */
bool whole_check(int folder_fd, const char *name)
{
	return faccessat(folder_fd, name, R_OK, 0) == 0;
}

/* ---- in place of server.c ---- */

static int listen_at(unsigned node)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)sim.c.port),
		.sin_addr = address_of(node),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 16) < 0)
		die("listen");
	return fd;
}

static bool is_down(unsigned node)
{
	for (size_t i = 0; i < sim.nr_faults; i++)
		if (sim.faults[i].node == node && sim.faults[i].moment == AT_START &&
		    sim.faults[i].how == DIE)
			return true;
	return false;
}

static void worker(unsigned node, int fd)
{
	struct wire_conn conn = {.fd = fd, .is_sealed = true, .peer = (uid_t)-1};
	unsigned char head[4];
	char *bytes;
	size_t len;

	sim.node = node;
	name_of(node, sim.c.node, sizeof(sim.c.node));
	(void)break_here(AT_START, getpid(), NULL);
	if (recv(fd, head, sizeof(head), MSG_WAITALL) != (ssize_t)sizeof(head))
		return;
	len = wire_frame_len(head);
	bytes = malloc(len + 1);
	if (!len || !bytes || recv(fd, bytes, len, MSG_WAITALL) != (ssize_t)len)
		return;
	request_serve(&sim.c, &conn, bytes, len);
	free(bytes);
}

/* Nodes of one rack, until we are killed. */
static void __attribute__((__noreturn__)) serve(unsigned first, int ready)
{
	int events = epoll_create1(EPOLL_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGCHLD, SIG_IGN);
	for (unsigned node = first; node < first + RACK && node <= sim.nr_nodes; node++) {
		struct epoll_event e = {.events = EPOLLIN};

		if (is_down(node))
			continue;
		e.data.u64 = (uint64_t)listen_at(node) << 32 | node;
		if (epoll_ctl(events, EPOLL_CTL_ADD, (int)(e.data.u64 >> 32), &e) < 0)
			die("epoll");
	}
	if (write(ready, "r", 1) != 1)
		die("pipe");
	for (;;) {
		struct epoll_event e;
		int fd;

		if (epoll_wait(events, &e, 1, -1) != 1)
			continue;
		fd = accept4((int)(e.data.u64 >> 32), NULL, NULL, SOCK_CLOEXEC);
		if (fork() == 0) {
			(void)signal(SIGCHLD, SIG_DFL);
			(void)dup2(fd, STDIN_FILENO); /* the listeners are not its own */
			(void)close_range(3, UINT_MAX, 0);
			worker((unsigned)e.data.u64, STDIN_FILENO);
			_exit(0);
		}
		(void)close(fd);
	}
}

static pid_t start_rack(unsigned first)
{
	int fds[2];
	char ready;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		serve(first, fds[1]);
	}
	(void)close(fds[1]);
	if (pid < 0 || read(fds[0], &ready, 1) != 1) {
		fprintf(stderr, "fanout_sim: the nodes do not start\n");
		exit(1);
	}
	(void)close(fds[0]);
	return pid;
}

/* ---- rounds ---- */

static int run_round(const char (*nodes)[SLURM_NAME_LEN])
{
	char dir[PATH_MAX + 8];
	struct checkpoint what = {
		.job = JOB,
		.image_dir = dir,
		.nodes = nodes,
		.nr_nodes = sim.nr_nodes,
		.is_vacate = sim.is_vacate,
		.max_wait_s = sim.max_wait_s,
	};
	struct checkpoint_result result;
	struct stasis_error err;
	int64_t begin = wire_now_ms();
	int rc;

	(void)snprintf(dir, sizeof(dir), "%s/images", sim.folder);
	rc = checkpoint_run(&sim.c, &what, &result, &err);
	printf("%s ms=%lld", rc == 0 ? "done" : "failed", (long long)(wire_now_ms() - begin));
	if (rc == 0)
		printf(" nodes=%llu depth=%llu messages=%llu bytes=%llu tasks=%llu\n",
		       (unsigned long long)result.sum.nodes, (unsigned long long)result.sum.depth,
		       (unsigned long long)result.sum.messages, (unsigned long long)result.sum.bytes,
		       (unsigned long long)result.sum.tasks);
	else
		printf(" class=%d message=%s\n", err.cls, err.text);
	(void)fflush(stdout);
	return rc;
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || n < min || n > max) {
		fprintf(stderr, "fanout_sim: '%s' is not a number from %u to %u\n", text, min, max);
		exit(2);
	}
	return (unsigned)n;
}

static void add_fault(const char *text)
{
	static const char *const moments[] = {"start", "written", "durable"};
	static const char *const hows[] = {"fail", "die", "stop"};
	struct fault f = {.node = 0};
	char moment[16], how[16];
	int found = 0;

	if (sim.nr_faults < MAX_FAULTS && sscanf(text, "%u:%15[a-z]:%15[a-z]", &f.node, moment, how) == 3)
		for (unsigned i = 0; i < 3; i++) {
			if (strcmp(moment, moments[i]) == 0 && ++found)
				f.moment = (enum moment)i;
			if (strcmp(how, hows[i]) == 0 && ++found)
				f.how = (enum how)i;
		}
	if (found != 2) {
		fprintf(stderr, "fanout_sim: '%s' is no fault\n", text);
		exit(2);
	}
	sim.faults[sim.nr_faults++] = f;
}

static void take_options(int argc, char **argv)
{
	int opt;

	sim.c = (struct config){.node = "coordinator", .port = 6821, .keep = 2, .tree_width = 16,
				.operations = 64};
	sim.nr_nodes = 10;
	sim.rounds = 1;
	sim.max_wait_s = 60;
	while ((opt = getopt(argc, argv, "n:w:t:r:p:vf:a:")) >= 0) {
		if (opt == 'n')
			sim.nr_nodes = number(optarg, 1, MAX_NODES);
		else if (opt == 'w')
			sim.c.tree_width = number(optarg, 2, MAX_NODES);
		else if (opt == 't')
			sim.max_wait_s = number(optarg, 1, 3600);
		else if (opt == 'r')
			sim.rounds = number(optarg, 1, 1000);
		else if (opt == 'p')
			sim.c.port = number(optarg, 1, 65535);
		else if (opt == 'v')
			sim.is_vacate = true;
		else if (opt == 'f')
			add_fault(optarg);
		else if (opt == 'a' && sim.nr_awaited < MAX_FAULTS)
			sim.awaited[sim.nr_awaited++] = number(optarg, 1, MAX_NODES);
		else
			exit(2);
	}
	if (optind != argc - 1 || !realpath(argv[optind], sim.folder)) {
		fprintf(stderr, "usage: fanout_sim [OPTION]... FOLDER\n");
		exit(2);
	}
	(void)snprintf(sim.c.journal, sizeof(sim.c.journal), "%.1000s/journal", sim.folder);
}

int main(int argc, char **argv)
{
	scoped_free char(*nodes)[SLURM_NAME_LEN] = NULL;
	pid_t racks[MAX_NODES / RACK + 1];
	unsigned nr_racks = 0;
	int rc = 0;

	take_options(argc, argv);
	(void)setsid(); /* workers outlive us: the session tells which are ours */
	printf("session %d\n", getsid(0));
	(void)fflush(stdout); /* not once more by each child that ends with exit() */
	if (identity_user(0, 0, NULL) < 0) /* loads what it needs here, once for all */
		die("root");
	identity_root();
	nodes = calloc(sim.nr_nodes, sizeof(*nodes));
	if (!nodes)
		die("memory");
	for (unsigned i = 0; i < sim.nr_nodes; i++)
		name_of(i + 1, nodes[i], sizeof(nodes[i]));
	for (unsigned first = 1; first <= sim.nr_nodes; first += RACK)
		racks[nr_racks++] = start_rack(first);
	for (unsigned i = 0; i < sim.rounds; i++)
		rc |= run_round((const char(*)[SLURM_NAME_LEN])nodes);
	for (unsigned i = 0; i < nr_racks; i++) {
		(void)kill(racks[i], SIGKILL);
		(void)waitpid(racks[i], NULL, 0);
	}
	return rc ? 1 : 0;
}
