/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inject/test/subjects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	NS_PER_MS = 1000000,
	WAIT_MS = 60,
	EARLY_MS = 3,	/* clocks of different grain */
	LATE_MS = 2000, /* a loaded machine */
	LATE_AFRESH_MS = 60000, /* its time-out starts afresh as long as interruptions come */
};

extern char **environ;

__attribute__((__format__(__printf__, 2, 3))) static void fail(struct subject_page *p,
								const char *fmt, ...)
{
	va_list ap;

	if (p->failed)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	p->failed = 1;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}

/* ---- calls with a time-out: must end by it, neither early nor with EINTR */

static const struct timespec wait_time = {.tv_nsec = WAIT_MS * NS_PER_MS};

static int call_nanosleep(void)
{
	return nanosleep(&wait_time, NULL) == 0;
}

static int call_clock_nanosleep(void)
{
	return clock_nanosleep(CLOCK_MONOTONIC, 0, &wait_time, NULL) == 0;
}

static int call_poll(void)
{
	return poll(NULL, 0, WAIT_MS) == 0;
}

static int call_ppoll(void)
{
	return ppoll(NULL, 0, &wait_time, NULL) == 0;
}

static int call_select(void)
{
	struct timeval tv = {.tv_usec = WAIT_MS * 1000};

	return select(0, NULL, NULL, NULL, &tv) == 0;
}

static int call_epoll_wait(void)
{
	static int ep = -1;
	struct epoll_event ev;

	if (ep < 0)
		ep = epoll_create1(0);
	return epoll_wait(ep, &ev, 1, WAIT_MS) == 0;
}

static int call_epoll_pwait(void)
{
	static int ep = -1;
	struct epoll_event ev;
	sigset_t none;

	sigemptyset(&none);
	if (ep < 0)
		ep = epoll_create1(0);
	return epoll_pwait(ep, &ev, 1, WAIT_MS, &none) == 0;
}

static int call_futex(void)
{
	static uint32_t word;

	return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &wait_time) < 0 && errno == ETIMEDOUT;
}

static int call_semtimedop(void)
{
	static int id = -1;
	struct sembuf op = {.sem_num = 0, .sem_op = -1};

	if (id < 0) {
		id = semget(IPC_PRIVATE, 1, 0600);
		/* removed at the end only: EIDRM otherwise; see subject_end() */
	}
	return semtimedop(id, &op, 1, &wait_time) < 0 && errno == EAGAIN;
}

static int call_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &wait_time) < 0 && errno == EAGAIN;
}

static int call_recv_timeout(void)
{
	static int sv[2] = {-1, -1};
	struct timeval tv = {.tv_usec = WAIT_MS * 1000};
	char c;

	if (sv[0] < 0 && (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0 ||
			  setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0))
		return 0;
	return recv(sv[0], &c, 1, 0) < 0 && errno == EAGAIN;
}

static void run_timed(struct subject_page *p, int (*call)(void), int late_ms)
{
	p->is_ready = 1;
	for (;;) {
		int64_t start = now_ms(), took;

		errno = 0;
		if (!call()) {
			if (errno == EINTR && p->may_be_interrupted)
				continue;
			fail(p, "the call failed: %s", strerror(errno));
		}
		took = now_ms() - start;
		if (took < WAIT_MS - EARLY_MS)
			fail(p, "ended after %d ms", (int)took);
		if (took > late_ms)
			fail(p, "ended only after %d ms", (int)took);
		p->rounds++;
	}
}

#define TIMED(name, late_ms)                                \
	static void run_##name(struct subject_page *p)      \
	{                                                   \
		run_timed(p, call_##name, late_ms);         \
	}

TIMED(nanosleep, LATE_MS)
TIMED(clock_nanosleep, LATE_MS)
TIMED(poll, LATE_MS)
TIMED(ppoll, LATE_MS)
TIMED(select, LATE_MS)
TIMED(epoll_wait, LATE_MS)
TIMED(epoll_pwait, LATE_MS)
TIMED(futex, LATE_MS)
TIMED(semtimedop, LATE_AFRESH_MS)
TIMED(sigtimedwait, LATE_AFRESH_MS)
TIMED(recv_timeout, LATE_AFRESH_MS)

/* ---- calls that wait for ever: any return is wrong */

static void run_for_ever(struct subject_page *p, const char *name, long result)
{
	if (errno != EINTR || !p->may_be_interrupted)
		fail(p, "%s returned %ld: %s", name, result, strerror(errno));
	for (;;)
		sleep(1000);
}

static void run_epoll_for_ever(struct subject_page *p)
{
	struct epoll_event ev;
	int ep = epoll_create1(0);

	p->is_ready = 1;
	run_for_ever(p, "epoll_wait", epoll_wait(ep, &ev, 1, -1));
}

static void run_pipe_for_ever(struct subject_page *p)
{
	int fds[2];
	char c;

	(void)!pipe(fds);
	p->is_ready = 1;
	run_for_ever(p, "read", read(fds[0], &c, 1));
}

static void run_inotify_for_ever(struct subject_page *p)
{
	char buf[1024];
	int fd = inotify_init();

	p->is_ready = 1;
	run_for_ever(p, "read of inotify", read(fd, buf, sizeof(buf)));
}

static void run_msgrcv_for_ever(struct subject_page *p)
{
	struct {
		long type;
		char c;
	} msg;
	int id = msgget(IPC_PRIVATE, 0600);

	p->is_ready = 1;
	run_for_ever(p, "msgrcv", msgrcv(id, &msg, 1, 0, 0));
}

static void run_pause_for_ever(struct subject_page *p)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGTERM);
	p->is_ready = 1;
	run_for_ever(p, "sigsuspend", sigsuspend(&set));
}

static void run_stopped(struct subject_page *p)
{
	p->is_ready = 1;
	raise(SIGSTOP);
	fail(p, "it was continued");
	for (;;)
		sleep(1000);
}

/* ---- registers */

/* All vector and most general registers hold a pattern for a while; then every bit is checked. */
static uint64_t spin_with_registers(uint64_t seed)
{
	uint64_t out[12];

	__asm__ volatile("movq %[seed], %%xmm0\n\t"
			 "movq %[seed], %%xmm7\n\t"
			 "movq %[seed], %%xmm15\n\t"
			 "mov %[seed], %%r8\n\t"
			 "lea 1(%[seed]), %%r9\n\t"
			 "lea 2(%[seed]), %%r10\n\t"
			 "lea 3(%[seed]), %%r11\n\t"
			 "lea 4(%[seed]), %%r12\n\t"
			 "lea 5(%[seed]), %%r13\n\t"
			 "lea 6(%[seed]), %%r14\n\t"
			 "lea 7(%[seed]), %%r15\n\t"
			 "mov $200000, %%ecx\n\t"
			 "std\n\t"
			 "stc\n"
			 "1: dec %%ecx\n\t" /* leaves the carry alone */
			 "jnz 1b\n\t"
			 "sbb %%rdx, %%rdx\n\t"
			 "cld\n\t"
			 "mov %%rdx, 64(%[out])\n\t"
			 "mov %%r8, 0(%[out])\n\t"
			 "mov %%r9, 8(%[out])\n\t"
			 "mov %%r10, 16(%[out])\n\t"
			 "mov %%r11, 24(%[out])\n\t"
			 "mov %%r12, 32(%[out])\n\t"
			 "mov %%r13, 40(%[out])\n\t"
			 "mov %%r14, 48(%[out])\n\t"
			 "mov %%r15, 56(%[out])\n\t"
			 "movq %%xmm0, 72(%[out])\n\t"
			 "movq %%xmm7, 80(%[out])\n\t"
			 "movq %%xmm15, 88(%[out])\n\t"
			 :
			 : [seed] "b"(seed), [out] "S"(out)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
			   "xmm7", "xmm15", "memory", "cc");
	for (uint64_t i = 0; i < 8; i++)
		if (out[i] != seed + i)
			return 1 + i;
	if (out[8] != ~0ull)
		return 20;
	return out[9] == seed && out[10] == seed && out[11] == seed ? 0 : 21;
}

__attribute__((__target__("avx2"))) static bool spin_with_avx(uint64_t seed)
{
	__m256i a = _mm256_set1_epi64x((long long)seed), b = _mm256_set_epi64x(4, 3, 2, 1);
	long long out[4];

	for (int i = 0; i < 100000; i++) {
		a = _mm256_add_epi64(a, b);
		__asm__ volatile("" : "+x"(a), "+x"(b));
	}
	_mm256_storeu_si256((__m256i *)(void *)out, a);
	for (int i = 0; i < 4; i++)
		if ((uint64_t)out[i] != seed + 100000ull * (uint64_t)(i + 1))
			return false;
	return true;
}

static void run_registers(struct subject_page *p)
{
	p->is_ready = 1;
	for (uint64_t seed = 0x123456789abcdef0;; seed = seed * 6364136223846793005 + 1) {
		uint64_t bad = spin_with_registers(seed);

		if (bad)
			fail(p, "register check %d", (int)bad);
		if (__builtin_cpu_supports("avx2") && !spin_with_avx(seed))
			fail(p, "vector registers changed");
		p->rounds++;
	}
}

/* ---- many threads */

enum { NR_THREADS = 200 };

static void futex(uint32_t *word, int op, uint32_t value)
{
	(void)syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

struct ring {
	struct subject_page *page;
	uint32_t turn;
};

struct ring_place {
	struct ring *ring;
	uint32_t number;
};

/* A token goes round; each hand-over is a futex wait and wake. */
static void *ring_thread(void *arg)
{
	struct ring_place *me = arg;
	struct ring *r = me->ring;

	for (;;) {
		uint32_t turn = __atomic_load_n(&r->turn, __ATOMIC_SEQ_CST);

		if (turn % NR_THREADS != me->number) {
			futex(&r->turn, FUTEX_WAIT_PRIVATE, turn);
			continue;
		}
		__atomic_store_n(&r->turn, turn + 1, __ATOMIC_SEQ_CST);
		r->page->rounds++;
		futex(&r->turn, FUTEX_WAKE_PRIVATE, 0x7fffffff);
		if (me->number == 0)
			usleep(1000);
	}
	return NULL;
}

static void run_threads(struct subject_page *p)
{
	static struct ring_place places[NR_THREADS];
	static struct ring ring;
	pthread_attr_t attr;
	pthread_t t;

	ring.page = p;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (uint32_t i = 0; i < NR_THREADS; i++) {
		places[i] = (struct ring_place){.ring = &ring, .number = i};
		if (i && pthread_create(&t, &attr, ring_thread, &places[i]))
			fail(p, "pthread_create");
	}
	p->is_ready = 1;
	ring_thread(&places[0]);
}

static void *short_thread(void *arg)
{
	return arg;
}

static void run_thread_storm(struct subject_page *p)
{
	p->is_ready = 1;
	for (;;) {
		pthread_t t[4];
		void *ret;

		for (uintptr_t i = 0; i < 4; i++)
			if (pthread_create(&t[i], NULL, short_thread, (void *)i))
				fail(p, "pthread_create: %s", strerror(errno));
		for (uintptr_t i = 0; i < 4; i++)
			if (pthread_join(t[i], &ret) || ret != (void *)i)
				fail(p, "pthread_join");
		p->rounds++;
	}
}

/* ---- many processes */

static void reap(struct subject_page *p, pid_t pid, int want)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fail(p, "waitpid: %s", strerror(errno));
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
		fail(p, "a child ended with status %x", (unsigned)status);
}

static void run_fork_storm(struct subject_page *p)
{
	p->is_ready = 1;
	for (;;) {
		pid_t pid[4];

		for (int i = 0; i < 4; i++) {
			pid[i] = fork();
			if (pid[i] == 0)
				_exit(i);
			if (pid[i] < 0)
				fail(p, "fork: %s", strerror(errno));
		}
		for (int i = 0; i < 4; i++)
			reap(p, pid[i], i);
		p->rounds++;
	}
}

static void run_spawn_storm(struct subject_page *p)
{
	char name[] = "true", *argv[] = {name, NULL};

	p->is_ready = 1;
	for (;;) {
		pid_t pid;

		/* vfork inside */
		if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ))
			fail(p, "posix_spawn");
		else
			reap(p, pid, 0);
		p->rounds++;
	}
}

/* ---- signals */

static volatile uint64_t ticks;

static void on_tick(int sig)
{
	(void)sig;
	ticks++;
}

static void run_signal_storm(struct subject_page *p)
{
	static char altstack[65536];
	const stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
	struct sigaction sa = {.sa_handler = on_tick, .sa_flags = SA_ONSTACK | SA_RESTART};
	const struct itimerval it = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}};
	uint64_t n = 0;

	sigaltstack(&ss, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	p->is_ready = 1;
	for (;; n++) {
		if (spin_with_registers(n))
			fail(p, "registers changed");
		p->rounds = ticks;
	}
}

/* ---- stacks */

/* The stack pointer is 32 bytes above memory that is not there: nothing may be put on this stack. */
static void *tiny_stack_thread(void *arg)
{
	struct subject_page *p = arg;
	uint8_t *m = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t bad = 0;

	(void)mprotect(m + 4096, 4096, PROT_READ | PROT_WRITE);
	memset(m + 4096, 0x5a, 4096);
	for (;;) {
		__asm__ volatile("mov %%rsp, %%r12\n\t"
				 "mov %[sp], %%rsp\n\t"
				 "mov $100000, %%ecx\n"
				 "1: dec %%ecx\n\t"
				 "jnz 1b\n\t"
				 "mov %[nr], %%eax\n\t" /* sched_yield */
				 "syscall\n\t"
				 "mov %%r12, %%rsp\n\t"
				 :
				 : [sp] "r"(m + 4096 + 32), [nr] "i"(SYS_sched_yield)
				 : "rax", "rcx", "r11", "r12", "memory", "cc");
		for (int i = 0; i < 4096; i++)
			bad |= m[4096 + i] ^ 0x5a;
		if (bad)
			fail(p, "the stack was written to");
		p->rounds++;
	}
	return NULL;
}

static void run_tiny_stack(struct subject_page *p)
{
	pthread_t t;

	p->is_ready = 1;
	(void)pthread_create(&t, NULL, tiny_stack_thread, p); /* once as a thread, once as leader */
	tiny_stack_thread(p);
}

/* ---- restartable sequences */

struct own_rseq {
	uint32_t cpu_id_start, cpu_id;
	uint64_t rseq_cs;
	uint32_t flags, padding[3];
} __attribute__((__aligned__(32)));

static struct own_rseq own_rseq;

static void register_rseq(struct subject_page *p)
{
	enum { SIGNATURE = 0x53053053 };

	if (syscall(SYS_rseq, &own_rseq, sizeof(own_rseq), 0, SIGNATURE) < 0)
		fail(p, "rseq: %s", strerror(errno));
}

/* Spins in a critical section that only an abort leaves; each stop and each preemption is one. */
static void *rseq_thread(void *arg)
{
	struct subject_page *p = arg;

	register_rseq(p);
	p->is_ready = 1;
	for (;;) {
		__asm__ volatile(".pushsection .data.rel, \"aw\"\n\t"
				 ".balign 32\n"
				 "3: .long 0, 0\n\t"
				 ".quad 1f, 2f - 1f, 4f\n\t"
				 ".popsection\n\t"
				 "lea 3b(%%rip), %%rax\n\t"
				 "mov %%rax, %[cs]\n"
				 "1: mov $0x7fffffff, %%ecx\n"
				 "5: dec %%ecx\n\t"
				 "jnz 5b\n"
				 "2: movq $0, %[cs]\n\t" /* it came to its end */
				 "jmp 6f\n\t"
				 ".byte 0x0f, 0xb9, 0x3d\n\t" /* ud1, as glibc has it */
				 ".long 0x53053053\n"
				 "4: nop\n"
				 "6:\n\t"
				 : [cs] "=m"(own_rseq.rseq_cs)
				 :
				 : "rax", "rcx", "memory", "cc");
		p->rounds++;
		if (own_rseq.rseq_cs)
			fail(p, "the descriptor is still there after an abort");
	}
	return NULL;
}

/* A descriptor that no kernel would accept: the thread waits, and would be killed on its way back. It
 * is never looked at, since waiting is for ever. */
static void *hostile_rseq_thread(void *arg)
{
	struct subject_page *p = arg;

	register_rseq(p);
	own_rseq.rseq_cs = 0x4141414141410000;
	p->is_ready = 1;
	for (;;)
		(void)syscall(SYS_pause);
	return NULL;
}

/* A thread without the registration that glibc makes for its own. */
static void run_in_bare_thread(struct subject_page *p, void *(*fn)(void *))
{
	struct {
		uint64_t ptr;
	} unused;

	(void)unused;
	/* the leader's registration is in the way: end it (glibc keeps it at a fixed offset) */
	extern const ptrdiff_t __rseq_offset __attribute__((__weak__));
	extern const unsigned __rseq_size __attribute__((__weak__));

	if (&__rseq_size && __rseq_size)
		(void)syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1,
			      0x53053053);
	(void)fn(p);
}

static void run_rseq(struct subject_page *p)
{
	run_in_bare_thread(p, rseq_thread);
}

static void run_hostile_rseq(struct subject_page *p)
{
	run_in_bare_thread(p, hostile_rseq_thread);
}

/* clang-format off */
const struct subject subject_kinds[] = {
	{.name = "nanosleep", .run = run_nanosleep},
	{.name = "clock_nanosleep", .run = run_clock_nanosleep},
	{.name = "poll", .run = run_poll},
	{.name = "ppoll", .run = run_ppoll},
	{.name = "select", .run = run_select},
	{.name = "epoll_wait", .run = run_epoll_wait},
	{.name = "epoll_pwait", .run = run_epoll_pwait},
	{.name = "futex", .run = run_futex},
	{.name = "semtimedop", .run = run_semtimedop},
	{.name = "sigtimedwait", .run = run_sigtimedwait},
	{.name = "recv with SO_RCVTIMEO", .run = run_recv_timeout},
	{.name = "epoll_wait for ever", .run = run_epoll_for_ever, .is_idle = true},
	{.name = "pipe read for ever", .run = run_pipe_for_ever, .is_idle = true},
	{.name = "inotify read for ever", .run = run_inotify_for_ever, .is_idle = true},
	{.name = "msgrcv for ever", .run = run_msgrcv_for_ever, .is_idle = true},
	{.name = "sigsuspend for ever", .run = run_pause_for_ever, .is_idle = true},
	{.name = "stopped by SIGSTOP", .run = run_stopped, .is_idle = true, .is_stopped = true},
	{.name = "registers", .run = run_registers},
	{.name = "200 threads", .run = run_threads},
	{.name = "thread storm", .run = run_thread_storm},
	{.name = "fork storm", .run = run_fork_storm},
	{.name = "posix_spawn storm", .run = run_spawn_storm},
	{.name = "signal storm", .run = run_signal_storm},
	{.name = "tiny stack", .run = run_tiny_stack},
	{.name = "restartable sequence", .run = run_rseq},
	{.name = "hostile rseq descriptor", .run = run_hostile_rseq, .is_idle = true},
	{.name = NULL},
};
/* clang-format on */

/* ---- for the test */

static char process_state(pid_t pid)
{
	char path[64], line[512], state = '?';
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 'X';
	if (fgets(line, sizeof(line), f) && strrchr(line, ')'))
		state = strrchr(line, ')')[2];
	(void)fclose(f);
	return state;
}

int subject_start(struct subject *s, bool may_be_interrupted)
{
	s->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->page == MAP_FAILED)
		return -1;
	s->page->may_be_interrupted = may_be_interrupted;
	s->pid = fork();
	if (s->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)signal(SIGUSR2, SIG_DFL);
		s->run(s->page);
		_exit(99);
	}
	for (int i = 0; i < 5000 && s->pid > 0; i++) {
		if (s->page->is_ready && (!s->is_stopped || process_state(s->pid) == 'T'))
			return 0;
		usleep(1000);
	}
	return -1;
}

bool subject_is_well(const struct subject *s)
{
	char state = process_state(s->pid);

	if (state == 'X' || state == 'Z' || s->page->failed)
		return false;
	/* a stopped process that is let go wakes up for a moment to stop again */
	for (int i = 0; i < 100 && s->is_stopped && state != 'T'; i++) {
		usleep(1000);
		state = process_state(s->pid);
	}
	return !s->is_stopped == !(state == 'T');
}

void subject_end(struct subject *s)
{
	if (s->pid > 0) {
		(void)kill(s->pid, SIGKILL);
		(void)waitpid(s->pid, NULL, 0);
	}
	if (s->page && s->page != MAP_FAILED)
		(void)munmap(s->page, 4096);
	s->page = NULL;
}

int subject_count_fds(pid_t pid)
{
	char path[64];
	int nr = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		nr++;
	if (d)
		(void)closedir(d);
	return nr;
}

int subject_count_maps(pid_t pid)
{
	char path[64], line[512];
	int nr = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		nr++;
	if (f)
		(void)fclose(f);
	return nr;
}
