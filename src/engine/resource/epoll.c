/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * epoll(7). A member is kept by the kernel under its description and the number it had when it was added;
 * both must be right, or the program could not change or remove it. The number need not be open any more.
 * At the restart the members are added by a process that exists only for that: it gives each description
 * the number in its own table, and the members stay when it is gone.
 */
#include "resource/resource_priv.h"

#include <inttypes.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MAX_MEMBERS = 1 << 20,
	/* events that need not be there: kernel and program see them as set for every member */
	ALWAYS = EPOLLERR | EPOLLHUP,
};

static bool epoll_match(const struct fd_probe *p)
{
	return !strcmp(p->link, "anon_inode:[eventpoll]");
}

/* One line of fdinfo. */
struct member {
	int tfd;
	uint32_t toff; /* how many members with the same number come before */
	uint32_t events;
	uint64_t data, ino;
};

/* proc(5): "tfd:        5 events:       1d data: ffffffff  pos:0 ino:2f sdev:10" */
static int parse_member(const char *line, struct member *m)
{
	return sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64 " pos:%*d ino:%" SCNx64,
		      &m->tfd, &m->events, &m->data, &m->ino) == 4
		       ? 0
		       : -1;
}

/* kcmp(2), KCMP_EPOLL_TFD, Linux 4.13: is the member what fd of that task refers to? -1: not allowed. */
static int is_member(const struct fd_probe *ep, const struct member *m, const struct fd_entry *e)
{
	struct kcmp_epoll_slot slot = {
		.efd = (uint32_t)ep->fd, .tfd = (uint32_t)m->tfd, .toff = m->toff};
	long got = syscall(SYS_kcmp, e->task->pid, ep->task->pid, KCMP_EPOLL_TFD, e->fd, &slot);

	return got < 0 ? (errno == EPERM || errno == ENOSYS || errno == EOPNOTSUPP ? -1 : 0) : got == 0;
}

static struct fd_desc *find_member(struct fd_save *c, const struct fd_probe *ep, const struct member *m)
{
	const struct fd_entry *usual = fd_save_find(c, ep->task, m->tfd);
	int is_usual = usual ? is_member(ep, m, usual) : 0;

	if (is_usual)
		return usual->desc; /* or all we can know */
	for (size_t i = 0; i < c->nr_entries; i++)
		if (c->entries[i].ino == m->ino && is_member(ep, m, &c->entries[i]) == 1)
			return c->entries[i].desc;
	return NULL;
}

static int add_member(struct fd_save *c, const struct fd_probe *p, const struct member *m,
		      Stasis__Epoll *r, struct stasis_error *err)
{
	struct fd_desc *d = find_member(c, p, m);
	Stasis__EpollMember *rec;

	if (!d)
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "epoll instance watches a file under the number %d that no process of "
				   "the tree has open any more; remove it (EPOLL_CTL_DEL), or -F to leave "
				   "it out",
				   m->tfd);
	rec = fd_save_alloc(c, sizeof(*rec));
	if (!rec)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an epoll instance");
	stasis__epoll_member__init(rec);
	rec->fd = (uint32_t)m->tfd;
	rec->events = m->events;
	rec->data = m->data;
	rec->desc = fd_save_refer(c, p->desc, d);
	if (!rec->desc)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an epoll instance");
	r->members[r->n_members++] = rec;
	return 0;
}

static size_t count_members(const char *text)
{
	size_t nr = 0;

	for (const char *line = text; (line = strstr(line, "tfd:")); line++)
		nr++;
	return nr;
}

static int parse_members(const char *text, struct member *ret, size_t nr, struct stasis_error *err)
{
	const char *line = text;

	for (size_t i = 0; i < nr; i++, line++) {
		line = strstr(line, "tfd:");
		if (!line || parse_member(line, &ret[i]) < 0 || ret[i].tfd < 0 ||
		    ret[i].tfd >= FD_LIMIT)
			return stasis_fail(err, STASIS_E_INTERNAL,
					   "fdinfo of an epoll instance does not look like proc(5) says");
	}
	return 0;
}

/* kcmp() counts members of one number in the order of fdinfo. */
static int count_numbers(struct member *m, size_t nr)
{
	scoped_free uint32_t *seen = calloc(FD_LIMIT, sizeof(*seen)); /* touched where needed */

	if (!seen)
		return -1;
	for (size_t i = 0; i < nr; i++)
		m[i].toff = seen[m[i].tfd]++;
	return 0;
}

/* All that can be saved is, also when one cannot be: -F leaves out no more than it must. */
static int save_members(struct fd_save *c, const struct fd_probe *p, const char *text,
			Stasis__Epoll *r, struct stasis_error *err)
{
	size_t nr = count_members(text);
	scoped_free struct member *all = calloc(nr + 1, sizeof(*all));
	struct stasis_error why, first = {.text = ""};

	r->members = fd_save_alloc(c, (nr + 1) * sizeof(*r->members));
	if (!all || !r->members)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an epoll instance");
	if (parse_members(text, all, nr, err) < 0)
		return -1;
	if (count_numbers(all, nr) < 0)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an epoll instance");
	for (size_t i = 0; i < nr; i++) {
		if (add_member(c, p, &all[i], r, &why) == 0)
			continue;
		if (!first.text[0])
			first = why;
	}
	return first.text[0] ? stasis_fail(err, first.cls, "%s", first.text) : 0;
}

static int epoll_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
		      Stasis__Description *ret, struct stasis_error *err)
{
	Stasis__Epoll *r = fd_save_alloc(c, sizeof(*r));
	scoped_free char *text = NULL;

	(void)s;
	if (!r)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for an epoll instance");
	stasis__epoll__init(r);
	if (p->fd < 0)
		return stasis_fail(err, STASIS_E_UNSUPPORTED, "epoll instance; receive it first");
	if (entry_read_fdinfo(p->desc->first, &text, err) < 0)
		return -1;
	ret->kind_case = STASIS__DESCRIPTION__KIND_EPOLL; /* also when forced: what can be saved is kept */
	ret->epoll = r;
	return save_members(c, p, text, r, err);
}

static bool is_referred(const Stasis__Description *d, uint64_t id)
{
	for (size_t i = 0; i < d->n_refers; i++)
		if (d->refers[i] == id)
			return true;
	return false;
}

/* The numbers of members must not be those of the master's copies, also such as no table has now. */
static int epoll_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	(void)s;
	if (d->epoll->n_members > MAX_MEMBERS)
		return stasis_fail(err, STASIS_E_CORRUPT, "epoll instance with %zu members",
				   d->epoll->n_members);
	for (size_t i = 0; i < d->epoll->n_members; i++) {
		const Stasis__EpollMember *m = d->epoll->members[i];

		if (m->fd >= FD_LIMIT || !load_find_desc(c, m->desc) ||
		    (i < d->n_refers && d->refers[i] != m->desc && !is_referred(d, m->desc)))
			return stasis_fail(err, STASIS_E_CORRUPT, "member %u of an epoll instance", m->fd);
		if ((int)m->fd > c->highest)
			c->highest = (int)m->fd;
	}
	return 0;
}

static int epoll_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
		      struct stasis_error *err)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	(void)s;
	(void)c;
	(void)d;
	return fd < 0 ? stasis_fail_errno(err, STASIS_E_IO, "epoll_create1") : fd;
}

static int add(int epfd, const Stasis__EpollMember *m)
{
	struct epoll_event event = {.events = m->events, .data.u64 = m->data};

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, (int)m->fd, &event) == 0)
		return 0;
	/* exclusive members take fewer flags than the kernel shows */
	event.events &= ~(uint32_t)ALWAYS;
	return epoll_ctl(epfd, EPOLL_CTL_ADD, (int)m->fd, &event) < 0 ? errno : 0;
}

/*
 * A signalfd wakes an instance by the signals of the process that added it, and no more when that is gone. So the
 * first process that has the instance adds those that it has at their numbers: see epoll_attach().
 */
static bool is_added_by_holder(struct fd_load *c, const struct load_desc *epoll, const Stasis__EpollMember *m)
{
	const struct load_desc *l = load_find_desc(c, m->desc);

	if (!l || l->d->kind_case != STASIS__DESCRIPTION__KIND_SIGNALFD || !load_is_kept(l) || epoll->first_fd < 0)
		return false;
	for (size_t i = 0; i < epoll->proc->nr_fds; i++)
		if (epoll->proc->fds[i].fd == (int)m->fd)
			return epoll->proc->fds[i].desc == l;
	return false;
}

/* In the process made for it: exit status 0, or the errno. */
static int add_all(struct fd_load *c, const Stasis__Epoll *r, int epfd)
{
	int failed;

	for (size_t i = 0; i < r->n_members; i++) {
		const Stasis__EpollMember *m = r->members[i];
		const struct load_desc *l = load_find_desc(c, m->desc);

		if (is_added_by_holder(c, c->current, m))
			continue;
		if (!load_is_kept(l)) /* /dev/null in its place cannot be watched */
			continue;
		if (dup2(l->fd, (int)m->fd) < 0)
			return errno;
		failed = add(epfd, m);
		if (failed)
			return failed;
	}
	return 0;
}

static int epoll_attach(struct session *s, struct fd_load *c, const Stasis__Description *d, pid_t pid, int fd,
			struct stasis_error *err)
{
	const struct load_desc *l = c->current;

	(void)s;
	if (l->proc->pid != pid || l->first_fd != fd)
		return 0;
	for (size_t i = 0; i < d->epoll->n_members; i++) {
		const Stasis__EpollMember *m = d->epoll->members[i];

		errno = is_added_by_holder(c, l, m) ? add(fd, m) : 0;
		if (errno)
			return stasis_fail_errno(err, STASIS_E_IO, "add signalfd %u to an epoll instance", m->fd);
	}
	return 0;
}

/* When all is in place: what a member refers to may be made late, such as a pidfd. */
static int epoll_finish(struct session *s, struct fd_load *c, const Stasis__Description *d,
			struct stasis_error *err)
{
	int status = 0;
	pid_t pid;

	(void)s;
	if (!d->epoll->n_members)
		return 0;
	pid = fork();
	if (pid == 0)
		_exit(add_all(c, d->epoll, c->current->fd));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return stasis_fail_errno(err, STASIS_E_IO, "add members to an epoll instance");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return stasis_fail_errno(err, STASIS_E_IO, "add members to an epoll instance");
}

const struct resource_kind kind_epoll = {
	.name = "epoll",
	.tag = STASIS__DESCRIPTION__KIND_EPOLL,
	.match = epoll_match,
	.save = epoll_save,
	.verify = epoll_verify,
	.load = epoll_load,
	.attach = epoll_attach,
	.finish = epoll_finish,
	.is_finished_last = true,
};
