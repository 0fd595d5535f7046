/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the restoring process hands to the restorer: freestanding code that replaces that process's
 * memory by the program's. Fixed width, no pointers: an address is a uint64_t valid inside the zone,
 * the one area that survives.
 */
#ifndef RESTORER_PROTO_H
#define RESTORER_PROTO_H

#include <stdint.h>

#define RESTORER_NSIG	   64
#define RESTORER_NLIMITS   16
#define RESTORER_SIGINFO   128
#define RESTORER_STACK	   16384
#define RESTORER_PAGE	   4096
#define RESTORER_NR_SPECULATION 3
#define RESTORER_MAX_TIDS  5

/* Where a failure happened; restore/failure.c has the words. Never renumber. */
enum restorer_step {
	RESTORER_STEP_NONE = 0,
	RESTORER_STEP_PARK_VDSO,
	RESTORER_STEP_UNMAP,
	RESTORER_STEP_MOVE,
	RESTORER_STEP_LOCK,
	RESTORER_STEP_PLACE_VDSO,
	RESTORER_STEP_SET_MM,
	RESTORER_STEP_SIGACTION,
	RESTORER_STEP_THREAD,
	RESTORER_STEP_TIMER,
	RESTORER_STEP_SIGNAL,
	RESTORER_STEP_NAME,
	RESTORER_STEP_ALTSTACK,
	RESTORER_STEP_ROBUST_LIST,
	RESTORER_STEP_RSEQ,
	RESTORER_STEP_SCHED,
	RESTORER_STEP_PERSONALITY,
	RESTORER_STEP_CREDS,
	RESTORER_STEP_CAPS,
	RESTORER_STEP_PRCTL,
	RESTORER_STEP_RLIMIT,
	RESTORER_STEP_SEAL,
	RESTORER_STEP_PIDS,
	RESTORER_STEP_SECCOMP,
	RESTORER_STEP_PLACE,
	RESTORER_STEP_FILE_LOCK,
};

enum restorer_pid_state { RESTORER_PID_IDLE, RESTORER_PID_ASKED, RESTORER_PID_FAILED, RESTORER_PID_OVER };

/* Shared by every process of the tree being restored and by the builder. */
struct restorer_control {
	uint32_t ready;	 /* futex: threads that have finished */
	uint32_t failed; /* 0, or 1 from the moment `failure` is being filled */
	uint32_t failure_step;
	int32_t failure_errno;
	int32_t failure_tid;
	uint32_t never; /* futex nobody wakes: finished threads wait here for the builder */
	uint32_t nr_threads; /* `ready` at the end; by the builder, before there is any process */
	/* Two gates, futexes that the builder sets to 1, and who waits behind them: threads that are to
	 * be confined by seccomp, until they are traced; leaders that end, until everybody is ready. */
	uint32_t confine_gate, nr_confined;
	uint32_t leader_gate, nr_ended; /* nr_ended: leaders that have ended */
	/* Futexes of restore/pids.c: who holds `pid_lock` has `pid_wanted` made the next id to be given, by
	 * setting pid_state to asked and waiting for the end of that. */
	uint32_t pid_lock, pid_state; /* enum restorer_pid_state */
	int32_t pid_wanted;
	uint64_t failure_info;
};

struct restorer_range {
	uint64_t start, end;
};

struct restorer_move {
	uint64_t from, to, len;
	uint64_t advice; /* of enum vma_flags: LOCKED, LOCKONFAULT, SEALED; all else was done at the staging */
};

/* A kernel mapping (vDSO, vvar): moved out of the way first, then to its place. */
struct restorer_special {
	uint64_t from, park, to, len;
};

struct restorer_sigaction {
	uint64_t handler, flags, restorer, mask;
};

struct restorer_timer {
	int32_t id, clock, notify, signo, notify_tid, reserved;
	uint64_t sigval;
	int64_t value_ns, interval_ns;
};

/* A POSIX record lock: F_SETLK. */
struct restorer_lock {
	int64_t start, len;
	int32_t fd;
	int16_t type, reserved;
	uint32_t index; /* for the message */
	uint32_t reserved2;
};

struct restorer_itimer {
	int64_t interval_us, value_us;
};

/* How much of struct restorer_creds is set. */
enum restorer_creds_mode {
	RESTORER_CREDS_KEEP = 0, /* nothing: the process has them by birth */
	RESTORER_CREDS_CAPS = 1, /* capabilities: a user namespace gave more than there were */
	RESTORER_CREDS_ALL = 2,
};

#define RESTORER_KEEP_GROUPS UINT32_MAX

struct restorer_creds {
	uint32_t mode; /* enum restorer_creds_mode */
	uint32_t ruid, euid, suid, fsuid, rgid, egid, sgid, fsgid;
	uint32_t nr_groups; /* or RESTORER_KEEP_GROUPS */
	uint64_t groups; /* uint32_t[] */
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint32_t securebits, no_new_privs;
};

/* One seccomp filter: struct sock_fprog. */
struct restorer_filter {
	uint64_t insns; /* struct sock_filter[] */
	uint32_t nr_insns, flags;
};

struct restorer_thread {
	uint64_t args; /* the struct restorer_args it belongs to */
	uint64_t stack_top;
	int32_t tids[RESTORER_MAX_TIDS]; /* in its own pid namespace first, then in outer ones */
	uint32_t nr_tids;
	int32_t placed_tid; /* in the outermost namespace, where it cannot be chosen; 0: it is in tids */
	uint32_t altstack_flags;
	uint64_t altstack_sp, altstack_size;
	uint64_t robust_list, robust_list_len, clear_child_tid;
	uint64_t rseq_ptr;
	uint32_t rseq_len, rseq_sig;
	uint8_t sched_attr[56]; /* struct sched_attr of <linux/sched/types.h> */
	uint64_t affinity;	/* bytes, 0 for none */
	uint32_t affinity_len;
	uint32_t ioprio;
	uint64_t timerslack_ns;
	uint32_t pdeath_signal;
	uint32_t personality;
	uint32_t mce_kill, tsc_mode, io_flusher;
	uint32_t nr_pending;
	uint64_t pending; /* RESTORER_SIGINFO bytes each */
	char comm[16];
	uint64_t policy_nodes; /* set_mempolicy(2) */
	uint32_t policy_mode;  /* 0: none */
	uint32_t reserved2;
	struct restorer_creds creds;
	/* a timed system call to sleep in while waiting, so that the kernel holds the rest of its
	 * time-out when the builder interrupts it; timed_nr < 0 for none */
	int64_t timed_nr;
	uint64_t timed_args[6];
	int64_t timed_result; /* what it returned when it came to an end by itself */
	uint32_t is_timed_done;
	uint32_t seccomp_mode; /* SECCOMP_MODE_* */
	uint32_t speculation[RESTORER_NR_SPECULATION];
	uint32_t umask;		/* with cwd */
	uint64_t cwd, root;	/* paths when it has a place of its own, else 0; root 0: that of the others */
	uint64_t filters, nr_filters; /* uint32_t[]: indices into the process's, oldest first */
};

struct restorer_args {
	uint64_t control; /* struct restorer_control */
	uint64_t zone, zone_len;
	uint64_t task_size; /* end of the address space */
	uint64_t ranges, nr_ranges;	/* struct restorer_range: not to be unmapped, ascending */
	uint64_t moves, nr_moves;	/* struct restorer_move */
	uint64_t specials, nr_specials; /* struct restorer_special */
	uint64_t threads, nr_threads;	/* struct restorer_thread; the leader is the first */
	/* struct restorer_thread of a leader that ends as its last step, 0 when it lives; it is not one of
	 * `threads` then. leader_lives is a futex: the kernel makes it 0 at its end. */
	uint64_t leader;
	uint32_t leader_exit_code, leader_lives;
	uint64_t timers, nr_timers;	/* struct restorer_timer */
	uint64_t pending, nr_pending;	/* process-wide signals */
	uint64_t filters;		/* struct restorer_filter[] */
	uint64_t locks, nr_locks;	/* struct restorer_lock[]: to be taken when nothing is closed any more */
	uint64_t process_index;		/* for the message about a lock */
	uint64_t mm_map, mm_map_len;	/* struct prctl_mm_map */
	uint64_t rlimits;		/* struct { cur, max } [RESTORER_NLIMITS] */
	uint32_t rlimits_mask;		/* which of them to set */
	uint32_t has_timer_restore;	/* PR_TIMER_CREATE_RESTORE_IDS works */
	int32_t exe_fd;			/* closed when used */
	int32_t pids_for_children_fd;	/* for setns(), closed then; -1: none */
	uint32_t nr_set; /* futex: threads that have their ids, a leader that ends among them */
	int32_t parent; /* as getppid() tells it; by the restorer */
	uint32_t dumpable, child_subreaper;
	uint32_t thp_disable; /* as PR_GET_THP_DISABLE gives it: 1 and the flags */
	uint32_t lock_future; /* MCL_* */
	uint32_t mdwe, memory_merge;
	/* all threads have the same filters: the first installs them for all, which keeps them shared;
	 * has_filters is a futex that tells the others */
	uint32_t syncs_filters, has_filters, reserved;
	struct restorer_sigaction sigactions[RESTORER_NSIG];
	struct restorer_itimer itimers[3];
};

#endif
