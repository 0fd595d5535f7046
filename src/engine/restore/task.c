/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a restored process from its fork to the jump into the restorer: memory is staged, the
 * children are created (they inherit what is staged), then descriptors and everything else that is
 * easier with a libc at hand.
 */
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/scoped.h"
#include "restore/restore_priv.h"

#include "arch/raw_syscall.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How a zombie died is repeated: by exit status or by signal, without a core file. */
static void __attribute__((__noreturn__)) die_as(int status)
{
	const struct rlimit no_core = {0, 0};
	sigset_t one;
	int sig = status & 0x7f;

	if (sig) {
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(sig, SIG_DFL);
		(void)sigemptyset(&one);
		(void)sigaddset(&one, sig);
		(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
		(void)raise(sig);
	}
	_exit(status >> 8 & 0xff);
}

/* Zombies must be dead before their parent goes on: their exit signal was seen long ago and must not
 * come again. SIGCHLD is let in while nobody handles it; any other, which would kill, is blocked here and
 * taken. */
static void take_exit_signal(uint32_t sig)
{
	const struct timespec now = {0};
	sigset_t set;

	if (!sig || sig == SIGCHLD)
		return;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, (int)sig);
	while (sigtimedwait(&set, NULL, &now) > 0 || errno == EINTR)
		;
}

static int await_zombies(struct restore *r, size_t index, struct stasis_error *err)
{
	for (size_t i = index + 1; i < r->nr; i++) {
		const Stasis__Process *child = r->procs[i].process;
		siginfo_t info;

		if (r->procs[i].parent != index ||
		    child->state != STASIS__PROCESS_STATE__PROCESS_ZOMBIE)
			continue;
		if (waitid(P_PID, (id_t)birth_pid_seen_by(&r->procs[index], &r->procs[i]), &info,
			   WEXITED | WNOWAIT | __WALL) < 0)
			return stasis_fail_errno(err, STASIS_E_INTERNAL, "wait for zombie %u",
						 child->pid);
		take_exit_signal(child->exit_signal);
	}
	return 0;
}

/* A number in a file of /proc/self, when it is another one: to set it may need a privilege. */
static void write_own_number(struct restore *r, const Stasis__Process *p, const char *path, int base,
			     long wanted)
{
	scoped_fd int fd = open(path, O_RDWR | O_CLOEXEC);
	char text[24] = "", now[24] = "";
	ssize_t len;

	if (fd < 0)
		return; /* no /proc here: the inherited value stays */
	len = read(fd, now, sizeof(now) - 1);
	if (len > 0 && strtol(now, NULL, base) == wanted)
		return;
	(void)snprintf(text, sizeof(text), base == 16 ? "0x%lx" : "%ld", wanted);
	if (pwrite(fd, text, strlen(text), 0) < 0)
		s_warn(r->s, "%s(%u): %s of %s: %s", p->comm, p->pid, path, text, strerror(errno));
}

static void write_own_numbers(struct restore *r, const Stasis__Process *p)
{
	write_own_number(r, p, "/proc/self/oom_score_adj", 10, p->oom_score_adj);
	if (p->has_coredump_filter)
		write_own_number(r, p, "/proc/self/coredump_filter", 16, (long)p->coredump_filter);
}

/* A folder that was removed already before the checkpoint: one in /tmp without a name, as the guide
 * says. */
static int enter_deleted_folder(struct stasis_error *err)
{
	char path[] = "/tmp/restartdirXXXXXX";

	if (!mkdtemp(path))
		return stasis_fail_errno(err, STASIS_E_IO, "mkdir tmpcwd %s", path);
	if (chdir(path) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "chdir tmpcwd %s", path);
	(void)rmdir(path);
	return 0;
}

static int enter_place(struct restore *r, const Stasis__Process *p, struct stasis_error *err)
{
	if (strcmp(p->root, "/") != 0 && chroot(p->root) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "chroot %s", p->root);
	(void)umask(p->umask);
	if (p->cwd_deleted)
		return enter_deleted_folder(err);
	if (chdir(p->cwd) == 0)
		return 0;
	if (r->s->is_forced) {
		s_warn(r->s, "%s(%u): chdir %s: %s; starting in /", p->comm, p->pid, p->cwd,
		       strerror(errno));
		return chdir("/");
	}
	return stasis_fail_errno(err, STASIS_E_IO, "chdir %s", p->cwd);
}

/* What the restorer needs gets a number that no descriptor of the tree has. */
static int move_up(struct restore *r, int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, fd_load_base(r->fds));

	if (fd >= 0)
		(void)close(fd);
	return high;
}

/* The executable, for /proc/PID/exe. */
static int open_exe(struct restore *r, const struct restore_proc *p)
{
	if (!p->mm->exe || p->mm->exe->deleted || !p->mm->exe->path)
		return -1;
	return move_up(r, open(p->mm->exe->path, O_RDONLY | O_CLOEXEC));
}

static int open_fds(struct restore *r, const struct restore_proc *p, struct args_fds *ret,
		    struct stasis_error *err)
{
	int fd = r->ns ? ns_load_open_for_children(r->ns, p->index, err) : -2;

	if (fd == -1)
		return -1;
	ret->exe = open_exe(r, p);
	ret->pids_for_children = move_up(r, fd);
	return 0;
}

/* [base, end) */
static void close_ours(int base, int end, const struct args_fds *but)
{
	bool in_order = but->exe < but->pids_for_children;
	const int keep[] = {in_order ? but->exe : but->pids_for_children,
			    in_order ? but->pids_for_children : but->exe};

	for (size_t i = 0; i < 2; i++) {
		if (keep[i] < base)
			continue;
		if (keep[i] > base)
			(void)syscall(SYS_close_range, base, keep[i] - 1, 0);
		base = keep[i] + 1;
	}
	if (base < end)
		(void)syscall(SYS_close_range, base, end - 1, 0);
}

static int create_children(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	if (birth_create(r, p->index, BIRTH_BY_PARENT, err) < 0 ||
	    birth_enter_session(r, p, err) < 0 ||
	    birth_create(r, p->index, BIRTH_BY_PARENT_LATER, err) < 0)
		return -1;
	return birth_create(r, p->index, BIRTH_BY_HELPER, err);
}

static bool makes_siblings(const struct restore *r, const struct restore_proc *p)
{
	for (size_t i = 1; i < r->nr; i++)
		if (r->procs[i].birth_by == BIRTH_BY_SIBLING &&
		    r->procs[i].birth_creator == p->index)
			return true;
	return false;
}

/* Siblings inherit what the common parent has staged, so they come before this process's own memory;
 * its session must exist by then. */
static int create_siblings(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	if (!makes_siblings(r, p))
		return 0;
	for (size_t i = 1; i < r->nr; i++)
		if (r->procs[i].birth_creator == p->index &&
		    r->procs[i].birth_by == BIRTH_BY_PARENT &&
		    r->procs[i].birth_session != (pid_t)p->process->pid)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "session %u and that of process %u cannot both be rebuilt",
					   p->process->sid, r->procs[i].process->pid);
	if (birth_enter_session(r, p, err) < 0)
		return -1;
	return birth_create(r, p->index, BIRTH_BY_SIBLING, err);
}

static int prepare(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	bool is_zombie = p->process->state == STASIS__PROCESS_STATE__PROCESS_ZOMBIE;

	if (cgroups_enter(r, p, err) < 0)
		return -1;
	/* where a zombie was is not known any more */
	if (r->ns && !is_zombie && ns_load_enter(r->ns, p->index, err) < 0)
		return -1;
	if (is_zombie) {
		if (birth_enter_session(r, p, err) < 0 || birth_join_group(r, p, err) < 0)
			return -1;
		die_as((int)p->process->exit_status);
	}
	if (create_siblings(r, p, err) < 0)
		return -1;
	if ((p->mm && mem_load_stage(r->mem, p->index, err) < 0) || create_children(r, p, err) < 0)
		return -1;
	if (birth_join_group(r, p, err) < 0 || fault_point("restore.task", err) < 0)
		return -1;
	if (await_zombies(r, p->index, err) < 0)
		return -1;
	write_own_numbers(r, p->process);
	if (p->mm && ipc_load_attach(r->ipc, p->index, err) < 0)
		return -1;
	/* last: from there on nobody may choose pids outside of it, nor do much else */
	if (r->ns && (creds_before_user(r, p, err) < 0 || ns_load_enter_user(r->ns, p->index, err) < 0))
		return -1;
	return 0;
}

static int enter_stand_in(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	if (fd_load_install(r->fds, (pid_t)p->process->pid, err) < 0 ||
	    enter_place(r, p->process, err) < 0)
		return -1;
	(void)close_range((unsigned)fd_load_base(r->fds), (unsigned)fd_load_end(r->fds) - 1, 0);
	return stand_in_run(r, p, err);
}

static int enter_restorer(struct restore *r, struct restore_proc *p, struct stasis_error *err)
{
	struct args_fds fds;
	uint64_t args, stack;

	if (open_fds(r, p, &fds, err) < 0 || args_build(r, p, &fds, &args, &stack, err) < 0)
		return -1;
	if (fd_load_install(r->fds, (pid_t)p->process->pid, err) < 0 ||
	    enter_place(r, p->process, err) < 0)
		return -1;
	close_ours(fd_load_base(r->fds), fd_load_end(r->fds), &fds);
	if (fd_load_attach(r->fds, (pid_t)p->process->pid, err) < 0)
		return -1;
	raw_jump(args_blob_address(r), stack, args);
}

void task_run(struct restore *r, size_t index, pid_t parent)
{
	struct restore_proc *p = &r->procs[index];
	struct stasis_error err;

	birth_bind(parent);
	if (prepare(r, p, &err) == 0)
		(void)(p->mm ? enter_restorer(r, p, &err) : enter_stand_in(r, p, &err));
	(void)stasis_fail_prefix(&err, "%s(%u)", p->process->comm, p->process->pid);
	shared_fail(r, &err);
	_exit(1);
}
