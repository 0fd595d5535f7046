/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parasite's memory and its requests: between inject/ and parasite/ only. Addresses are those of
 * the process. Sizes and offsets that the assembler needs are asserted in main.c. */
#ifndef PARASITE_WIRE_H
#define PARASITE_WIRE_H

#include "parasite/proto.h"

#define WIRE_MAGIC	    0x53495331 /* "1SIS": version of everything in this file */
#define WIRE_MINCORE_PAGES  65536
#define WIRE_BUFFER_BYTES   65536 /* requests and answers too big for a message */
#define WIRE_STACK_BYTES    16384
#define WIRE_THREAD_BYTES   1024 /* struct wire_thread and the thread's stack above it */

/* First bytes of the blob; offsets are from its start. */
struct wire_blob {
	uint32_t magic;
	uint32_t leader_entry; /* argument: struct wire_area */
	uint32_t thread_entry; /* argument: struct wire_thread */
	uint32_t fault_entry;  /* the leader goes on here when its memory faults under it */
};

/* Of the leader; all but what is marked is set by the engine before the leader starts. */
struct wire_area {
	uint64_t xsave;	     /* offset 0: 64-byte aligned, header zero */
	uint64_t stack_top;  /* offset 8 */
	uint64_t pad_unmap;  /* offset 16: way out of the leader, pad_code.S */
	uint64_t pad_leave;  /* offset 24 */
	uint64_t start, len; /* offset 32, 40: what to unmap */
	uint64_t guard_sp;   /* offset 48: set while reading memory that may fault; by the parasite */
	uint64_t buffer;     /* WIRE_BUFFER_BYTES */
	uint64_t threads;    /* struct wire_thread, each WIRE_THREAD_BYTES */
	uint32_t nr_threads;
	uint32_t has_fast_hash;
	int32_t socks[2];    /* 0: the engine's end, 1: ours; by the parasite */
	uint32_t nr_running; /* threads sent in by the engine and not yet all back: see leader_cure() */
	uint32_t nr_done;    /* futex: threads that have filled their result; by the parasite */
	uint32_t is_over;    /* futex: the engine died, go home; by the parasite */
	int32_t open_error;  /* of socketpair; by the parasite */
	struct parasite_task task; /* result of WIRE_OP_TASK */
	uint64_t moving, moving_len; /* the leader's rseq area: the kernel writes there meanwhile */
	uint64_t may_gather;	     /* pwritev(2) is no call that a seccomp filter may kill for */
};

struct wire_thread {
	uint64_t stack_top;  /* offset 0 */
	uint64_t pad_leave;  /* offset 8: way out of this thread, its own pad */
	uint64_t area;	     /* struct wire_area */
	uint32_t has_entered; /* by the thread */
	uint32_t has_left;    /* by the last but one instruction of its pad, or by the engine */
	struct parasite_thread result;
};

enum wire_op {
	WIRE_OP_TASK = 1,  /* fill area.task and the first thread's result; and WIRE_OP_POLICIES */
	WIRE_OP_WAIT,	   /* until a[0] threads are done */
	WIRE_OP_WRITE,	   /* a[0] runs in the buffer into the descriptor that comes along */
	WIRE_OP_TIMERS,	   /* a[0] ids in the buffer, replaced by the values */
	WIRE_OP_MINCORE,   /* a[0] address, a[1] bytes; the answer is in the buffer */
	WIRE_OP_SYSCALL,   /* nr, a[] */
	WIRE_OP_POLICIES,  /* a[0] addresses in the buffer (struct parasite_policy), filled in */
	WIRE_OP_PTY,	   /* a[0] a pseudo-terminal's master; struct parasite_pty in the buffer */
};

struct wire_request {
	uint32_t op;
	uint32_t seq; /* comes back in the answer */
	int64_t nr;
	uint64_t a[6];
};

struct wire_answer {
	uint32_t seq;
	int32_t error; /* 0 or errno of the request as a whole */
	int64_t result;
};

/* One run in the buffer; the last three are the parasite's answer. */
struct wire_run {
	uint64_t addr, len, offset;
	uint64_t digest;
	uint64_t written; /* less than len when error is set */
	int32_t error;	  /* errno; EFAULT: the memory cannot be read */
	int32_t reserved;
};
_Static_assert(sizeof(struct wire_run) == 48, "wire size");

#define WIRE_RUNS_PER_REQUEST (WIRE_BUFFER_BYTES / sizeof(struct wire_run))

/* One timer in the buffer: id in, the rest out. */
struct wire_timer {
	struct parasite_timer timer;
	int64_t error;
};
_Static_assert(sizeof(struct wire_timer) == 32, "wire size");

#define WIRE_POLICIES_PER_REQUEST (WIRE_BUFFER_BYTES / sizeof(struct parasite_policy))

#define WIRE_TIMERS_PER_REQUEST (WIRE_BUFFER_BYTES / sizeof(struct wire_timer))

#endif
