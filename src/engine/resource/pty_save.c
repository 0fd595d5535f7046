/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pseudo-terminals with both sides in the tree, while they are saved. The master's description holds the
 * state of the pair, and those of the slave refer to it; which slave belongs to which master is told by
 * the number and the devpts instance. A slave whose master is elsewhere is a terminal like any other:
 * tty.c.
 *
 * What is queued can only be seen by taking it, which the parasite of a process that has the master does
 * (parasite/pty.c), and only when all obstacles are known and the image is being written.
 */
#include "resource/resource_priv.h"

#include "inject/inject.h"
#include "lib/proc.h"

#include <asm/termbits.h>
#include <dirent.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

struct pty_pair {
	struct fd_desc *master;
	dev_t instance; /* of devpts */
	unsigned index;
	pid_t session; /* 0: none */
	char *node;    /* path of the slave */
	bool has_slave; /* the tree has it open */
	bool is_peeked;
	uint8_t *bytes;
	Stasis__Object rec;
	size_t written; /* like fd_desc.written */
	struct pty_pair *next;
};

static int no_memory(struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_NOMEM, "no memory for a terminal");
}

/* ---- which pairs there are ---- */

static bool is_devpts(const char *path)
{
	struct statfs sf;

	return statfs(path, &sf) == 0 && sf.f_type == DEVPTS_SUPER_MAGIC;
}

/* The kernel takes for /dev/ptmx the devpts at "pts" beside it (Linux 4.7); each instance also has a
 * ptmx of its own. *ret is the folder with the slaves. */
static int find_instance(struct fd_save *c, const char *ptmx, char **ret)
{
	char path[PATH_MAX];
	const char *slash = strrchr(ptmx, '/');

	if (!slash)
		return -1;
	(void)snprintf(path, sizeof(path), "%.*s", (int)(slash - ptmx), ptmx);
	if (!is_devpts(path))
		(void)snprintf(path, sizeof(path), "%.*s/pts", (int)(slash - ptmx), ptmx);
	if (!is_devpts(path))
		return -1;
	*ret = fd_save_strdup(c, path);
	return *ret ? 0 : -1;
}

static int add_pair(struct fd_save *c, struct fd_desc *d, int fd, const char *link)
{
	struct pty_pair *p = fd_save_alloc(c, sizeof(*p));
	char path[PATH_MAX + 16], *folder;
	struct stat st;
	pid_t sid;

	if (!p)
		return -1;
	/* not reachable from here: save() says so */
	if (ioctl(fd, TIOCGPTN, &p->index) < 0 || find_instance(c, link, &folder) < 0 ||
	    stat(folder, &st) < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%u", folder, p->index);
	p->node = fd_save_strdup(c, path);
	if (!p->node)
		return -1;
	p->instance = st.st_dev;
	p->master = d;
	p->session = ioctl(fd, TIOCGSID, &sid) == 0 ? sid : 0;
	p->next = c->pty_pairs;
	c->pty_pairs = p;
	return 0;
}

static int look_for_master(struct fd_save *c, struct fd_desc *d)
{
	const struct fd_entry *e = d->first;
	char name[32];
	scoped_free char *link = NULL;
	scoped_fd int fd = -1;
	struct stat st;

	(void)snprintf(name, sizeof(name), "fd/%d", e->fd);
	if (e->fd < 0 || e->flags & O_PATH || fstatat(e->task->procfd, name, &st, 0) < 0 ||
	    !pty_is_master(&st))
		return 0;
	link = proc_readlink(e->task->procfd, name, NULL);
	fd = entry_get_fd(e, NULL);
	return link && fd >= 0 ? add_pair(c, d, fd, link) : 0;
}

static struct pty_pair *pairs(struct fd_save *c)
{
	if (!c->has_pty_pairs)
		for (size_t i = 0; i < c->nr_descs; i++)
			if (look_for_master(c, c->descs[i]) < 0)
				return NULL;
	c->has_pty_pairs = true;
	return c->pty_pairs;
}

static struct pty_pair *pair_of_master(struct fd_save *c, const struct fd_desc *d)
{
	for (struct pty_pair *p = pairs(c); p; p = p->next)
		if (p->master == d)
			return p;
	return NULL;
}

static struct pty_pair *pair_of_session(struct fd_save *c, pid_t sid)
{
	for (struct pty_pair *p = pairs(c); p; p = p->next)
		if (sid > 0 && p->session == sid)
			return p;
	return NULL;
}

bool pty_is_master(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(TTYAUX_MAJOR, PTMX_MINOR);
}

bool pty_is_slave(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && major(st->st_rdev) >= PTS_FIRST_MAJOR &&
	       major(st->st_rdev) <= PTS_LAST_MAJOR;
}

/* A descriptor of /dev/tty tells only the number of its terminal; with the session it is certain. */
static struct pty_pair *pair_of_slave(struct fd_save *c, const struct fd_probe *p)
{
	unsigned int dev;

	if (!pty_is_slave(&p->st)) {
		struct pty_pair *pair = pair_of_session(c, p->task->sid);

		if (!pair || p->local_fd < 0 || ioctl(p->local_fd, TIOCGDEV, &dev) < 0)
			return NULL;
		return dev == makedev(PTS_FIRST_MAJOR, pair->index) ? pair : NULL;
	}
	for (struct pty_pair *pair = pairs(c); pair; pair = pair->next)
		if (pair->instance == p->st.st_dev && pair->index == minor(p->st.st_rdev) &&
		    major(p->st.st_rdev) == PTS_FIRST_MAJOR)
			return pair;
	return NULL;
}

bool fd_save_has_tty(struct fd_save *c, pid_t sid)
{
	return pair_of_session(c, sid) != NULL;
}

/* ---- the master ---- */

static bool pty_master_match(const struct fd_probe *p)
{
	return pty_is_master(&p->st) && !p->is_path;
}

static struct task *find_task(const struct tree *tree, pid_t pid)
{
	struct task *t;
	size_t i;

	tree_for_each(tree, i, t)
		if (t->pid == pid)
			return t;
	return NULL;
}

/* Who outside of the tree has the slave open? The kernel does not tell whether anybody has, so this
 * is for the case that none of the tree has it. */
static pid_t find_outside(const struct fd_save *c, const struct stat *node)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (proc && !found && (e = readdir(proc)) != NULL) {
		pid_t pid = atoi(e->d_name);
		scoped_fd int procfd = -1;

		if (pid <= 0 || find_task(c->tree, pid))
			continue;
		procfd = proc_open(pid, NULL);
		if (procfd >= 0 && proc_has_open(procfd, node))
			found = pid;
	}
	if (proc)
		(void)closedir(proc);
	return found;
}

static int check_outside(struct fd_save *c, struct pty_pair *pair, const struct stat *node,
			 struct stasis_error *err)
{
	pid_t pid = 0;

	if (pair->session && !find_task(c->tree, pair->session))
		pid = pair->session;
	else if (!pair->session && !pair->has_slave)
		pid = find_outside(c, node);
	if (!pid)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "pseudo-terminal whose other side, '%s', is used by process %d, which is "
			   "not selected; checkpoint both (-r and their common parent)",
			   pair->node, pid);
}

static int save_owner(struct fd_save *c, const struct stat *st, char *path, Stasis__FileId **ret)
{
	*ret = fd_save_alloc(c, sizeof(**ret));
	if (!*ret)
		return -1;
	file_id_fill(*ret, st, path);
	return 0;
}

static int put_bytes(struct fd_save *c, ProtobufCBinaryData *ret, const void *bytes, size_t len)
{
	ret->data = arena_memdup(&c->arena, bytes, len);
	ret->len = ret->data ? len : 0;
	return ret->data ? 0 : -1;
}

static Stasis__PtyPeer peer_of(const struct pty_pair *pair, int master)
{
	struct pollfd p = {.fd = master, .events = POLLIN};

	if (poll(&p, 1, 0) >= 0 && p.revents & POLLHUP)
		return STASIS__PTY_PEER__PTY_PEER_CLOSED;
	return pair->has_slave || pair->session ? STASIS__PTY_PEER__PTY_PEER_OPEN
						: STASIS__PTY_PEER__PTY_PEER_NEVER_OPENED;
}

/* A status byte of packet mode cannot be put back. */
static int check_packet(int master, const struct termios2 *t, struct stasis_error *err)
{
	struct pollfd p = {.fd = master, .events = POLLPRI};

	if (t->c_lflag & EXTPROC || (poll(&p, 1, 0) >= 0 && p.revents & POLLPRI))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "pseudo-terminal in packet mode %s is not supported; let the "
				   "program that has its master read first",
				   t->c_lflag & EXTPROC ? "with EXTPROC" : "with an unread status");
	return 0;
}

static int save_state(struct fd_save *c, struct pty_pair *pair, const struct fd_probe *p,
		      Stasis__PtyMaster *r, struct stasis_error *err)
{
	struct winsize window;
	struct termios2 t;
	int packet = 0, lock = 0;
	pid_t pgrp = 0;

	/* of a master these are the slave's (tty_ioctl.c) */
	if (ioctl(p->local_fd, TCGETS2, &t) < 0 || ioctl(p->local_fd, TIOCGWINSZ, &window) < 0 ||
	    ioctl(p->local_fd, TIOCGPKT, &packet) < 0 || ioctl(p->local_fd, TIOCGPTLCK, &lock) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of pseudo-terminal %u", pair->index);
	if (packet && check_packet(p->local_fd, &t, err) < 0)
		return -1;
	if (put_bytes(c, &r->termios, &t, sizeof(t)) < 0 ||
	    put_bytes(c, &r->winsize, &window, sizeof(window)) < 0)
		return no_memory(err);
	r->index = pair->index;
	r->is_packet = packet;
	r->is_locked = lock;
	r->peer = peer_of(pair, p->local_fd);
	if (!pair->session)
		return 0;
	r->session = (uint32_t)tree_vpid_of(c->tree, pair->session);
	if (ioctl(p->local_fd, TIOCGPGRP, &pgrp) == 0 && pgrp > 0)
		r->pgrp = (uint32_t)tree_vpid_of(c->tree, pgrp);
	return 0;
}

static void note_slaves(struct fd_save *c, struct pty_pair *pair, const struct stat *node)
{
	struct task *t;
	size_t i;

	tree_for_each(c->tree, i, t)
		if (t->state != TASK_ZOMBIE && !pair->has_slave)
			pair->has_slave = proc_has_open(t->procfd, node);
}

static int pty_master_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			   Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__PtyMaster *r = fd_save_alloc(c, sizeof(*r));
	struct pty_pair *pair = pair_of_master(c, p->desc);
	struct stat node;

	(void)s;
	if (!r)
		return no_memory(err);
	if (p->local_fd < 0)
		return stasis_fail(err, STASIS_E_DENIED, "pseudo-terminal cannot be looked at");
	if (!pair || file_path_state(p) != PATH_SAME || stat(pair->node, &node) < 0 ||
	    node.st_dev != pair->instance)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "pseudo-terminal of another devpts instance, or without one here, "
				   "is not supported; checkpoint it from inside of its container");
	stasis__pty_master__init(r);
	note_slaves(c, pair, &node);
	if (check_outside(c, pair, &node, err) < 0 || save_state(c, pair, p, r, err) < 0)
		return -1;
	r->file = file_id_make(c, p);
	if (!r->file || save_owner(c, &node, pair->node, &r->node) < 0)
		return no_memory(err);
	r->object = c->objects.fresh(c->objects.arg);
	stasis__object__init(&pair->rec);
	pair->rec.id = r->object;
	pair->rec.type = STASIS__OBJECT_TYPE__OBJECT_PTY;
	ret->kind_case = STASIS__DESCRIPTION__KIND_PTY_MASTER;
	ret->pty_master = r;
	return 0;
}

/* ---- what is queued ---- */

/* Reading the slave from the background of the session that it controls is refused by the kernel
 * (job control), so better a process of another session. */
static const struct fd_entry *find_reader(struct fd_save *c, const struct pty_pair *pair)
{
	const struct fd_entry *found = NULL;

	for (size_t i = 0; i < c->nr_entries; i++) {
		const struct fd_entry *e = &c->entries[i];

		if (e->desc != pair->master || !e->task->inject)
			continue;
		if (e->task->sid != pair->session)
			return e;
		found = e;
	}
	return found;
}

static int keep_content(struct fd_save *c, struct pty_pair *pair, const struct parasite_pty *now,
			struct stasis_error *err)
{
	Stasis__Object *o = &pair->rec;

	o->content_len = now->input_len;
	o->size = (uint64_t)now->input_len + now->output_len;
	o->stopped = now->stopped;
	o->packets = fd_save_alloc(c, (now->nr_lines + 1) * sizeof(*o->packets));
	pair->bytes = fd_save_alloc(c, o->size + 1);
	if (!o->packets || !pair->bytes)
		return no_memory(err);
	for (uint32_t i = 0; i < now->nr_lines; i++)
		o->packets[i] = now->lines[i];
	o->n_packets = now->nr_lines;
	memcpy(pair->bytes, now->input, now->input_len);
	memcpy(pair->bytes + now->input_len, now->output, now->output_len);
	return 0;
}

/* A slave that nobody has opened yet is left alone: closed again, it would be hung up. */
static int peek(struct fd_save *c, struct pty_pair *pair, struct stasis_error *err)
{
	const Stasis__PtyMaster *r = pair->master->rec.pty_master;
	const struct fd_entry *e = find_reader(c, pair);
	scoped_free struct parasite_pty *now = calloc(1, sizeof(*now));

	if (!now)
		return no_memory(err);
	if (r->peer != STASIS__PTY_PEER__PTY_PEER_NEVER_OPENED) {
		if (!e)
			return stasis_fail(err, STASIS_E_UNSUPPORTED,
					   "pseudo-terminal whose master no process has open");
		if (inject_pty(e->task, e->fd, now, err) < 0)
			return stasis_fail_prefix(err, "content of '%s'", pair->node);
	}
	pair->is_peeked = true;
	return keep_content(c, pair, now, err);
}

static int pty_master_write(struct session *s, struct fd_save *c, struct task *t, struct fd_desc *d,
			    struct image_writer *w, struct stasis_error *err)
{
	struct pty_pair *pair = pair_of_master(c, d);

	(void)s;
	if (!pair)
		return stasis_fail(err, STASIS_E_INTERNAL, "pseudo-terminal was not saved");
	if (pair->written == t->index + 1)
		return 0;
	pair->written = t->index + 1;
	if (!pair->is_peeked) {
		pair->rec.holder = (uint32_t)t->vpid;
		if (peek(c, pair, err) < 0)
			return -1;
	}
	if (image_put_record(w, IMAGE_TAG_OBJECT, &pair->rec.base, err) < 0)
		return -1;
	if (pair->rec.holder != (uint32_t)t->vpid || !pair->rec.size)
		return 0;
	return image_put_bulk(w, pair->rec.id, 0, pair->bytes, pair->rec.size, err);
}

/* ---- the slave ---- */

/* Output that is stopped must be started for a moment, of which packet mode would tell. */
static bool is_stopped_packet(const struct fd_probe *p, const struct pty_pair *pair)
{
	scoped_fd int master = entry_get_fd(pair->master->first, NULL);
	struct pollfd ask = {.fd = p->local_fd, .events = POLLOUT};
	int packet = 0;

	return master >= 0 && ioctl(master, TIOCGPKT, &packet) == 0 && packet &&
	       poll(&ask, 1, 0) == 0;
}

static int check_slave(const struct fd_probe *p, const struct pty_pair *pair,
		       struct stasis_error *err)
{
	int discipline = 0;

	if (is_stopped_packet(p, pair))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "terminal '%.100s' in packet mode whose output is stopped or full "
				   "is not supported; let the program that has its master read first",
				   p->link);
	if (ioctl(p->local_fd, TIOCGETD, &discipline) == 0 && discipline != N_TTY)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "terminal '%.100s' with line discipline %d is not supported; set it "
				   "back before the checkpoint",
				   p->link, discipline);
	return 0;
}

/* To look into it, a process opens it once more. */
static int check_exclusive(const struct fd_probe *p, struct stasis_error *err)
{
	scoped(proc_status_done) struct proc_status st = {.groups = NULL};

	if (proc_read_status(p->task->procfd, "status", &st, err) < 0)
		return -1;
	if (st.cap_eff >> CAP_SYS_ADMIN & 1)
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "terminal '%.100s' in exclusive mode is supported only for root's "
			   "processes; leave the mode (TIOCNXCL) before the checkpoint",
			   p->link);
}

static int fill_slave(struct fd_save *c, const struct fd_probe *p, Stasis__PtySlave **ret,
		      struct stasis_error *err)
{
	Stasis__PtySlave *r = fd_save_alloc(c, sizeof(*r));

	if (!r)
		return no_memory(err);
	stasis__pty_slave__init(r);
	r->file = file_id_make(c, p);
	if (!r->file)
		return no_memory(err);
	*ret = r;
	return 0;
}

int pty_slave_save(struct fd_save *c, const struct fd_probe *p, bool *ret_is_ours,
		   Stasis__Description *ret, struct stasis_error *err)
{
	struct pty_pair *pair = pair_of_slave(c, p);
	Stasis__PtySlave *r;
	int exclusive = 0;

	*ret_is_ours = pair != NULL;
	if (!pair)
		return 0;
	if (check_slave(p, pair, err) < 0 || fill_slave(c, p, &r, err) < 0)
		return -1;
	if (ioctl(p->local_fd, TIOCGEXCL, &exclusive) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.100s': TIOCGEXCL", p->link);
	if (exclusive && check_exclusive(p, err) < 0)
		return -1;
	r->is_exclusive = exclusive;
	r->is_dev_tty = !pty_is_slave(&p->st);
	r->master = fd_save_refer(c, p->desc, pair->master);
	if (!r->master)
		return no_memory(err);
	ret->kind_case = STASIS__DESCRIPTION__KIND_PTY_SLAVE;
	ret->pty_slave = r;
	return 0;
}

/* One that hung up refuses everything with EIO (hung_up_tty_fops). */
static bool pty_slave_match(const struct fd_probe *p)
{
	struct termios2 t;

	return pty_is_slave(&p->st) && !p->is_path && p->local_fd >= 0 &&
	       ioctl(p->local_fd, TCGETS2, &t) < 0 && errno == EIO;
}

static int pty_hung_up_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			    Stasis__Description *ret, struct stasis_error *err)
{
	struct pty_pair *pair = file_path_state(p) == PATH_SAME ? pair_of_slave(c, p) : NULL;
	Stasis__PtySlave *r;

	(void)s;
	if (fill_slave(c, p, &r, err) < 0)
		return -1;
	r->is_hung_up = true;
	if (pair) {
		r->master = fd_save_refer(c, p->desc, pair->master);
		if (!r->master)
			return no_memory(err);
	}
	ret->kind_case = STASIS__DESCRIPTION__KIND_PTY_SLAVE;
	ret->pty_slave = r;
	return 0;
}

const struct resource_kind kind_pty_master = {
	.name = "pseudo-terminal master",
	.tag = STASIS__DESCRIPTION__KIND_PTY_MASTER,
	.match = pty_master_match,
	.save = pty_master_save,
	.write = pty_master_write,
	.verify = pty_master_verify,
	.load = pty_master_load,
	.wire = pty_master_wire,
	.finish = pty_master_finish,
};

/* The living ones are saved by kind_tty, which asks pty_slave_save(). */
const struct resource_kind kind_pty_slave = {
	.name = "tty",
	.tag = STASIS__DESCRIPTION__KIND_PTY_SLAVE,
	.match = pty_slave_match,
	.save = pty_hung_up_save,
	.verify = pty_slave_verify,
	.load = pty_slave_load,
	.wire = pty_slave_wire,
};
