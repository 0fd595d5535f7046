/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RESTORE_RESTORE_PRIV_H
#define RESTORE_RESTORE_PRIV_H

#include "arch/arch.h"
#include "image/image.h"
#include "ipc/ipc.h"
#include "memory/memory.h"
#include "ns/ns.h"
#include "resource/resource.h"
#include "restorer/proto.h"

enum {
	RESTORE_MAX_PROCS = 100000,
	RESTORE_MAX_THREADS = 1 << 20,
	RESTORE_MAX_PID = 1 << 22, /* PID_MAX_LIMIT */
	RESTORE_OUTER_SESSION = 0,
};

/* Who creates a process; see birth.c. */
enum birth_by {
	BIRTH_BY_PARENT,	/* its parent, in the session the parent was born in */
	BIRTH_BY_PARENT_LATER,	/* its parent, after the parent's setsid() */
	BIRTH_BY_HELPER,	/* a helper with the pid of the dead session leader */
	BIRTH_BY_SIBLING,	/* a child of the same parent that leads the session */
};

/* One process of the image. Records belong to the image. */
struct restore_proc {
	size_t index;
	size_t parent; /* index; the root's is its own */
	struct image *image;
	const Stasis__Process *process;
	const Stasis__Mm *mm;	       /* NULL for a zombie, as the next two */
	const Stasis__FdTable *fdtable;
	const Stasis__Thread **threads;
	size_t nr_threads;
	bool leads_session;
	enum birth_by birth_by;
	size_t birth_creator;  /* index of the parent, or of the sibling */
	pid_t birth_session;   /* session it must be created in */
	bool owns_group_helper; /* it makes the stand-in for the leader of its process group */
};

/* Progress of one process, seen by all. */
struct restore_slot {
	uint32_t is_created;
	uint32_t is_off; /* a stand-in that is on its own, and may end */
};

/* Memory shared by the caller, the builder and every process until it runs. */
struct restore_shared {
	struct restorer_control control; /* first: the restorer knows only this part */
	uint32_t outcome;		 /* futex: enum restore_outcome */
	uint32_t arrived[2];		 /* futexes: barriers of birth.c */
	uint32_t stand_in_gate, nr_stand_ins_off; /* futexes: see stand_in.c */
	uint32_t error_state;		 /* 0 none, 1 being written, 2 there */
	struct stasis_error error;
	uint32_t nr_helpers; /* pids of stand-ins, for cleaning up */
	int32_t helpers[64];
	struct restore_slot slots[];
};

/* RESTORE_SEEN: done, and the caller knows the root's pid */
enum restore_outcome { RESTORE_PENDING, RESTORE_DONE, RESTORE_SEEN };

enum { VDSO_MAX_MAPS = 8 };

/* The mappings of a kernel's vDSO, ascending. */
struct vdso_maps {
	size_t nr, vdso; /* vdso == nr: none */
	struct {
		uint64_t start, end;
	} m[VDSO_MAX_MAPS];
};

/* A whole restart. */
struct restore {
	struct session *s;
	const struct stasis_restore_opts *opts;
	int dirfd; /* of the image files */
	size_t nr;
	struct restore_proc *procs; /* pre-order */
	size_t nr_threads;	    /* of all live processes */
	size_t nr_stand_ins;	    /* processes whose program is begun anew */
	size_t zone_bytes;	    /* args_plan() */
	struct vdso_maps own_vdso;  /* this kernel's, at the same place in all of us */
	struct restore_shared *shared;
	size_t shared_len;
	bool is_namespace; /* in a pid namespace of its own */
	bool is_first;	   /* the builder is the first process of that */
	bool inherits_group; /* the root's process group is the caller's */
	bool is_user_namespace; /* that namespace came with a user namespace: no other ids */
	uint64_t own_caps;   /* permitted capabilities of the caller */
	uid_t owner_uid;     /* ids for an image that root does not trust */
	gid_t owner_gid;
	bool is_trusted;
	bool keeps_clocks;  /* in a time namespace of its own */
	bool drops_filters; /* -F: threads come back without their seccomp filters */
	struct mem_proc *mem_procs; /* what mem and fds refer to */
	struct fd_proc *fd_procs;
	struct mem_load *mem;
	struct fd_load *fds;
	struct ns_proc *ns_procs;
	struct ns_load *ns; /* NULL: no namespaces to make */
	struct ipc_proc *ipc_procs;
	struct ipc_load *ipc;
	bool moves_ipc; /* processes of the caller's IPC namespace get one of their own */
	Stasis__Membership *moved; /* what they are in, then */
	struct ns_cgroups *cgroups; /* NULL: those of the restarter */
	struct ns_pids pids_ops;
	pid_t pids_helper; /* 0: none runs */
	int status_fd;	   /* namespace: where its first process reports the root's end, else -1 */
	pid_t caller;	   /* whoever waits for the builder */
	pid_t outer_group; /* process group that stands for a group whose leader is outside */
};

/* load.c */
int restore_load(struct restore *r, struct stasis_error *err);
void restore_done(struct restore *r); /* for scoped() */

/* Registers of thread k, from its NT_PRSTATUS note (restore_load() made sure it is there). */
struct arch_regs restore_regs(const struct restore_proc *p, size_t k);

/* checks.c: everything that can be decided before anything is changed. */
int restore_check(struct restore *r, struct stasis_error *err);
int restore_wait_for_pids(struct restore *r, struct stasis_error *err);

/* ipc.c: System V objects; called by the caller of the restart, who sees all processes. */
int restore_plan_ipc(struct restore *r, struct stasis_error *err);
int restore_choose_ipc(struct restore *r, struct stasis_error *err);
/* In the builder. */
int restore_move_ipc(struct restore *r, struct stasis_error *err);

/* birth.c */
int birth_plan(struct restore *r, struct stasis_error *err);
/* From now on whoever calls this is killed when its parent ends, at once when that is gone already: what is
 * half-built must not outlive a restart that is killed. parent: pid as getppid() tells it; 0: any. */
void birth_bind(pid_t parent);
int birth_create_root(struct restore *r, struct stasis_error *err);
/* Create the processes that `creator` creates at that point; in each new process the function does
 * not return but runs task_run(). */
int birth_create(struct restore *r, size_t creator, enum birth_by by, struct stasis_error *err);
/* The pid of p in the pid namespace of `who`, 0 when it is not visible there. */
pid_t birth_pid_seen_by(const struct restore_proc *who, const struct restore_proc *p);
int birth_enter_session(struct restore *r, struct restore_proc *p, struct stasis_error *err);
int birth_join_group(struct restore *r, struct restore_proc *p, struct stasis_error *err);

/* task.c: the life of a restored process until it jumps into the restorer. */
void task_run(struct restore *r, size_t index, pid_t parent) __attribute__((__noreturn__));

/* shared.c */
int shared_create(struct restore *r, struct stasis_error *err);
void shared_destroy(struct restore *r);
void shared_fail(struct restore *r, const struct stasis_error *err); /* first failure wins */
bool shared_has_failed(const struct restore *r);
int shared_error(struct restore *r, struct stasis_error *err); /* fills *err; -1 */
/* Wait until *word >= want or the restart has failed (-1). */
int shared_wait_for(struct restore *r, uint32_t *word, uint32_t want);
void shared_wake(uint32_t *word);

/* build.c: the builder process. */
int build_tree(struct restore *r, struct stasis_error *err);

/* args.c */
/* own_vdso must be there */
void args_plan(struct restore *r); /* first: decides how large the zone is */
size_t args_zone_bytes(const struct restore *r);
uint64_t args_blob_address(const struct restore *r);
struct args_fds {
	int exe;	       /* the executable */
	int pids_for_children; /* pid namespace of future children; -1: its own */
};
int args_build(struct restore *r, struct restore_proc *p, const struct args_fds *fds, uint64_t *ret_args,
	       uint64_t *ret_stack, struct stasis_error *err);
/* The parent-death signal of thread k until the hand-over: SIGKILL for the first one. 0 where the parent's
 * first thread is still to end, which sends such signals. */
uint32_t args_pdeath_signal(const struct restore *r, const struct restore_proc *p, size_t k);
/* Address of thread k's struct restorer_thread in its process; the same in each process. */
uint64_t args_thread_address(const struct restore *r, size_t k);
/* Address of a system call instruction that exists in each process until its zone is unmapped. */
uint64_t args_gadget_address(const struct restore *r);

/* vdso.c */
int vdso_check(struct restore *r, struct stasis_error *err);
/* Fill the list of kernel mappings to place; `space` is page-aligned room in the zone of
 * vdso_space() bytes; *ret_patch is a move to add when the old vDSO must be emulated. */
size_t vdso_space(const struct restore *r, const struct restore_proc *p);
/* This kernel's. Reads /proc, which a process in namespaces of its own may not have. */
int vdso_read_own(struct vdso_maps *ret, struct stasis_error *err);
int vdso_plan(struct restore *r, struct restore_proc *p, uint64_t space, struct restorer_special *ret, size_t max,
	      size_t *ret_nr, struct restorer_move *ret_patch, bool *ret_has_patch,
	      struct stasis_error *err);

/* creds.c */
/* An image that is not trusted names files and ids at will: the builder and all it makes become the
 * image's owner before anything is opened, and keep only the right to choose pids. */
int creds_become_owner(struct restore *r, struct stasis_error *err);
/* Before process p goes into its user namespace: groups that it cannot be given inside. */
int creds_before_user(struct restore *r, const struct restore_proc *p, struct stasis_error *err);
int creds_fill(struct restore *r, const struct restore_proc *p, const Stasis__Thread *th, struct restorer_creds *ret,
	       uint32_t *groups, size_t max_groups, struct stasis_error *err);

/* clocks.c: a time namespace for the tree, when one is wanted; before its first process. */
int clocks_check(struct restore *r, struct stasis_error *err);
int clocks_enter(struct restore *r, struct stasis_error *err);

/* pids.c: for a tree with user namespaces of its own, a helper of the builder's */
bool pids_are_needed(const struct restore *r);
int pids_start(struct restore *r, struct stasis_error *err);
void pids_stop(struct restore *r);
pid_t pids_fork(const struct restore *r); /* with an id that nobody in the image has */
int pids_begin(void *restore, pid_t pid); /* as struct ns_pids says */
void pids_end(void *restore);

/* cgroups.c: where --cgroup says. */
int cgroups_open(struct restore *r, struct stasis_error *err);
int cgroups_enter(struct restore *r, const struct restore_proc *p, struct stasis_error *err);
int cgroups_place_threads(struct restore *r, struct stasis_error *err); /* when all stand */

/* stand_in.c: processes whose program is begun anew. */
int stand_in_check(const struct restore_proc *p, struct stasis_error *err); /* its records */
int stand_in_check_all(const struct restore *r, struct stasis_error *err); /* whether they can be begun */
/* The rest of such a process, once its relations are made: never returns unless it fails. */
int stand_in_run(struct restore *r, struct restore_proc *p, struct stasis_error *err);
/* In the builder, when nothing can fail any more: they go. */
int stand_in_let_go(struct restore *r, struct stasis_error *err);

/* build.c: until *word, which others count up, is `want`, or one of them has died. */
int build_await(struct restore *r, uint32_t *word, size_t want, struct stasis_error *err);

/* args.c: what a limit of the process becomes; false for one that this kernel does not have. */
bool args_limit(struct restore *r, const struct restore_proc *p, const Stasis__Rlimit *l,
		uint64_t ret[2]);

/* seccomp.c */
int seccomp_check(struct restore *r, struct stasis_error *err); /* records sane, and allowed to us */
bool seccomp_is_wanted(const struct restore *r, const Stasis__Thread *th);
size_t seccomp_count(const struct restore *r); /* threads that are to be confined */

/* hand_over.c */
/* From now on what those threads install does not hinder them until they are let go. */
int hand_over_trace_confined(struct restore *r, struct stasis_error *err);
int hand_over_stop(struct restore *r, struct stasis_error *err); /* every thread stands */
int hand_over_run(struct restore *r, struct stasis_error *err);

/* job_stop.c: with which signal a process that was stopped by job control stops again. */
int job_stop_signal(const struct restore *r, const struct restore_proc *p);

/* namespace.c */
/* fork() into a new pid and mount namespace (and user namespace). 0 in the child, its first process. */
pid_t namespace_fork(struct restore *r, struct stasis_error *err);
/* Be the first process of the namespace until everybody else is gone; reports the root's changes of
 * state to status_fd. */
void namespace_serve(struct restore *r) __attribute__((__noreturn__));
/* The root's pid as the caller sees it. */
pid_t namespace_root_pid(const struct restore *r, pid_t first);

#endif
