/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leader's life: open the line to the engine, answer requests until it goes dead, and make sure
 * that everybody is out before the memory goes. The engine never closes the line while it lives: it
 * stops the leader in recvmsg() and puts its registers back. End of file therefore means that the
 * engine was killed.
 *
 * No call here may leave a restart block behind (no nanosleep, no poll, no futex with a time-out):
 * the program's own one is still needed.
 */
#include "parasite/parasite_priv.h"

#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/time_types.h>

enum {
	AF_UNIX_NR = 1,
	SOCK_SEQPACKET_CLOEXEC = 5 | 02000000,
	SOL_SOCKET_NR = 1,
	SCM_RIGHTS_NR = 1,
	MSG_CTRUNC_NR = 8,
	MSG_NOSIGNAL_NR = 0x4000,
	MSG_CMSG_CLOEXEC_NR = 0x40000000,
	WAKE_ALL = 0x7fffffff,
	O_CLOEXEC_NR = 02000000,
	O_DIRECTORY_CLOEXEC = 0200000 | O_CLOEXEC_NR,
	AT_FDCWD_NR = -100,
};

struct kernel_cmsg {
	uint64_t len;
	int32_t level, type;
	int32_t fd, padding;
};

struct kernel_iovec {
	void *base;
	uint64_t len;
};

struct kernel_msghdr {
	void *name;
	int32_t namelen, padding;
	struct kernel_iovec *iov;
	uint64_t iovlen;
	void *control;
	uint64_t controllen;
	uint32_t flags, padding2;
};

/* The length of a request, 0 at the end of file, or -errno. *ret_fd is -1 when none came along. */
static long receive(int sock, struct wire_request *req, int *ret_fd, bool *ret_is_truncated)
{
	struct kernel_cmsg cmsg = {0};
	struct kernel_iovec iov = {.base = req, .len = sizeof(*req)};
	struct kernel_msghdr msg = {
		.iov = &iov, .iovlen = 1, .control = &cmsg, .controllen = sizeof(cmsg)};
	long r;

	do {
		r = SYS3(recvmsg, sock, &msg, MSG_CMSG_CLOEXEC_NR);
	} while (r == -EINTR_NR);
	*ret_is_truncated = msg.flags & MSG_CTRUNC_NR;
	*ret_fd = -1;
	if (r > 0 && msg.controllen >= offsetof(struct kernel_cmsg, padding) &&
	    cmsg.level == SOL_SOCKET_NR && cmsg.type == SCM_RIGHTS_NR)
		*ret_fd = cmsg.fd;
	return r;
}

static void wait_threads(struct wire_area *a, uint64_t nr)
{
	uint32_t done;

	while ((done = __atomic_load_n(&a->nr_done, __ATOMIC_SEQ_CST)) < nr)
		SYS4(futex, &a->nr_done, FUTEX_WAIT_PRIVATE, done, 0);
}

static void collect_timers(struct wire_area *a, uint64_t nr)
{
	enum { NS_PER_S = 1000000000 };
	struct wire_timer *t = (struct wire_timer *)a->buffer;

	for (uint64_t i = 0; i < nr; i++, t++) {
		struct {
			struct __kernel_timespec interval, value;
		} now;

		t->error = SYS2(timer_gettime, t->timer.id, &now);
		if (t->error)
			continue;
		t->timer.value_ns = now.value.tv_sec * NS_PER_S + now.value.tv_nsec;
		t->timer.interval_ns = now.interval.tv_sec * NS_PER_S + now.interval.tv_nsec;
		t->timer.overrun = (int32_t)SYS1(timer_getoverrun, t->timer.id);
	}
}

static void collect_policies(struct wire_area *a, uint64_t nr)
{
	struct parasite_policy *p = (struct parasite_policy *)a->buffer;

	for (uint64_t i = 0; i < nr; i++)
		p[i].mode = policy_collect(p[i].addr, MPOL_F_ADDR, &p[i].nodes);
}

static int32_t execute(struct wire_area *a, const struct wire_request *req, int fd,
		       int64_t *ret_result)
{
	switch (req->op) {
	case WIRE_OP_TASK:
		task_collect(&a->task);
		thread_collect(&((struct wire_thread *)a->threads)->result);
		collect_policies(a, req->a[0]);
		return 0;
	case WIRE_OP_WAIT:
		wait_threads(a, req->a[0]);
		return 0;
	case WIRE_OP_WRITE:
		if (fd < 0)
			return EMFILE_NR;
		write_runs(a, fd, req->a[0]);
		return 0;
	case WIRE_OP_TIMERS:
		collect_timers(a, req->a[0]);
		return 0;
	case WIRE_OP_MINCORE:
		return (int32_t)-SYS3(mincore, req->a[0], req->a[1], a->buffer);
	case WIRE_OP_SYSCALL:
		*ret_result = raw_syscall(req->nr, req->a[0], req->a[1], req->a[2], req->a[3],
					  req->a[4], req->a[5]);
		return 0;
	case WIRE_OP_POLICIES:
		collect_policies(a, req->a[0]);
		return 0;
	case WIRE_OP_PTY:
		return pty_peek((struct parasite_pty *)a->buffer, (int)req->a[0]);
	default:
		return EINVAL_NR;
	}
}

static void answer_requests(struct wire_area *a, int sock)
{
	for (;;) {
		struct wire_answer ans = {0};
		struct wire_request req;
		bool is_truncated;
		int fd;

		if (receive(sock, &req, &fd, &is_truncated) != (long)sizeof(req))
			return;
		ans.seq = req.seq;
		ans.error = execute(a, &req, fd, &ans.result);
		if (fd >= 0)
			SYS1(close, fd);
		if (SYS5(sendto, sock, &ans, sizeof(ans), MSG_NOSIGNAL_NR, 0) !=
		    (long)sizeof(ans))
			return;
	}
}

void parasite_pause_1ms(void)
{
	struct __kernel_timespec ts = {.tv_nsec = 1000000};

	SYS5(ppoll, 0, 0, &ts, 0, 8);
}

/* The last number of /proc/TID/syscall, the instruction pointer; 0 when the thread is running now. */
static uint64_t parse_ip(const char *text, long len)
{
	uint64_t ip = 0;

	for (long i = 0; i < len && text[i] != '\n'; i++) {
		char c = text[i];

		if (c == ' ' || c == 'x')
			ip = 0;
		else if (c >= '0' && c <= '9')
			ip = ip * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			ip = ip * 16 + (uint64_t)(c - 'a') + 10;
		else if (c == 'r')
			return 0; /* "running" */
	}
	return ip;
}

enum where { WHERE_OUT, WHERE_IN, WHERE_RUNNING };

static enum where thread_where(const struct wire_area *a, int dir, const char *tid)
{
	char path[32], text[256];
	size_t n = 0;
	uint64_t ip;
	long fd, len;

	while (tid[n] && n < 20) {
		path[n] = tid[n];
		n++;
	}
	for (const char *p = "/syscall"; *p; p++)
		path[n++] = *p;
	path[n] = '\0';
	fd = SYS4(openat, dir, path, O_CLOEXEC_NR, 0);
	if (fd < 0)
		return WHERE_OUT; /* it has ended */
	len = SYS3(read, fd, text, sizeof(text));
	SYS1(close, fd);
	ip = parse_ip(text, len);
	if (!ip)
		return WHERE_RUNNING;
	return ip >= a->start && ip < a->start + a->len ? WHERE_IN : WHERE_OUT;
}

/* The worst of all other threads. */
static enum where threads_where(const struct wire_area *a, int dir)
{
	struct dirent {
		uint64_t ino, off;
		uint16_t reclen;
		uint8_t type;
		char name[];
	};
	_Alignas(8) char buf[1024];
	enum where worst = WHERE_OUT;
	long self = SYS0(gettid), len;

	SYS3(lseek, dir, 0, 0);
	while ((len = SYS3(getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long pos = 0; pos < len;) {
			const struct dirent *d = (const struct dirent *)(buf + pos);
			enum where w;
			long tid = 0;

			for (const char *p = d->name; *p >= '0' && *p <= '9'; p++)
				tid = tid * 10 + (*p - '0');
			pos += d->reclen;
			if (!tid || tid == self)
				continue;
			w = thread_where(a, dir, d->name);
			if (w == WHERE_IN)
				return WHERE_IN;
			if (w == WHERE_RUNNING)
				worst = w;
		}
	}
	return worst;
}

/* A handler may run on top of a thread's way out, so that its instruction pointer is elsewhere while
 * it will come back here. */
static bool have_all_left(const struct wire_area *a)
{
	for (uint32_t i = 1; i < a->nr_threads; i++) {
		const struct wire_thread *t =
			(const struct wire_thread *)(a->threads + i * WIRE_THREAD_BYTES);

		if (__atomic_load_n(&t->has_entered, __ATOMIC_SEQ_CST) &&
		    !__atomic_load_n(&t->has_left, __ATOMIC_SEQ_CST))
			return false;
	}
	return true;
}

/*
 * The engine was killed while other threads were in here. Each of them leaves by one last jump that
 * still lies in our memory, so only the kernel can tell when it is out; and those that the engine has
 * not sent in yet will never come. A thread seen running for long has left: nothing in here takes
 * that time. Returns false when that cannot be found out: the memory then stays.
 */
static bool wait_until_alone(const struct wire_area *a)
{
	enum { MAX_TRIES = 5000, RUNNING_MS = 50 };
	long dir = SYS4(openat, AT_FDCWD_NR, "/proc/self/task", O_DIRECTORY_CLOEXEC, 0);
	int running = 0;
	bool is_alone = false;

	for (int i = 0; dir >= 0 && i < MAX_TRIES && !is_alone; i++) {
		enum where w = threads_where(a, (int)dir);

		running = w == WHERE_RUNNING ? running + 1 : 0;
		is_alone = (w == WHERE_OUT || running >= RUNNING_MS) && have_all_left(a);
		if (!is_alone)
			parasite_pause_1ms();
	}
	if (dir >= 0)
		SYS1(close, dir);
	return is_alone;
}

/* Returns whether our memory may be unmapped. */
static bool send_threads_home(struct wire_area *a)
{
	if (!__atomic_load_n(&a->nr_running, __ATOMIC_SEQ_CST))
		return true;
	__atomic_store_n(&a->is_over, 1, __ATOMIC_SEQ_CST);
	SYS3(futex, &a->is_over, FUTEX_WAKE_PRIVATE, WAKE_ALL);
	return wait_until_alone(a);
}

/* "TracerPid:" of this thread (the first one may have ended); 0 also when it cannot be read or is not of our pid namespace. */
static long tracer(void)
{
	static const char key[] = "TracerPid:\t";
	char text[512]; /* it is one of the first lines */
	long fd = SYS4(openat, AT_FDCWD_NR, "/proc/thread-self/status", O_CLOEXEC_NR, 0);
	long len = fd < 0 ? 0 : SYS3(read, fd, text, sizeof(text)), pid = 0;

	if (fd >= 0)
		SYS1(close, fd);
	for (long i = 0; i + (long)sizeof(key) < len; i++) {
		if (__builtin_memcmp(text + i, key, sizeof(key) - 1) != 0)
			continue;
		for (i += sizeof(key) - 1; i < len && text[i] >= '0' && text[i] <= '9'; i++)
			pid = pid * 10 + (text[i] - '0');
		break;
	}
	return pid;
}

/* A dying engine closes its descriptors before the kernel takes its tracing away. A process that was
 * stopped by job control stops again only with the latter, and must not run on before. On a loaded machine
 * that takes seconds. */
static void wait_for_engine_to_vanish(long engine)
{
	enum { MAX_MS = 60000 };

	for (int i = 0; i < MAX_MS && engine && tracer() == engine; i++)
		parasite_pause_1ms();
}

/*
 * Called by start.S, signals blocked. The two ends of the line are made in one call, behind which the
 * engine stops the leader and takes its end; then ours is the only one that holds the line open here,
 * and the engine's death is its end. Returns whether the memory may be unmapped on the way out.
 */
int parasite_serve(struct wire_area *a)
{
	long engine = 0;
	bool may_unmap;

	a->open_error = (int32_t)-SYS4(socketpair, AF_UNIX_NR, SOCK_SEQPACKET_CLOEXEC, 0, a->socks);
	if (!a->open_error) {
		SYS1(close, a->socks[0]);
		engine = tracer();
		/* a child forked by another thread after the engine's death shall not inherit this */
		SYS3(madvise, a->start, a->len, MADV_DONTFORK);
		answer_requests(a, a->socks[1]);
	}
	wait_for_engine_to_vanish(engine);
	may_unmap = send_threads_home(a);
	if (!a->open_error)
		SYS1(close, a->socks[1]);
	return may_unmap;
}
