/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parsers of /proc/PID text. The text is untrusted: a process chooses its name. */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* O_DIRECTORY descriptor of /proc/PID; STASIS_E_GONE when there is no such process. */
int proc_open(pid_t pid, struct stasis_error *err);

/* /proc/PID/stat, fields of proc(5); comm without the parentheses. */
struct proc_stat {
	pid_t pid, ppid, pgrp, session, tpgid;
	char comm[64];
	char state;
	uint32_t tty_nr;
	uint64_t flags; /* PF_*, of which 0x4 is exiting and 0x200 dumping core */
	uint64_t utime_ticks, stime_ticks, cutime_ticks, cstime_ticks;
	int64_t nice;
	int64_t nr_threads;
	uint64_t starttime_ticks;
	uint64_t start_code, end_code, start_stack;
	uint64_t start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end;
	int exit_signal;
	int processor; /* it ran on last */
	int exit_code; /* wait status */
};

/* name: "stat", or "task/TID/stat". */
int proc_read_stat(int procfd, const char *name, struct proc_stat *ret, struct stasis_error *err);

/*
 * Wait, half a second at most, until a process that was let go by its tracer with a stop signal pending
 * or in effect stands still by job control. In between it is in state R for a moment, also to its
 * relatives. Returns at once when it is gone or cannot be read. False: it runs on.
 */
bool proc_await_stopped(int procfd);

#define PROC_MAX_GROUPS 65536
#define PROC_MAX_NS_IDS 33 /* pid namespaces nest 32 deep: MAX_PID_NS_LEVEL */

/* /proc/PID/status. */
struct proc_status {
	uint32_t uid[4], gid[4]; /* real, effective, saved, fs */
	uint32_t nr_groups;
	uint32_t *groups; /* malloc()ed, NULL for none: proc_status_done() */
	pid_t tgid, tracer;
	uint32_t umask;
	bool has_umask;
	uint64_t sig_pnd, shd_pnd, sig_blk, sig_ign, sig_cgt;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	bool no_new_privs;
	uint32_t seccomp; /* mode */
	uint32_t nr_seccomp_filters; /* Linux 5.9 */
	/* pid, process group and session in each pid namespace from that of /proc inwards, its own last
	 * (Linux 4.1); 0 where the group or session is of another namespace */
	uint32_t nr_ns_ids;
	pid_t ns_pid[PROC_MAX_NS_IDS], ns_pgid[PROC_MAX_NS_IDS], ns_sid[PROC_MAX_NS_IDS];
	bool core_dumping;
	uint64_t locked_kb; /* of memory */
};
int proc_read_status(int procfd, const char *name, struct proc_status *ret,
		     struct stasis_error *err);
void proc_status_done(struct proc_status *st);

/* Numeric names in a folder of /proc ("task", "fd"), ascending; malloc()ed. */
int proc_list_numbers(int procfd, const char *name, int **ret, size_t *ret_nr,
		      struct stasis_error *err);

/* Does a descriptor of that process refer to this inode? */
struct stat;
bool proc_has_open(int procfd, const struct stat *inode);

/*
 * /proc/PID/timens_offsets: what CLOCK_MONOTONIC and CLOCK_BOOTTIME of the time namespace, in which the
 * process's children will be, are ahead of the machine's. Zeros on a kernel without such namespaces
 * (they came with Linux 5.6).
 */
struct proc_timens {
	int64_t monotonic_ns, boottime_ns;
};
int proc_read_timens(int procfd, struct proc_timens *ret, struct stasis_error *err);

/* A field of mountinfo in place: spaces and the like are written there as \040. */
void proc_unescape(char *field);

/* readlink into malloc()ed memory. */
char *proc_readlink(int procfd, const char *name, struct stasis_error *err);

/*
 * What a link of /proc/PID/ns says, as "mnt:[4026531841]": processes for which it says the same are in the
 * same namespace. Costs half of a stat(2) of it.
 *
 *   name  "ns/mnt"
 *
 * Returns false, and an empty text, when it leads nowhere or may not be read.
 */
enum { PROC_NS_BYTES = 48 };
bool proc_read_ns(int procfd, const char *name, char ret[PROC_NS_BYTES]);

#endif
