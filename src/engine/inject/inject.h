/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef INJECT_INJECT_H
#define INJECT_INJECT_H

#include "parasite/proto.h"
#include "parasite/tty_refill.h"
#include "tree/tree.h"

/*
 * Load the parasite into a stopped process and start it in the leader (it serves requests on a socket
 * pair; the other threads stay stopped). If this engine dies at any moment, the parasite sees end of
 * file, removes itself and the program goes on where it was.
 * Sets task->inject; tree_resume() removes it.
 */
int inject_open(struct session *s, struct task *t, struct stasis_error *err);

/* Is there something about a stopped thread for which no code of ours can run in it? UNSUPPORTED, with
 * the way out. Of filters that confine it nothing is said here. may_shadow: as in struct caps. */
int inject_check_thread(struct thread *th, bool may_shadow, struct stasis_error *err);

/* Same for many tasks, overlapping their start-up; skips zombies and tasks already open. */
int inject_open_all(struct session *s, struct tree *tree, struct stasis_error *err);

/* Is a thread of the task still on its way out of a parasite whose engine was killed? Needs the
 * threads' regs. */
bool inject_is_leaving(struct task *t);

/* A process stopped by job control does not leave by itself: let those threads run until they are
 * out. Its regs are stale afterwards: resume the tree and stop it again. */
void inject_help_leave(struct task *t);

/* Where the parasite's memory is; 0: it is not in. */
tracee_addr inject_area(const struct task *t);

/* Remove the parasites of tasks that have one: mapping, descriptors and registers are as before, the
 * tasks still stopped. */
void inject_close(struct task *const *tasks, size_t nr);

/* State that only the process itself can read: see struct parasite_task and parasite_thread (one per
 * thread, in the order of task->threads). Owned by the inject object, valid until inject_close().
 * What comes back is checked for range and is otherwise untrusted. */
int inject_collect(struct task *t, const struct parasite_task **ret_task,
		   const struct parasite_thread **ret_threads, struct stasis_error *err);

/* Ask a task with one thread for it ahead, and for the NUMA policies of mappings: it puts the answer together
 * while the caller does something else. Those with more threads are left alone. Only the first policies, if
 * there are many. */
int inject_collect_ahead(struct task *t, const tracee_addr *mappings, size_t nr, struct stasis_error *err);

/* Values of the POSIX timers with the given ids (from /proc/PID/timers), in the same order. */
int inject_timers(struct task *t, const int32_t *ids, size_t nr, struct parasite_timer *ret,
		  struct stasis_error *err);

/* NUMA policies of mappings: addr is given, the rest filled in. Their count is not limited. */
int inject_policies(struct task *t, struct parasite_policy *list, size_t nr, struct stasis_error *err);

/* A run of pages to be written into a file. */
struct page_run {
	tracee_addr addr;
	uint64_t len;	 /* bytes, whole pages */
	uint64_t offset; /* in the file */
};

/*
 * Have the process write runs of its own memory to file_fd (ours; passed over the socket and closed
 * there afterwards). ret_digests gets XXH3-64 (seed 0) of each run's bytes.
 * Errors: IO (disk full: sys_errno ENOSPC), INTERNAL when the parasite misbehaves.
 */
int inject_write_runs(struct task *t, int file_fd, const struct page_run *runs, size_t nr,
		      uint64_t *ret_digests, struct stasis_error *err);

/* The same without waiting for the last of it, until inject_write_end(): all that is given must stay. */
int inject_write_begin(struct task *t, int file_fd, const struct page_run *runs, size_t nr,
		       uint64_t *ret_digests, struct stasis_error *err);
int inject_write_end(struct task *t, struct stasis_error *err);

/* Which pages of [addr, addr + len) are in core (mincore(2)): one byte per page. */
int inject_mincore(struct task *t, tracee_addr addr, uint64_t len, uint8_t *ret_bytes,
		   struct stasis_error *err);

/* What is queued in a pseudo-terminal of which the process has the master: taken and put back by the
 * process itself, so that it is there whatever happens to this engine. */
int inject_pty(struct task *t, int master, struct parasite_pty *ret, struct stasis_error *err);

/* Execute one system call in the leader; *ret gets its result or -errno. */
int inject_syscall(struct task *t, long nr, const uint64_t args[6], int64_t *ret,
		   struct stasis_error *err);

/* The same with memory: the arguments in `mask` (bit n: args[n]) are offsets in `len` bytes (at most 64 KiB)
 * that are as `data` before the call, and which `data` is afterwards. */
int inject_syscall_data(struct task *t, long nr, const uint64_t args[6], unsigned mask, void *data,
			size_t len, int64_t *ret, struct stasis_error *err);

/* A system call to be made in a thread in ptrace-stop, and what it gave: -errno if it failed. */
struct remote_call {
	pid_t tid;
	long nr;
	uint64_t args[6];
	int64_t result;
};

/*
 * Lower level, for restore (restore/hand_over.c): calls in different threads, all of which make theirs at the
 * same time, at `gadget`, the address of a `syscall` instruction in each of their processes. Afterwards they
 * stand at the exit of the call, their registers changed: set them yourself.
 */
int remote_syscalls_at(struct remote_call *calls, size_t nr, tracee_addr gadget, struct stasis_error *err);

#endif
