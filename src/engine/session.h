/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "lib/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* An address in another process: an integer, so that it cannot be dereferenced by mistake. */
typedef uint64_t tracee_addr;

/* Kernel facts, probed once, read-only afterwards. */
struct caps {
	bool is_root;		 /* CAP_SYS_ADMIN and CAP_SYS_PTRACE in the initial sense: acts for all users */
	bool has_set_tid;	 /* clone3(set_tid) allowed in our own pid namespace */
	bool has_pagemap_scan;	 /* ioctl PAGEMAP_SCAN, Linux 6.7 */
	bool has_map_files;	 /* /proc/PID/map_files may be opened */
	bool has_timer_restore;	 /* PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15 */
	bool may_shadow_stack;	 /* this processor has any: to ask it takes long in a virtual machine */
	bool thp_never;		 /* transparent huge pages are off system-wide */
	uint64_t xcr0;		 /* enabled XSAVE components */
	uint32_t xsave_size;	 /* bytes of a PTRACE_GETREGSET NT_X86_XSTATE area */
	long page_size;
};

/* One operation of the library; the first parameter of whatever may log or ask for a fact. */
struct session {
	struct log_sink log;
	struct caps caps;
	bool is_forced; /* -F */
	/* This look at a tree is not the last one: what will be otherwise in a moment is STASIS_E_BUSY. */
	bool is_patient;
	unsigned external; /* enum stasis_external: what may end outside of the tree */
	/* Restart of a tree with namespaces of its own: be where the process with that pid finds its
	 * files and its network; 0: where we were. NULL: they are ours. */
	int (*enter)(void *arg, pid_t pid, struct stasis_error *err);
	int (*enter_ipc)(void *arg, pid_t pid, struct stasis_error *err); /* the same of its IPC namespace */
	void *enter_arg;
	int procdir; /* restart: the caller's /proc, 0 for none: a namespace may have another, or none */
};

/* To be called before a path of a process's is looked at or opened, or a socket is made for it. */
static inline int session_enter(struct session *s, pid_t pid, struct stasis_error *err)
{
	return s->enter ? s->enter(s->enter_arg, pid, err) : 0;
}

/* To be called before an object of an IPC namespace is looked at or made for it. */
static inline int session_enter_ipc(struct session *s, pid_t pid, struct stasis_error *err)
{
	return s->enter_ipc ? s->enter_ipc(s->enter_arg, pid, err) : 0;
}

/* For an obstacle that the program itself is about to remove. */
static inline enum stasis_errclass session_passing(const struct session *s)
{
	return s->is_patient ? STASIS_E_BUSY : STASIS_E_UNSUPPORTED;
}

int session_init(struct session *s, stasis_log_fn fn, void *arg, enum stasis_log_level level,
		 struct stasis_error *err);

#define s_warn(s, ...) log_write(&(s)->log, STASIS_LOG_WARNING, __VA_ARGS__)
#define s_info(s, ...) log_write(&(s)->log, STASIS_LOG_INFO, __VA_ARGS__)
#define s_debug(s, ...) log_write(&(s)->log, STASIS_LOG_DEBUG, __VA_ARGS__)

#endif
