/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pseudo-terminals of the tree at a restart. The pair is made, filled and set up in the builder, before
 * it controls a session, so that nobody gets a signal. Its session's leader then takes it by itself
 * (birth.c calls), through a descriptor of the slave that is kept until the tree runs.
 */
#include "resource/resource_priv.h"

#include "inject/inject.h"

#include <asm/termbits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

enum {
	MAX_INDEX = 1 << 20, /* NR_UNIX98_PTY_MAX */
	CHUNK = 256,
	POLL_NS = 1000000,
	MAX_POLLS = 5000,
};

struct load_pty {
	const struct load_desc *l;
	const Stasis__PtyMaster *r;
	int master; /* until its description takes it, else -1 */
	int keeper; /* of the slave */
	struct load_pty *next;
};

/* ---- before anything is changed ---- */

static int check_content(struct fd_load *c, const Stasis__PtyMaster *r, struct stasis_error *err)
{
	const Stasis__Object *o;
	uint64_t sum = 0;

	if (load_check_object(c, r->object, STASIS__OBJECT_TYPE__OBJECT_PTY, err) < 0)
		return -1;
	o = fd_load_object(c, r->object);
	for (size_t i = 0; i < o->n_packets && sum <= o->content_len; i++)
		sum += o->packets[i];
	if (o->content_len > PARASITE_PTY_BYTES || o->size < o->content_len ||
	    o->size - o->content_len > PARASITE_PTY_BYTES || o->n_packets > PARASITE_PTY_LINES ||
	    sum > o->content_len)
		return stasis_fail(err, STASIS_E_CORRUPT, "queue of pseudo-terminal %u is not sane",
				   r->index);
	return 0;
}

int pty_master_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	const Stasis__PtyMaster *r = d->pty_master;
	struct stat st;

	(void)s;
	if (r->termios.len != sizeof(struct termios2) || r->winsize.len != sizeof(struct winsize))
		return stasis_fail(err, STASIS_E_CORRUPT, "terminal settings of %zu and %zu bytes",
				   r->termios.len, r->winsize.len);
	if (r->index >= MAX_INDEX || r->peer > STASIS__PTY_PEER__PTY_PEER_CLOSED)
		return stasis_fail(err, STASIS_E_CORRUPT, "pseudo-terminal %u", r->index);
	if (file_id_check(r->file, err) < 0 || file_id_check(r->node, err) < 0 ||
	    check_content(c, r, err) < 0 || file_id_find(r->file, false, &st, err) < 0)
		return -1;
	if (!pty_is_master(&st))
		return stasis_fail(err, STASIS_E_GONE, "'%.150s' makes no pseudo-terminals here",
				   r->file->path);
	return file_check_access(r->file->path, O_RDWR, err);
}

int pty_slave_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
		     struct stasis_error *err)
{
	const struct load_desc *m = load_find_desc(c, d->pty_slave->master);

	if (!d->pty_slave->master && d->pty_slave->is_hung_up)
		return 0;
	if (!m || m->d->kind_case != STASIS__DESCRIPTION__KIND_PTY_MASTER || !m->is_used)
		return stasis_fail(err, STASIS_E_CORRUPT, "slave of a pseudo-terminal without master");
	if (m->path)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "slave of a pseudo-terminal whose master is replaced by '%.100s'",
				   m->path);
	return pty_master_verify(s, c, m->d, err);
}

/* ---- making the pair ---- */

static int open_master(const char *path, unsigned *ret_index, struct stasis_error *err)
{
	scoped_fd int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TIOCGPTN, ret_index) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '%.150s'", path);
	return fd_take(&fd);
}

/*
 * devpts gives out the lowest free number: so open masters until the wanted one comes, and close the
 * others. When the number is taken, the first one will do.
 */
static int open_numbered(struct fd_load *c, const Stasis__PtyMaster *r, struct stasis_error *err)
{
	scoped_free int *spare = calloc((size_t)r->index + 1, sizeof(*spare));
	unsigned index = 0, first = 0;
	size_t nr = 0;
	int fd = -1;

	if (!spare)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for pseudo-terminals");
	for (;;) {
		fd = open_master(r->file->path, &index, nr ? NULL : err);
		if (fd < 0 || index == r->index)
			break;
		first = nr ? first : index;
		spare[nr++] = fd;
		fd = -1;
		if (index > r->index || nr > r->index)
			break;
	}
	if (fd < 0 && nr) {
		fd = spare[0];
		spare[0] = -1;
		s_warn(c->s, "terminal '%s' is in use: the program gets number %u instead",
		       r->node->path, first);
	}
	for (size_t i = 0; i < nr; i++)
		scoped_close_fd(&spare[i]);
	return fd;
}

/* TIOCGPTPEER would keep O_CLOEXEC among the description's flags, where the next checkpoint takes it for
 * each descriptor's (fs/proc/fd.c). */
static int open_slave(int master, uint32_t flags, struct stasis_error *err)
{
	const uint32_t how = (file_open_flags(flags) & ~(uint32_t)O_CLOEXEC) | O_NONBLOCK;
	int fd = ioctl(master, TIOCGPTPEER, (int)how);

	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the slave of a pseudo-terminal");
	return fd;
}

static int put_bytes(int fd, const uint8_t *bytes, size_t len, struct stasis_error *err)
{
	const struct timespec moment = {.tv_nsec = POLL_NS};
	int polls = 0;

	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && (errno != EAGAIN || ++polls > MAX_POLLS))
			return stasis_fail_errno(err, STASIS_E_IO, "fill a pseudo-terminal");
		if (n < 0) { /* a kernel thread carries the bytes on */
			(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* See await_input() in parasite/pty.c. */
static void await_input(int slave, uint64_t want)
{
	const struct timespec moment = {.tv_nsec = POLL_NS};

	for (int i = 0; i < MAX_POLLS; i++) {
		struct pollfd p = {.fd = slave, .events = POLLIN};
		int got = 0;

		(void)poll(&p, 1, 0);
		if (ioctl(slave, FIONREAD, &got) < 0 || (uint64_t)got >= want ||
		    got >= PARASITE_PTY_QUEUE)
			return;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	}
}

static int put_input(int master, int slave, const struct tty_refill *how, const Stasis__Object *o,
		     const uint8_t *bytes, struct stasis_error *err)
{
	scoped_free uint16_t *lines = calloc(o->n_packets + 1, sizeof(*lines));
	struct tty_refill_pos pos = {0};
	uint8_t chunk[CHUNK];
	uint64_t want = 0;
	size_t n;

	if (!lines)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pseudo-terminal");
	for (size_t i = 0; i < o->n_packets; i++) {
		lines[i] = (uint16_t)o->packets[i];
		want += o->packets[i];
	}
	while ((n = tty_refill_next(how, lines, (uint32_t)o->n_packets, bytes,
				    (uint32_t)o->content_len, &pos, chunk, sizeof(chunk))) > 0)
		if (put_bytes(master, chunk, n, err) < 0)
			return -1;
	if (pos.at)
		await_input(slave, how->settings.c_lflag & ICANON ? want : o->content_len);
	return 0;
}

static int fill(struct fd_load *c, const struct load_pty *p, int slave, struct stasis_error *err)
{
	const Stasis__Object *o = fd_load_object(c, p->r->object);
	scoped_free uint8_t *bytes = NULL;
	struct tty_refill how;
	struct termios2 t;

	if (!o)
		return stasis_fail(err, STASIS_E_INTERNAL, "pseudo-terminal was not verified");
	if (!o->size && !o->n_packets)
		return 0;
	bytes = malloc(o->size + 1);
	if (!bytes)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for a pseudo-terminal");
	if (fd_load_object_bytes(c, o->id, 0, bytes, o->size, err) < 0)
		return -1;
	memcpy(&t, p->r->termios.data, sizeof(t));
	tty_refill_plan(&t, &how);
	if (ioctl(slave, TCSETS2, &how.settings) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "TCSETS2");
	if (put_bytes(slave, bytes + o->content_len, o->size - o->content_len, err) < 0)
		return -1;
	return put_input(p->master, slave, &how, o, bytes, err);
}

static int set_up(const struct load_pty *p, struct stasis_error *err)
{
	struct termios2 t;
	struct winsize window;

	memcpy(&t, p->r->termios.data, sizeof(t));
	memcpy(&window, p->r->winsize.data, sizeof(window));
	if (ioctl(p->master, TCSETS2, &t) < 0 || ioctl(p->master, TIOCSWINSZ, &window) < 0)
		return stasis_fail_errno(err, STASIS_E_CORRUPT,
					 "settings of pseudo-terminal %u", p->r->index);
	return 0;
}

/* devpts gave the new file to us; grantpt(3) leaves it like that. */
static void set_owner(struct fd_load *c, const struct load_pty *p, int slave)
{
	const Stasis__FileId *f = p->r->node;
	struct stat st;

	if (fstat(slave, &st) < 0 ||
	    (st.st_uid == f->uid && st.st_gid == f->gid && st.st_mode == f->mode))
		return;
	if (((st.st_uid != f->uid || st.st_gid != f->gid) && fchown(slave, f->uid, f->gid) < 0) ||
	    fchmod(slave, f->mode & 07777) < 0)
		s_info(c->s, "'%s' keeps the owner that devpts gave it: %s", f->path,
		       strerror(errno));
}

/* The session's terminal, though nobody may have it open. */
static bool needs_keeper(const struct load_pty *p)
{
	return p->r->peer == STASIS__PTY_PEER__PTY_PEER_OPEN || p->r->session;
}

/* Opened once and closed again, the slave is one that hung up: so not when nobody opened it yet. */
static int prepare(struct fd_load *c, struct load_pty *p, struct stasis_error *err)
{
	scoped_fd int slave = -1;
	int unlock = 0;

	if (p->r->peer == STASIS__PTY_PEER__PTY_PEER_NEVER_OPENED)
		return set_up(p, err);
	if (ioctl(p->master, TIOCSPTLCK, &unlock) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "unlock a pseudo-terminal");
	slave = open_slave(p->master, O_RDWR, err);
	if (slave < 0)
		return -1;
	set_owner(c, p, slave);
	if (fill(c, p, slave, err) < 0 || set_up(p, err) < 0)
		return -1;
	if (!needs_keeper(p))
		return 0;
	p->keeper = fcntl(slave, F_DUPFD_CLOEXEC, c->base);
	if (p->keeper < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "keep a pseudo-terminal");
	return 0;
}

/* The pair of a master's description, made when it is first asked for. */
static struct load_pty *get_pair(struct fd_load *c, const struct load_desc *l,
				 struct stasis_error *err)
{
	struct load_pty *p;

	for (p = c->ptys; p; p = p->next)
		if (p->l == l)
			return p;
	p = arena_alloc(&c->arena, sizeof(*p));
	if (!p)
		return stasis_fail_null(err, STASIS_E_NOMEM, "no memory for a pseudo-terminal");
	*p = (struct load_pty){.l = l, .r = l->d->pty_master, .keeper = -1, .next = c->ptys};
	c->ptys = p;
	p->master = open_numbered(c, p->r, err);
	if (p->master < 0 || prepare(c, p, err) < 0)
		return NULL;
	return p;
}

void pty_load_done(struct fd_load *c)
{
	for (struct load_pty *p = c->ptys; p; p = p->next) {
		scoped_close_fd(&p->master);
		scoped_close_fd(&p->keeper);
		p->master = p->keeper = -1;
	}
}

int pty_master_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	struct load_pty *p = get_pair(c, load_find_desc(c, d->id), err);

	(void)s;
	return p ? fcntl(p->master, F_DUPFD_CLOEXEC, c->base) : -1;
}

static int stop_output(const struct load_pty *p, const struct termios2 *t, uint32_t how,
		       struct stasis_error *err)
{
	if (how == PARASITE_PTY_STOPPED_BY_CHAR && t->c_iflag & IXON && t->c_cc[VSTOP])
		return put_bytes(p->master, &t->c_cc[VSTOP], 1, err);
	if (how != PARASITE_PTY_RUNS && p->keeper >= 0 && ioctl(p->keeper, TCXONC, TCOOFF) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "stop the output of a pseudo-terminal");
	return 0;
}

/* What would be in the way of opening the slave. */
int pty_master_wire(struct session *s, struct fd_load *c, const Stasis__Description *d,
		    struct stasis_error *err)
{
	const Stasis__PtyMaster *r = d->pty_master;
	const Stasis__Object *o = fd_load_object(c, r->object);
	struct load_pty *p = get_pair(c, load_find_desc(c, d->id), err);
	int locked = r->is_locked, packet = r->is_packet;
	struct termios2 t;

	(void)s;
	if (!p)
		return -1;
	memcpy(&t, r->termios.data, sizeof(t));
	if (stop_output(p, &t, o ? o->stopped : PARASITE_PTY_RUNS, err) < 0)
		return -1;
	if (ioctl(p->master, TIOCSPTLCK, &locked) < 0 || ioctl(p->master, TIOCPKT, &packet) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "set up a pseudo-terminal");
	scoped_close_fd(&p->master);
	p->master = -1;
	return 0;
}

/* The processes have theirs. */
int pty_master_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	struct load_pty *p = get_pair(c, load_find_desc(c, d->id), err);

	(void)s;
	if (!p)
		return -1;
	scoped_close_fd(&p->keeper);
	p->keeper = -1;
	return 0;
}

/* ---- the slave ---- */

/* Run fn in a child that shares our descriptors and leads a session of its own. */
static int in_session(int (*fn)(int slave, int to), int slave, int to)
{
	struct clone_args args = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0) {
		(void)signal(SIGHUP, SIG_IGN); /* TIOCNOTTY sends it */
		_exit(setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0 || fn(slave, to) < 0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		errno = EIO;
		return -1;
	}
	return 0;
}

/* Leaves the terminal before it ends: the end of a session's leader would hang it up. */
static int open_dev_tty(int slave, int to)
{
	int fd = open("/dev/tty", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || dup3(fd, to, O_CLOEXEC) < 0)
		return -1;
	(void)close(fd);
	return ioctl(slave, TIOCNOTTY);
}

static int load_dev_tty(const struct load_pty *p, struct stasis_error *err)
{
	scoped_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* keeps the number */

	if (fd < 0 || in_session(open_dev_tty, p->keeper, fd) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/dev/tty'");
	return fd_take(&fd);
}

/* Hung up is hung up: which pair it belonged to no longer matters. */
static int load_hung_up(const Stasis__Description *d, struct stasis_error *err)
{
	unsigned index;
	int unlock = 0;
	scoped_fd int master = open_master("/dev/ptmx", &index, err);

	if (master < 0)
		return -1;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "unlock a pseudo-terminal");
	return open_slave(master, d->flags, err); /* whose master is closed now */
}

int pty_slave_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		   struct stasis_error *err)
{
	struct load_pty *p;
	const struct load_desc *m;

	(void)s;
	if (d->pty_slave->is_hung_up)
		return load_hung_up(d, err);
	m = load_find_desc(c, d->pty_slave->master);
	p = m ? get_pair(c, m, err) : NULL;
	if (!p)
		return -1;
	if (d->pty_slave->is_dev_tty)
		return load_dev_tty(p, err);
	return open_slave(p->master, d->flags, err);
}

int pty_slave_wire(struct session *s, struct fd_load *c, const Stasis__Description *d,
		   struct stasis_error *err)
{
	(void)s;
	if (d->pty_slave->is_exclusive && ioctl(c->current->fd, TIOCEXCL) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "TIOCEXCL");
	return 0;
}

/* ---- sessions, in the restored processes ---- */

static const struct load_pty *pair_of_session(const struct fd_load *c, pid_t sid)
{
	for (const struct load_pty *p = c->ptys; p; p = p->next)
		if (sid > 0 && (pid_t)p->r->session == sid && p->keeper >= 0)
			return p;
	return NULL;
}

int fd_load_take_tty(struct fd_load *c, pid_t sid, struct stasis_error *err)
{
	const struct load_pty *p = pair_of_session(c, sid);

	if (p && ioctl(p->keeper, TIOCSCTTY, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "take '%s' as control terminal",
					 p->r->node->path);
	return 0;
}

void fd_load_leave_tty(struct fd_load *c, pid_t sid)
{
	const struct load_pty *p = pair_of_session(c, sid);

	if (p)
		(void)ioctl(p->keeper, TIOCNOTTY); /* it may never have had it */
}

void fd_load_set_tty_group(struct fd_load *c, pid_t sid)
{
	const struct load_pty *p = pair_of_session(c, sid);
	pid_t group = p ? (pid_t)p->r->pgrp : 0;
	sigset_t old;
	int got;

	if (!group)
		return;
	tty_block_ttou(&old);
	got = ioctl(p->keeper, TIOCSPGRP, &group);
	tty_unblock_ttou(&old);
	if (got < 0)
		/* the group was gone but for its number: a shell is just about to set another */
		s_info(c->s, "'%s': foreground group %d: %s", p->r->node->path, group,
		       strerror(errno));
}
