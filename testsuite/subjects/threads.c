/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that differ in everything a thread has of its own. */
#include "subject.h"

#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR 12

static __thread uint64_t tls_value;
static __thread char tls_text[64];
static pthread_barrier_t built;

struct mine {
	pid_t tid;
	char name[16];
	sigset_t mask;
	cpu_set_t cpus;
	int nice, policy, ioprio, slack_ns;
	uint64_t tls;
	char text[64];
};

static void observe(struct mine *m)
{
	memset(m, 0, sizeof(*m));
	m->tid = (pid_t)syscall(SYS_gettid);
	CHECK(prctl(PR_GET_NAME, m->name) == 0);
	CHECK(pthread_sigmask(SIG_BLOCK, NULL, &m->mask) == 0);
	CHECK(sched_getaffinity(0, sizeof(m->cpus), &m->cpus) == 0);
	m->nice = getpriority(PRIO_PROCESS, 0);
	m->policy = sched_getscheduler(0);
	m->ioprio = (int)syscall(SYS_ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, 0);
	m->slack_ns = prctl(PR_GET_TIMERSLACK);
	m->tls = tls_value;
	memcpy(m->text, tls_text, sizeof(m->text));
}

static void become(unsigned n)
{
	struct sched_param sp = {0};
	char name[16];
	cpu_set_t cpus;
	sigset_t mask;

	(void)snprintf(name, sizeof(name), "we ird)%u(", n);
	CHECK(prctl(PR_SET_NAME, name) == 0);
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGRTMIN + (int)n);
	CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
	CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	if (n % 2 && CPU_COUNT(&cpus) > 1) {
		CPU_ZERO(&cpus);
		CPU_SET((unsigned)sched_getcpu(), &cpus);
		CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
	}
	CHECK(setpriority(PRIO_PROCESS, 0, (int)n) == 0);
	if (n % 3 == 1)
		CHECK(sched_setscheduler(0, SCHED_BATCH, &sp) == 0);
	CHECK(syscall(SYS_ioprio_set, 1, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, (int)n % 8)) == 0);
	CHECK(prctl(PR_SET_TIMERSLACK, 60000ul + n) == 0);
	tls_value = 0xabcdef00u + n;
	(void)snprintf(tls_text, sizeof(tls_text), "thread-local text %u", n);
}

static void *run(void *arg)
{
	struct mine before, after;

	become((unsigned)(uintptr_t)arg);
	observe(&before);
	(void)pthread_barrier_wait(&built);
	subject_wait_go();
	observe(&after);
	if (before.tid != after.tid)
		subject_bad("tid %d became %d", before.tid, after.tid);
	if (strcmp(before.name, after.name) != 0)
		subject_bad("name '%s' became '%s'", before.name, after.name);
	CHECK(memcmp(&before.mask, &after.mask, 8) == 0);
	CHECK(CPU_EQUAL(&before.cpus, &after.cpus));
	CHECK(before.nice == after.nice);
	CHECK(before.policy == after.policy);
	CHECK(before.ioprio == after.ioprio);
	CHECK(before.slack_ns == after.slack_ns);
	CHECK(before.tls == after.tls);
	CHECK(strcmp(before.text, after.text) == 0);
	return arg;
}

int main(void)
{
	pthread_t t[NR], late;
	void *ret;
	unsigned i;

	subject_init();
	CHECK(pthread_barrier_init(&built, NULL, NR + 1) == 0);
	for (i = 0; i < NR; i++)
		CHECK(pthread_create(&t[i], NULL, run, (void *)(uintptr_t)(i + 1)) == 0);
	(void)pthread_barrier_wait(&built);
	subject_ready();
	subject_wait_go();
	for (i = 0; i < NR; i++) {
		CHECK(pthread_join(t[i], &ret) == 0); /* needs clear_child_tid */
		CHECK(ret == (void *)(uintptr_t)(i + 1));
	}
	CHECK(pthread_barrier_init(&built, NULL, 1) == 0);
	CHECK(pthread_create(&late, NULL, run, (void *)(uintptr_t)3) == 0); /* and new ones work */
	CHECK(pthread_join(late, NULL) == 0);
	subject_ok();
}
