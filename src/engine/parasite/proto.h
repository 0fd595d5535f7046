/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine and the code it puts into a process say to each other. Fixed-width, no pointers;
 * seen by freestanding code. */
#ifndef PARASITE_PROTO_H
#define PARASITE_PROTO_H

#include <stdint.h>

#define PARASITE_NSIG 64
#define PARASITE_MAX_TIMERS 4096
#define PARASITE_NR_SPECULATION 3

struct parasite_sigaction {
	uint64_t handler, flags, restorer, mask;
};
_Static_assert(sizeof(struct parasite_sigaction) == 32, "wire size");

struct parasite_itimer {
	int64_t interval_us, value_us;
};

/* State of a process that only itself can read. */
struct parasite_task {
	struct parasite_sigaction sigactions[PARASITE_NSIG]; /* [0] is signal 1 */
	struct parasite_itimer itimers[3];
	uint32_t dumpable;	  /* PR_GET_DUMPABLE */
	uint32_t child_subreaper; /* PR_GET_CHILD_SUBREAPER */
	uint32_t thp_disable;	  /* PR_GET_THP_DISABLE: 1, and flags */
	uint32_t umask;
	uint64_t brk; /* current program break */
	uint64_t file_limit; /* RLIMIT_FSIZE: bytes, all ones for none */
	uint32_t nr_auxv_bytes;
	uint32_t mdwe;		  /* PR_GET_MDWE: PR_MDWE_* */
	uint32_t memory_merge;	  /* PR_GET_MEMORY_MERGE */
	uint32_t pkeys;		  /* bit n: protection key n is allocated, n > 0 */
	uint8_t auxv[1024]; /* PR_GET_AUXV when there; else nr_auxv_bytes is 0 */
};

/* State of a thread that only itself can read. */
struct parasite_thread {
	int32_t tid;
	uint32_t altstack_flags;
	uint64_t altstack_sp, altstack_size;
	uint64_t clear_child_tid; /* PR_GET_TID_ADDRESS */
	uint32_t pdeath_signal;
	uint32_t securebits;
	uint32_t mce_kill;
	uint32_t tsc_mode;
	uint32_t io_flusher;
	/* /proc shows the last three as well, but asking inside is much cheaper */
	uint32_t personality;
	uint32_t speculation[PARASITE_NR_SPECULATION]; /* PR_GET_SPECULATION_CTRL, each kind */
	uint32_t policy_mode; /* set_mempolicy(2), with its MPOL_F_*; 0: none */
	uint64_t timerslack_ns; /* 0: unknown */
	char comm[16];
	uint64_t policy_nodes;
};

/* NUMA policy of the mapping at addr (mbind(2)). */
struct parasite_policy {
	uint64_t addr, nodes;
	uint32_t mode; /* with its MPOL_F_*; 0: none */
	uint32_t reserved;
};

/* Values of one POSIX timer of the list in /proc/PID/timers: timer_gettime, timer_getoverrun. */
struct parasite_timer {
	int32_t id;
	int32_t overrun;
	int64_t value_ns, interval_ns;
};

/* What is queued in a pseudo-terminal: an input queue of PARASITE_PTY_QUEUE bytes on each side, and
 * what the kernel keeps before it (drivers/tty/pty.c: 8192 bytes, and up to a page more). */
#define PARASITE_PTY_QUEUE 4095
#define PARASITE_PTY_LINES 12288
#define PARASITE_PTY_BYTES 20000

enum parasite_pty_stopped {
	PARASITE_PTY_RUNS,
	PARASITE_PTY_STOPPED_BY_CHAR, /* usually CONTROL-S */
	PARASITE_PTY_STOPPED_BY_FLOW, /* tcflow(3) */
};

struct parasite_pty {
	uint32_t nr_lines;   /* complete lines at the start of the input: canonical mode */
	uint32_t input_len;  /* for the slave to read */
	uint32_t output_len; /* for the master to read */
	uint32_t stopped;    /* how the output is: enum parasite_pty_stopped */
	uint16_t lines[PARASITE_PTY_LINES]; /* lengths; see tty_refill.h */
	uint8_t input[PARASITE_PTY_BYTES];
	uint8_t output[PARASITE_PTY_BYTES];
};
_Static_assert(sizeof(struct parasite_pty) <= 65536, "fits into the parasite's buffer");

#endif
