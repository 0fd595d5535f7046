/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel tells of Unix sockets beside the descriptor: who is connected with whom, who waits
 * to be accepted, to which inode a name is bound (unix_diag, Linux 3.3, for every user). All sockets of
 * a network namespace are listed once; the tree stands still meanwhile.
 */
#include "resource/unix.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <dirent.h>
#include <sched.h>
#include <string.h>

enum {
	ANSWER_BYTES = 1 << 16,
	STATE_ESTABLISHED = 1, /* include/net/tcp_states.h, for Unix sockets too */
	STATE_LISTEN = 10,
	ROOM_STEP = 64,
};

struct unix_table {
	ino_t namespace;
	size_t nr, room;
	struct unix_info *infos; /* by ino */
	struct unix_table *next;
};

static int send_request(int fd, struct stasis_error *err)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req body;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = AF_UNIX,
			 .udiag_states = ~0u,
			 .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER |
				       UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN},
	};

	if (send(fd, &request, sizeof(request), 0) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "ask the kernel for Unix sockets");
	return 0;
}

static int take_pending(struct fd_save *c, struct unix_info *info, const void *value, size_t len)
{
	info->nr_pending = len / sizeof(*info->pending);
	info->pending = arena_memdup(&c->arena, value, info->nr_pending * sizeof(*info->pending));
	return info->pending ? 0 : -1;
}

/* Values are not aligned to more than four bytes. */
static int take_attribute(struct fd_save *c, struct unix_info *info, unsigned type,
			  const void *value, size_t len)
{
	struct unix_diag_vfs vfs;
	struct unix_diag_rqlen queue;

	switch (type) {
	case UNIX_DIAG_NAME:
		info->name_len = len < UNIX_NAME_MAX ? len : UNIX_NAME_MAX;
		memcpy(info->name, value, info->name_len);
		return 0;
	case UNIX_DIAG_VFS:
		if (len < sizeof(vfs))
			return 0;
		memcpy(&vfs, value, sizeof(vfs));
		info->has_file = true;
		info->file_ino = vfs.udiag_vfs_ino;
		return 0;
	case UNIX_DIAG_PEER:
		info->has_peer = len >= sizeof(info->peer);
		if (info->has_peer)
			memcpy(&info->peer, value, sizeof(info->peer));
		return 0;
	case UNIX_DIAG_ICONS:
		return take_pending(c, info, value, len);
	case UNIX_DIAG_RQLEN:
		if (len < sizeof(queue))
			return 0;
		memcpy(&queue, value, sizeof(queue));
		info->queued = queue.udiag_rqueue;
		info->backlog = queue.udiag_wqueue;
		return 0;
	case UNIX_DIAG_SHUTDOWN:
		info->shutdown = *(const uint8_t *)value;
		return 0;
	default:
		return 0;
	}
}

static struct unix_info *add(struct unix_table *t)
{
	if (t->nr == t->room) {
		size_t room = 2 * t->room + ROOM_STEP;
		struct unix_info *more = realloc(t->infos, room * sizeof(*more));

		if (!more)
			return NULL;
		t->infos = more;
		t->room = room;
	}
	memset(&t->infos[t->nr], 0, sizeof(*t->infos));
	return &t->infos[t->nr++];
}

static int take_socket(struct fd_save *c, struct nlmsghdr *head)
{
	const struct unix_diag_msg *m = NLMSG_DATA(head);
	int left = (int)head->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*m));
	const uint8_t *at = (const uint8_t *)(m + 1);
	struct unix_info *info;

	if (left < 0)
		return 0;
	info = add(c->unix_table);
	if (!info)
		return -1;
	info->ino = m->udiag_ino;
	info->type = m->udiag_type;
	info->is_listening = m->udiag_state == STATE_LISTEN;
	info->is_connected = m->udiag_state == STATE_ESTABLISHED;
	while (left >= (int)sizeof(struct rtattr)) {
		struct rtattr a;
		size_t step;

		memcpy(&a, at, sizeof(a));
		step = RTA_ALIGN(a.rta_len);
		if (a.rta_len < sizeof(a) || a.rta_len > (size_t)left)
			break;
		if (take_attribute(c, info, a.rta_type, at + sizeof(a), a.rta_len - sizeof(a)) < 0)
			return -1;
		at += step;
		left -= (int)step;
	}
	return 0;
}

/* 1: there is more to come. */
static int take_answer(struct fd_save *c, uint8_t *answer, size_t len,
		       struct stasis_error *err)
{
	for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, len);
	     h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (errno == ENOENT)
				return stasis_fail(err, STASIS_E_UNSUPPORTED,
						   "the kernel does not list Unix sockets; it needs "
						   "CONFIG_UNIX_DIAG (modprobe unix_diag)");
			return stasis_fail_errno(err, STASIS_E_IO, "list Unix sockets");
		}
		if (take_socket(c, h) < 0)
			return stasis_fail(err, STASIS_E_NOMEM, "no memory for Unix sockets");
	}
	return 1;
}

static int compare_infos(const void *pa, const void *pb)
{
	const struct unix_info *a = pa, *b = pb;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

/* The kernel answers for the namespace in which the socket was made. */
static int open_netlink(int namespace, struct stasis_error *err)
{
	scoped_fd int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1;

	if (namespace >= 0 && (ours < 0 || setns(namespace, CLONE_NEWNET) < 0))
		return stasis_fail(err, STASIS_E_UNSUPPORTED,
				   "Unix socket of another network namespace cannot be looked at (%s); "
				   "run as root",
				   strerror(errno));
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (namespace >= 0 && setns(ours, CLONE_NEWNET) < 0)
		return stasis_fail_errno(err, STASIS_E_INTERNAL, "return to our network namespace");
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "netlink socket");
	return fd_take(&fd);
}

static int list_all(struct fd_save *c, int namespace, ino_t id, struct stasis_error *err)
{
	scoped_fd int fd = open_netlink(namespace, err);
	scoped_free uint8_t *answer = malloc(ANSWER_BYTES);
	int more = 1;

	struct unix_table *t = fd_save_alloc(c, sizeof(*t));

	if (!answer || !t)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for Unix sockets");
	if (fd < 0)
		return -1;
	t->namespace = id;
	t->next = c->unix_table;
	c->unix_table = t;
	if (send_request(fd, err) < 0)
		return -1;
	while (more > 0) {
		ssize_t n = recv(fd, answer, ANSWER_BYTES, 0);

		if (n < 0)
			return stasis_fail_errno(err, STASIS_E_IO, "list Unix sockets");
		more = take_answer(c, answer, (size_t)n, err);
	}
	if (t->nr)
		qsort(t->infos, t->nr, sizeof(*t->infos), compare_infos);
	return more;
}

static int list_namespace(struct fd_save *c, const struct task *t, struct stasis_error *err)
{
	scoped_fd int theirs = openat(t->procfd, "ns/net", O_RDONLY | O_CLOEXEC);
	const struct unix_table *table = c->unix_table;
	struct stat st, ours;

	if (stat("/proc/thread-self/ns/net", &ours) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'/proc/thread-self/ns/net'");
	if (theirs < 0 || fstat(theirs, &st) < 0)
		st = ours; /* then we may not look there, and need not know */
	while (table && table->namespace != st.st_ino)
		table = table->next;
	if (table)
		return 0;
	return list_all(c, st.st_ino == ours.st_ino ? -1 : theirs, st.st_ino, err);
}

struct unix_info *unix_info_find(const struct fd_save *c, uint64_t ino)
{
	struct unix_info key = {.ino = (uint32_t)ino}, *found = NULL;

	for (const struct unix_table *t = c->unix_table; ino && t && !found; t = t->next)
		if (t->nr)
			found = bsearch(&key, t->infos, t->nr, sizeof(key), compare_infos);
	return found;
}

struct unix_info *unix_info_get(struct fd_save *c, const struct task *t, uint64_t ino,
				struct stasis_error *err)
{
	struct unix_info *found = unix_info_find(c, ino);

	if (found)
		return found;
	return list_namespace(c, t, err) < 0 ? NULL : unix_info_find(c, ino);
}

bool unix_info_has_orphan_data(const struct fd_save *c, const struct unix_info *listener)
{
	for (const struct unix_table *t = c->unix_table; t; t = t->next)
		for (size_t i = 0; i < t->nr && !t->infos[i].ino; i++) {
			const struct unix_info *info = &t->infos[i];

			if (info->queued && !info->peer && info->name_len == listener->name_len &&
			    !memcmp(info->name, listener->name, info->name_len))
				return true;
		}
	return false;
}

static bool has_socket(pid_t pid, const char *link)
{
	char path[32];
	struct dirent *entry;
	scoped_dir DIR *dir = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char target[64];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (n > 0 && (size_t)n == strlen(link) && !memcmp(target, link, (size_t)n))
			return true;
	}
	return false;
}

static void read_name(pid_t pid, char *buf, size_t len)
{
	char path[32];
	scoped_file FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(buf, (int)len, f))
		(void)snprintf(buf, len, "?");
	buf[strcspn(buf, "\n")] = '\0';
}

void unix_info_holder(uint32_t ino, char *buf, size_t len)
{
	scoped_dir DIR *dir = ino ? opendir("/proc") : NULL;
	char link[32], name[20];
	struct dirent *entry;

	(void)snprintf(buf, len, "a process");
	(void)snprintf(link, sizeof(link), "socket:[%u]", ino);
	while (dir && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || !has_socket(pid, link))
			continue;
		read_name(pid, name, sizeof(name));
		(void)snprintf(buf, len, "%s(%d)", name, pid);
		return;
	}
}

void unix_save_done(struct fd_save *c)
{
	unix_guard_end(c);
	for (struct unix_table *t = c->unix_table; t; t = t->next)
		free(t->infos); /* the table itself is in the arena */
	c->unix_table = NULL;
}
