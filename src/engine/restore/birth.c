/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Creates the processes so that sessions and process groups come out as they were. A session can only
 * be inherited at fork() or made by setsid(), so each process must be created by somebody who is, at
 * that moment, in the session it needs: its parent before or after the parent's setsid(), a sibling
 * (CLONE_PARENT) that leads the session, or a short-lived helper with the pid of a dead session leader.
 */
#include "restore/restore_priv.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BIRTH_ANY_SESSION = -1, BARRIER_LEADERS = 0, BARRIER_MEMBERS = 1 };

static struct restore_proc *find_pid(const struct restore *r, uint32_t pid)
{
	for (size_t i = 0; i < r->nr; i++)
		if (r->procs[i].process->pid == pid)
			return &r->procs[i];
	return NULL;
}

static bool is_leader(const struct restore_proc *p)
{
	return p->leads_session;
}

/*
 * A session with a control terminal gets the caller's, as the guide says. A terminal belongs to one
 * session and cannot be shared: a root that led its session joins the caller's instead of making one
 * that would have no terminal. One whose terminal is a pseudo-terminal of the tree leads as it did.
 */
static void choose_leaders(struct restore *r)
{
	const Stasis__Process *root = r->procs[0].process;
	int tty = root->tty_nr && !root->has_own_tty ? open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

	for (size_t i = 0; i < r->nr; i++) {
		const Stasis__Process *p = r->procs[i].process;

		r->procs[i].leads_session = p->sid == p->pid && !(i == 0 && tty >= 0);
	}
	if (tty >= 0)
		(void)close(tty);
}

/* The session a process must be created in, its children's needs aside. */
static pid_t wanted_session(const struct restore *r, const struct restore_proc *p)
{
	if (is_leader(p))
		return BIRTH_ANY_SESSION;
	if (p->process->sid == r->procs[0].process->sid && !is_leader(&r->procs[0]))
		return RESTORE_OUTER_SESSION;
	return (pid_t)p->process->sid;
}

/* A leader is born in the session that those of its children need which are not in its own. */
static void pass_needs_up(struct restore *r)
{
	for (size_t i = r->nr; i-- > 1;) {
		struct restore_proc *p = &r->procs[i], *parent = &r->procs[p->parent];
		pid_t need = p->birth_session;

		if (need == BIRTH_ANY_SESSION || !is_leader(parent) ||
		    need == (pid_t)parent->process->pid)
			continue;
		if (parent->birth_session == BIRTH_ANY_SESSION &&
		    (need == RESTORE_OUTER_SESSION || find_pid(r, (uint32_t)need)))
			parent->birth_session = need;
	}
}

static struct restore_proc *find_sibling_leader(struct restore *r, const struct restore_proc *p)
{
	struct restore_proc *leader = find_pid(r, (uint32_t)p->birth_session);

	if (!leader || leader->parent != p->parent || leader->index == p->index ||
	    leader->process->state == STASIS__PROCESS_STATE__PROCESS_ZOMBIE)
		return NULL;
	return leader;
}

static int choose_creator(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	struct restore_proc *parent = &r->procs[p->parent], *leader;

	p->birth_by = BIRTH_BY_PARENT;
	p->birth_creator = p->parent;
	if (p->birth_session == BIRTH_ANY_SESSION)
		p->birth_session = parent->birth_session;
	if (p->birth_session == parent->birth_session)
		return 0;
	if (p->birth_session == (pid_t)parent->process->pid && is_leader(parent)) {
		p->birth_by = BIRTH_BY_PARENT_LATER;
		return 0;
	}
	if (!find_pid(r, (uint32_t)p->birth_session)) {
		p->birth_by = BIRTH_BY_HELPER;
		return 0;
	}
	leader = find_sibling_leader(r, p);
	if (!leader)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "%s(%u): its session %u cannot be rebuilt: the session's leader "
				   "is neither its ancestor nor its sibling",
				   p->process->comm, p->process->pid, p->process->sid);
	p->birth_by = BIRTH_BY_SIBLING;
	p->birth_creator = leader->index;
	return 0;
}

/* The stand-in for a group leader that is gone is made by the group's first process in pre-order. */
static void choose_group_helpers(struct restore *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		struct restore_proc *p = &r->procs[i];
		bool is_first = true;

		p->owns_group_helper = false; /* a second try plans anew */
		if (find_pid(r, p->process->pgid))
			continue;
		if (r->inherits_group && p->process->pgid == r->procs[0].process->pgid)
			continue;
		for (size_t k = 0; k < i && is_first; k++)
			is_first = r->procs[k].process->pgid != p->process->pgid;
		p->owns_group_helper = is_first;
	}
}

/* The root is the child of whoever restarts it, who waits for SIGCHLD. */
static uint32_t exit_signal_of(const struct restore_proc *p)
{
	return p->index ? p->process->exit_signal : SIGCHLD;
}

/* A process whose creator is not its parent gets its creator's exit signal. */
static int check_exit_signals(const struct restore *r, struct stasis_error *err)
{
	for (size_t i = 1; i < r->nr; i++) {
		const struct restore_proc *p = &r->procs[i], *other = NULL;

		if (p->birth_by == BIRTH_BY_SIBLING)
			other = &r->procs[p->birth_creator];
		for (size_t k = 1; k < i && p->birth_by == BIRTH_BY_HELPER && !other; k++)
			if (r->procs[k].birth_by == BIRTH_BY_HELPER &&
			    r->procs[k].birth_creator == p->birth_creator &&
			    r->procs[k].birth_session == p->birth_session)
				other = &r->procs[k];
		if (other && exit_signal_of(other) != exit_signal_of(p))
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%u): its exit signal %u cannot be given back: its "
					   "session needs that of process %u, which is %u",
					   p->process->comm, p->process->pid, exit_signal_of(p),
					   other->process->pid, exit_signal_of(other));
	}
	return 0;
}

int birth_plan(struct restore *r, struct stasis_error *err)
{
	uint32_t group = r->procs[0].process->pgid;

	/* the group's number may be in use by others: by those the program was started with, say;
	 * 0 is how a group outside of a pid namespace shows */
	r->inherits_group = !find_pid(r, group) && !r->is_namespace &&
			    (group == 0 || kill(-(pid_t)group, 0) == 0 || errno == EPERM ||
			     kill((pid_t)group, 0) == 0);
	choose_leaders(r);
	for (size_t i = 0; i < r->nr; i++)
		r->procs[i].birth_session = wanted_session(r, &r->procs[i]);
	pass_needs_up(r);
	if (r->procs[0].birth_session != RESTORE_OUTER_SESSION &&
	    r->procs[0].birth_session != BIRTH_ANY_SESSION)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "session %d, in which the root's children were created, cannot "
				   "be rebuilt",
				   r->procs[0].birth_session);
	r->procs[0].birth_session = RESTORE_OUTER_SESSION;
	for (size_t i = 1; i < r->nr; i++)
		if (choose_creator(r, &r->procs[i], err) < 0)
			return -1;
	choose_group_helpers(r);
	return check_exit_signals(r, err);
}

/* fork() with given pids. In the child 0. With CLONE_PARENT the kernel gives the child the creator's
 * exit signal and refuses another. */
static pid_t fork_as(struct restore *r, const struct ns_birth *b, uint64_t flags,
		     uint32_t exit_signal)
{
	pid_t tid = b->pid;
	struct clone_args args = {
		.flags = flags,
		.exit_signal = flags & CLONE_PARENT ? 0 : exit_signal,
		.set_tid = (uint64_t)(uintptr_t)&tid,
		.set_tid_size = 1,
	};

	if (r->ns)
		return ns_load_fork(r->ns, b, &args);
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Its pid as itself sees it. */
static pid_t own_pid(const struct restore_proc *p)
{
	const Stasis__Membership *in = p->process->namespaces;

	return in && in->n_inner_pids ? in->inner_pids[in->n_inner_pids - 1]
				      : (pid_t)p->process->pid;
}

static bool is_nested(const struct restore_proc *p)
{
	return p->process->namespaces && p->process->namespaces->n_inner_pids;
}

pid_t birth_pid_seen_by(const struct restore_proc *who, const struct restore_proc *p)
{
	size_t level = who->process->namespaces ? who->process->namespaces->n_inner_pids : 0;
	const Stasis__Membership *in = p->process->namespaces;

	if (!level)
		return (pid_t)p->process->pid;
	return in && level <= in->n_inner_pids ? in->inner_pids[level - 1] : 0;
}

static int create_one(struct restore *r, size_t creator, struct restore_proc *p, uint64_t flags,
		      struct stasis_error *err);

void birth_bind(pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* 0: it is in another pid namespace, and nobody can tell */
	if (parent && getppid() && getppid() != parent)
		_exit(1);
}

static void note_helper(struct restore *r, pid_t pid)
{
	uint32_t slot = __atomic_fetch_add(&r->shared->nr_helpers, 1, __ATOMIC_SEQ_CST);

	if (slot < sizeof(r->shared->helpers) / sizeof(r->shared->helpers[0]))
		r->shared->helpers[slot] = pid;
}

/* A pid namespace belongs to the user namespace in which it is made: a short-lived process goes there. */
static int create_by_crossing(struct restore *r, const struct ns_birth *b, struct restore_proc *p,
			      struct stasis_error *err)
{
	struct stasis_error child_err;
	struct clone_args args = {.exit_signal = exit_signal_of(p)};
	pid_t creator = getpid(), pid;
	int status;

	if (pids_begin(r, 0) < 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "no pid for a helper");
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid != 0)
		pids_end(r);
	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "fork");
	if (pid > 0)
		return waitpid(pid, &status, __WALL) == pid && WIFEXITED(status) && !WEXITSTATUS(status)
			       ? 0
			       : shared_error(r, err);
	birth_bind(creator);
	if (creds_before_user(r, p, &child_err) == 0 && ns_load_cross(r->ns, b, &child_err) == 0 &&
	    create_one(r, b->creator, p, CLONE_PARENT, &child_err) == 0)
		_exit(0);
	shared_fail(r, &child_err);
	_exit(1);
}

/* creator: whose namespaces the caller is in */
static int create_one(struct restore *r, size_t creator, struct restore_proc *p, uint64_t flags,
		      struct stasis_error *err)
{
	const struct ns_birth b = {.creator = creator,
				   .like = p->index,
				   .pid = (pid_t)p->process->pid,
				   .own_pid = own_pid(p)};
	pid_t parent = flags & CLONE_PARENT ? getppid() : getpid(), pid;

	if (r->ns && ns_load_needs_crossing(r->ns, &b))
		return create_by_crossing(r, &b, p, err);
	pid = fork_as(r, &b, flags, exit_signal_of(p));
	if (pid == 0)
		task_run(r, p->index, parent);
	if (pid < 0)
		return stasis_fail_errno(err, errno == EEXIST ? STASIS_E_BUSY : STASIS_E_IO,
					 "fork: failed for %s(%u)", p->process->comm,
					 p->process->pid);
	r->shared->slots[p->index].is_created = 1;
	return 0;
}

/* The helper has the dead leader's pid: its session id is what the orphans remember. */
static int create_by_helper(struct restore *r, struct restore_proc *first, struct stasis_error *err)
{
	pid_t leader = first->birth_session;
	const struct ns_birth b = {
		.creator = first->birth_creator,
		.like = first->index,
		.pid = leader,
		.own_pid = is_nested(first) ? first->process->namespaces->own_sid : leader};
	pid_t creator = getpid();
	pid_t pid = fork_as(r, &b, 0, exit_signal_of(first));
	struct stasis_error child_err;
	int status;

	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_BUSY, "stand-in for session leader %d",
					 leader);
	if (pid > 0) {
		note_helper(r, pid);
		return waitpid(pid, &status, __WALL) == pid && WIFEXITED(status) &&
				       WEXITSTATUS(status) == 0
			       ? 0
			       : shared_error(r, err);
	}
	birth_bind(creator);
	if (setsid() < 0) {
		(void)stasis_fail_errno(&child_err, STASIS_E_IO, "setsid");
		shared_fail(r, &child_err);
		_exit(1);
	}
	for (size_t i = first->index; i < r->nr; i++) {
		struct restore_proc *p = &r->procs[i];

		if (p->birth_by != BIRTH_BY_HELPER || p->birth_creator != first->birth_creator ||
		    p->birth_session != leader)
			continue;
		if (create_one(r, p->index, p, CLONE_PARENT, &child_err) < 0) {
			shared_fail(r, &child_err);
			_exit(1);
		}
	}
	_exit(0);
}

int birth_create(struct restore *r, size_t creator, enum birth_by by, struct stasis_error *err)
{
	for (size_t i = 1; i < r->nr; i++) {
		struct restore_proc *p = &r->procs[i];
		int result;

		if (p->birth_creator != creator || p->birth_by != by ||
		    r->shared->slots[i].is_created)
			continue;
		result = by == BIRTH_BY_HELPER ? create_by_helper(r, p, err)
					       : create_one(r, creator, p,
							    by == BIRTH_BY_SIBLING ? CLONE_PARENT : 0,
							    err);
		if (result < 0)
			return -1;
	}
	return 0;
}

/* The root becomes a child of the caller, or of the namespace's first process. */
int birth_create_root(struct restore *r, struct stasis_error *err)
{
	return create_one(r, NS_OUTSIDE, &r->procs[0], r->is_first ? 0 : CLONE_PARENT, err);
}

int birth_enter_session(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	if (!is_leader(p) || getsid(0) == getpid())
		return 0;
	if (setsid() < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "setsid");
	return p->process->has_own_tty ? fd_load_take_tty(r->fds, getpid(), err) : 0;
}

/* Needs the groups of all, and the children to be born. */
static void settle_tty(struct restore *r, const struct restore_proc *p)
{
	if (is_leader(p) && p->process->has_own_tty)
		fd_load_set_tty_group(r->fds, (pid_t)p->process->pid);
	else if (!p->process->has_own_tty)
		fd_load_leave_tty(r->fds, (pid_t)p->process->sid);
}

/* Keeps the group alive until its members have joined. */
static pid_t start_group_helper(struct restore *r, struct restore_proc *p, pid_t group,
				struct stasis_error *err)
{
	const struct ns_birth b = {.creator = p->index,
				   .like = p->index,
				   .pid = (pid_t)p->process->pgid,
				   .own_pid = group};
	pid_t creator = getpid();
	pid_t pid = fork_as(r, &b, 0, SIGCHLD);

	if (pid < 0)
		return stasis_fail_errno(err, STASIS_E_BUSY, "stand-in for process group leader %d",
					 group);
	if (pid > 0) {
		note_helper(r, pid);
		if (setpgid(pid, pid) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "process group %d", group);
		return pid;
	}
	birth_bind(creator);
	(void)shared_wait_for(r, &r->shared->arrived[BARRIER_MEMBERS], (uint32_t)r->nr);
	_exit(0);
}

static int pass_barrier(struct restore *r, int which, struct stasis_error *err)
{
	uint32_t *word = &r->shared->arrived[which];

	/* only the last one's arrival matters to those that wait: a wake-up for each would be n * n */
	if (__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST) >= (uint32_t)r->nr)
		shared_wake(word);
	return shared_wait_for(r, word, (uint32_t)r->nr) < 0 ? shared_error(r, err) : 0;
}

/* As the process itself sees it; 0: of an outer pid namespace, only others can put it there. */
static pid_t group_of(const struct restore *r, const struct restore_proc *p)
{
	if (is_nested(p))
		return p->process->namespaces->own_pgid;
	if (r->inherits_group && p->process->pgid == r->procs[0].process->pgid)
		return r->outer_group;
	return (pid_t)p->process->pgid;
}

/* Children in a nested pid namespace whose group is an outer one, seen from outside: the parent's. */
static int place_nested_children(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	for (size_t i = p->index + 1; i < r->nr; i++) {
		const struct restore_proc *child = &r->procs[i];

		if (child->parent != p->index || !is_nested(child) ||
		    child->process->namespaces->own_pgid)
			continue;
		if (child->process->pgid != p->process->pgid)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "%s(%u): its process group %u is neither in its pid namespace "
					   "nor its parent's",
					   child->process->comm, child->process->pid,
					   child->process->pgid);
		if (setpgid(birth_pid_seen_by(p, child), getpgid(0)) < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "put process %u into group %u",
						 child->process->pid, child->process->pgid);
	}
	return 0;
}

int birth_join_group(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	pid_t group = group_of(r, p), self = own_pid(p), helper = 0;

	if (group == self && getpgid(0) != self && setpgid(0, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "process group %d", group);
	/* a group that is a dead session leader's exists since the session does */
	if (group && p->owns_group_helper && getpgid(0) != group) {
		helper = start_group_helper(r, p, group, err);
		if (helper < 0)
			return -1;
	}
	if (pass_barrier(r, BARRIER_LEADERS, err) < 0)
		return -1;
	if (group && group != self && getpgid(0) != group && setpgid(0, group) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "join process group %d", group);
	if (r->ns && place_nested_children(r, p, err) < 0)
		return -1;
	if (pass_barrier(r, BARRIER_MEMBERS, err) < 0)
		return -1;
	if (helper && waitpid(helper, NULL, 0) != helper)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "stand-in %d", helper);
	settle_tty(r, p);
	return 0;
}
