/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The page that every process of a restart sees: who failed first, who has arrived where. */
#include "restore/restore_priv.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	POLL_NS = 200000000,
	WAKE_ALL = 0x7fffffff,
	WRITE_POLL_NS = 1000000,
	MAX_WRITE_POLLS = 1000,
};

int shared_create(struct restore *r, struct stasis_error *err)
{
	size_t page = (size_t)r->s->caps.page_size;
	size_t len = sizeof(*r->shared) + r->nr * sizeof(r->shared->slots[0]);

	len = (len + page - 1) & ~(page - 1);
	r->shared = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->shared == MAP_FAILED) {
		r->shared = NULL;
		return stasis_fail_errno(err, STASIS_E_NOMEM, "shared page");
	}
	r->shared_len = len;
	return 0;
}

void shared_destroy(struct restore *r)
{
	if (r->shared)
		(void)munmap(r->shared, r->shared_len);
	r->shared = NULL;
}

void shared_wake(uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, WAKE_ALL, NULL, NULL, 0);
}

static void wake_everybody(struct restore *r)
{
	shared_wake(&r->shared->control.ready);
	shared_wake(&r->shared->arrived[0]);
	shared_wake(&r->shared->arrived[1]);
	shared_wake(&r->shared->control.nr_confined);
	shared_wake(&r->shared->control.nr_ended);
	shared_wake(&r->shared->stand_in_gate);
	shared_wake(&r->shared->nr_stand_ins_off);
	shared_wake(&r->shared->outcome);
}

void shared_fail(struct restore *r, const struct stasis_error *err)
{
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(&r->shared->error_state, &none, 1, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST)) {
		r->shared->error = *err;
		__atomic_store_n(&r->shared->error_state, 2, __ATOMIC_SEQ_CST);
	}
	wake_everybody(r);
}

bool shared_has_failed(const struct restore *r)
{
	return __atomic_load_n(&r->shared->error_state, __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&r->shared->control.failed, __ATOMIC_SEQ_CST);
}

static const char *step_words(uint32_t step)
{
	static const char *const words[] = {
		[RESTORER_STEP_NONE] = "nothing",
		[RESTORER_STEP_PARK_VDSO] = "move the vDSO away",
		[RESTORER_STEP_UNMAP] = "unmap the restorer's memory",
		[RESTORER_STEP_MOVE] = "move memory into place",
		[RESTORER_STEP_LOCK] = "lock memory",
		[RESTORER_STEP_PLACE_VDSO] = "place the vDSO",
		[RESTORER_STEP_SET_MM] = "set the memory descriptor (PR_SET_MM_MAP)",
		[RESTORER_STEP_SIGACTION] = "set a signal handler",
		[RESTORER_STEP_THREAD] = "create a thread",
		[RESTORER_STEP_TIMER] = "create a POSIX timer",
		[RESTORER_STEP_SIGNAL] = "queue a pending signal",
		[RESTORER_STEP_NAME] = "set the thread's name",
		[RESTORER_STEP_ALTSTACK] = "set the alternate signal stack",
		[RESTORER_STEP_ROBUST_LIST] = "set the robust futex list",
		[RESTORER_STEP_RSEQ] = "register restartable sequences",
		[RESTORER_STEP_SCHED] = "set scheduling policy and nice value",
		[RESTORER_STEP_PERSONALITY] = "set the personality",
		[RESTORER_STEP_CREDS] = "set user and group ids",
		[RESTORER_STEP_CAPS] = "set capabilities",
		[RESTORER_STEP_PRCTL] = "prctl",
		[RESTORER_STEP_RLIMIT] = "set a resource limit",
		[RESTORER_STEP_SEAL] = "seal memory",
		[RESTORER_STEP_PIDS] = "set the pid namespace of its children",
		[RESTORER_STEP_SECCOMP] = "install a seccomp filter",
		[RESTORER_STEP_PLACE] = "enter the working directory of a thread",
		[RESTORER_STEP_FILE_LOCK] = "take a record lock",
	};

	return step < sizeof(words) / sizeof(words[0]) && words[step] ? words[step] : "restorer";
}

/* Somebody took it after the master had looked. */
static int fail_lock(const struct restore *r, const struct restorer_control *c, struct stasis_error *err)
{
	const struct restore_proc *p = &r->procs[(c->failure_info >> 32) % r->nr];
	char words[180];

	fd_describe_lock(p->image, p->fdtable, (uint32_t)c->failure_info, words, sizeof(words));
	if (c->failure_errno == EAGAIN)
		return stasis_fail(err, STASIS_E_BUSY, "%s(%u): %s was just taken by somebody else",
				   p->process->comm, p->process->pid, words);
	errno = c->failure_errno;
	return stasis_fail_errno(err, STASIS_E_IO, "%s(%u): %s", p->process->comm, p->process->pid,
				 words);
}

int shared_error(struct restore *r, struct stasis_error *err)
{
	const struct timespec poll = {.tv_nsec = WRITE_POLL_NS};
	const struct restorer_control *c = &r->shared->control;

	/* somebody is just writing it; a writer that was killed would never get done */
	for (int i = 0; i < MAX_WRITE_POLLS &&
			__atomic_load_n(&r->shared->error_state, __ATOMIC_SEQ_CST) == 1;
	     i++)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &poll, NULL);
	if (__atomic_load_n(&r->shared->error_state, __ATOMIC_SEQ_CST) == 2) {
		if (err)
			*err = r->shared->error;
		return -1;
	}
	if (__atomic_load_n(&c->failed, __ATOMIC_SEQ_CST)) {
		bool is_busy = c->failure_step == RESTORER_STEP_THREAD && c->failure_errno == EEXIST;

		if (c->failure_step == RESTORER_STEP_FILE_LOCK)
			return fail_lock(r, c, err);
		errno = c->failure_errno;
		return stasis_fail_errno(err, is_busy ? STASIS_E_BUSY : STASIS_E_IO,
					 "thread %d: %s (0x%llx)", c->failure_tid,
					 step_words(c->failure_step),
					 (unsigned long long)c->failure_info);
	}
	return stasis_fail(err, STASIS_E_INTERNAL, "a process of the tree ended while being restarted");
}

int shared_wait_for(struct restore *r, uint32_t *word, uint32_t want)
{
	const struct timespec poll = {.tv_nsec = POLL_NS};
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_SEQ_CST)) < want) {
		if (shared_has_failed(r))
			return -1;
		(void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &poll, NULL, 0);
	}
	return shared_has_failed(r) ? -1 : 0;
}
