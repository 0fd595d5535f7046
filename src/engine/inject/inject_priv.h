/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef INJECT_INJECT_PRIV_H
#define INJECT_INJECT_PRIV_H

#include "inject/inject.h"
#include "parasite/wire.h"

#include <stddef.h>

/* Where things are in the parasite's area, offsets from its start. What comes before `data` is only
 * executed, what comes after is only written, so that they can be protected apart. */
struct layout {
	size_t pads; /* one for each thread but the leader */
	size_t pad_stride;
	size_t data; /* struct wire_area */
	size_t xsave;
	size_t stack_top;
	size_t buffer;
	size_t threads; /* struct wire_thread, one for each thread, the leader too */
	size_t len;
};

enum inject_phase {
	INJECT_NOTHING,	  /* the leader is where it was */
	INJECT_AT_PAD,	  /* its registers are in the pad, no area yet */
	INJECT_IN_AREA,	  /* the area is there; the leader is stopped in pad or parasite */
	INJECT_SERVING,	  /* the parasite answers requests */
	INJECT_LOST,	  /* the process has ended */
};

struct inject {
	struct session *s;
	struct task *t;
	enum inject_phase phase;
	tracee_addr pad;
	bool has_pad; /* it is written and must be wiped */
	bool has_suspended_seccomp;
	tracee_addr area; /* 0: none */
	struct layout at;
	bool is_written; /* the area holds what the engine wrote, not zeros */
	int sock;	/* ours, -1: none */
	int its_socks[2]; /* numbers in the process: our end as it was, and its own; -1: not known */
	bool is_stuck;	/* taking it out has failed */
	uint32_t seq;
	size_t nr_inside; /* threads whose registers are in the parasite: 1..nr_inside */
	uint64_t held_signals; /* bit n - 1: signal n came meanwhile and must be sent again */
	bool is_collected;
	struct parasite_task task;
	struct parasite_thread *threads;
	struct parasite_policy *policies; /* asked for ahead, with the state of the task */
	size_t nr_policies;
	/* A request whose answer nobody has waited for yet, and what then is to be done; NULL: none. */
	int (*settle)(struct inject *in, struct stasis_error *err);
	struct inject_writing *writing; /* of that request, see write_runs.c */
};

static inline struct thread *inject_leader(const struct inject *in)
{
	return &in->t->threads[0];
}

/* inject.c: the leader's registers to an entry of the pad, from where it makes a system call. */
int inject_to_pad(struct inject *in, size_t entry, long nr, const uint64_t args[6],
		  struct stasis_error *err);
/* Have the call made, with the area at stake: when we die the area goes. */
int inject_call_in_pad(struct inject *in, long nr, const uint64_t args[6], int64_t *ret,
		       struct stasis_error *err);
/* The mmap for the area has given that result. */
int inject_note_area(struct inject *in, int64_t result, struct stasis_error *err);

/* place.c: room for the pad in executable memory of the process. */
int place_find(struct task *t, tracee_addr *ret, struct stasis_error *err);
bool inject_is_thread_leaving(struct task *t, const struct thread *th);
int place_fill(struct inject *in, struct stasis_error *err);
void place_wipe(struct inject *in);

/* remote.c: a thread between ptrace stops. */
enum remote_stop {
	REMOTE_SYSCALL, /* at the entry or exit of a system call */
	REMOTE_EVENT,	/* the stop that PTRACE_INTERRUPT asks for */
	REMOTE_FAULT,	/* about to get a signal for what its own code did */
};
int remote_wait(struct thread *th, enum remote_stop want, int how, struct stasis_error *err);
int remote_go(struct thread *th, int how, struct stasis_error *err);
int remote_set_regs(struct thread *th, const struct arch_regs *r, struct stasis_error *err);
int remote_get_regs(struct thread *th, struct arch_regs *r, struct stasis_error *err);
int remote_set_mask(struct thread *th, uint64_t mask, struct stasis_error *err);
int remote_interrupt(struct thread *th, struct stasis_error *err);

/* checks.c: what code of ours could not run beside, and seccomp. */
int inject_check(struct inject *in, struct stasis_error *err);
int seccomp_suspend(struct inject *in, struct stasis_error *err);
void seccomp_resume(struct inject *in);

/* request.c. Whatever is asked of the parasite or looked at in its area first waits for the answer to a request
 * made ahead. fd -1: none goes along. Fails with the answer's errno in err->sys_errno. */
int inject_ask(struct inject *in, struct wire_request *req, int fd,
	       int (*settle)(struct inject *in, struct stasis_error *err), struct stasis_error *err);
int inject_settle(struct inject *in, struct stasis_error *err);
void inject_drop(struct inject *in); /* wait for it, and that is all */
int inject_request(struct inject *in, struct wire_request *req, int fd, int64_t *ret_result,
		   struct stasis_error *err);
int inject_read(struct inject *in, size_t offset, void *to, size_t len, struct stasis_error *err);
int inject_write(struct inject *in, size_t offset, const void *from, size_t len,
		 struct stasis_error *err);

/* collect.c: take threads out of the parasite again. */
void threads_bring_home(struct inject *in);

#endif
