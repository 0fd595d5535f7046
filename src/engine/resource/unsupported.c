/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every kind that cannot be saved, by name: an obstacle that says what it is and what to do. With -F
 * such a descriptor becomes /dev/null at the restart.
 */
#include "resource/resource_priv.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

/* clang-format off */
/* What the link of /proc/PID/fd begins with (alloc_anon_inode and friends in the kernel's source). */
static const struct {
	const char *prefix, *what;
} by_link[] = {
	{"anon_inode:[userfaultfd]",       "userfaultfd"},
	{"anon_inode:[io_uring]",          "io_uring"},
	{"anon_inode:[perf_event]",        "perf event"},
	{"anon_inode:bpf-map",             "BPF map"},
	{"anon_inode:bpf-prog",            "BPF program"},
	{"anon_inode:bpf_link",            "BPF link"},
	{"anon_inode:bpf-link",            "BPF link"},
	{"anon_inode:bpf_iter",            "BPF iterator"},
	{"anon_inode:btf",                 "BPF type information (btf)"},
	{"anon_inode:seccomp notify",      "seccomp notification descriptor"},
	{"anon_inode:[landlock-ruleset]",  "landlock ruleset"},
	{"anon_inode:landlock-ruleset",    "landlock ruleset"},
	{"anon_inode:[fscontext]",         "file system context (fsopen)"},
	{"anon_inode:sync_file",           "sync file"},
	{"anon_inode:kvm-vm",              "KVM virtual machine"},
	{"anon_inode:kvm-vcpu",            "KVM virtual CPU"},
	{"anon_inode:[vfio",               "VFIO device"},
	{"anon_inode:[lineevent]",         "GPIO line event"},
	{"/dmabuf:",                       "dma-buf"},
	{"/secretmem",                     "secret memory (memfd_secret)"},
	{"/[secretmem]",                   "secret memory (memfd_secret)"},
};

static const struct {
	int family, type; /* type 0: any */
	const char *what;
} by_socket[] = {
	{AF_INET,      SOCK_STREAM,    "stream socket that is not TCP (MPTCP, SCTP, SMC)"},
	{AF_INET,      SOCK_DGRAM,     "datagram socket that is neither UDP nor ICMP (L2TP)"},
	{AF_INET6,     SOCK_STREAM,    "stream socket that is not TCP (MPTCP, SCTP, SMC)"},
	{AF_INET6,     SOCK_DGRAM,     "datagram socket that is neither UDP nor ICMP (L2TP)"},
	{AF_VSOCK,     0,              "vsock socket"},
	{AF_ALG,       0,              "kernel crypto socket (AF_ALG)"},
	{AF_BLUETOOTH, 0,              "bluetooth socket"},
	{AF_CAN,       0,              "CAN socket"},
	{AF_XDP,       0,              "XDP socket"},
	{AF_TIPC,      0,              "TIPC socket"},
	{AF_KCM,       0,              "KCM socket"},
};
/* clang-format on */

#define FS_MAGIC_MQUEUE 0x19800202u /* ipc/mqueue.c */
#define FS_MAGIC_SECRET 0x5345434du /* mm/secretmem.c */

static bool unsupported_match(const struct fd_probe *p)
{
	(void)p;
	return true;
}

static const char *socket_name(const struct fd_probe *p, char *buf, size_t len)
{
	int family = 0, type = 0;
	socklen_t size = sizeof(int);

	if (p->local_fd < 0 ||
	    getsockopt(p->local_fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 ||
	    getsockopt(p->local_fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return "socket";
	for (size_t i = 0; i < sizeof(by_socket) / sizeof(by_socket[0]); i++)
		if (by_socket[i].family == family && (!by_socket[i].type || by_socket[i].type == type))
			return by_socket[i].what;
	(void)snprintf(buf, len, "socket of family %d and type %d", family, type);
	return buf;
}

static const char *device_name(const struct fd_probe *p, char *buf, size_t len)
{
	(void)snprintf(buf, len, "%s device %u:%u '%.80s'",
		       S_ISBLK(p->st.st_mode) ? "block" : "character", major(p->st.st_rdev),
		       minor(p->st.st_rdev), p->link);
	return buf;
}

static const char *file_system_name(uint32_t magic)
{
	switch (magic) {
	case FS_MAGIC_MQUEUE:
		return "POSIX message queue";
	case FS_MAGIC_SECRET:
		return "secret memory (memfd_secret)";
	default:
		return NULL;
	}
}

static const char *name_of(const struct fd_probe *p, char *buf, size_t len)
{
	const char *what = file_system_name(p->fs_magic);

	for (size_t i = 0; i < sizeof(by_link) / sizeof(by_link[0]); i++)
		if (!strncmp(p->link, by_link[i].prefix, strlen(by_link[i].prefix)))
			return by_link[i].what;
	if (what)
		return what;
	if (S_ISSOCK(p->st.st_mode))
		return socket_name(p, buf, len);
	if (S_ISCHR(p->st.st_mode) || S_ISBLK(p->st.st_mode))
		return device_name(p, buf, len);
	if (!strncmp(p->link, "anon_inode:", 11)) {
		(void)snprintf(buf, len, "kernel object '%.100s'", p->link + 11);
		return buf;
	}
	(void)snprintf(buf, len, "'%.100s' (unknown file type 0%o)", p->link,
		       p->st.st_mode & S_IFMT);
	return buf;
}

/* The kernel maps rings only where it chooses, and tells nobody the flags, event descriptors and buffers of an
 * instance: it cannot be made again. Runtimes that use it do without when asked. */
static const char *way_out(const struct fd_probe *p)
{
	if (!strcmp(p->link, "anon_inode:[io_uring]"))
		return "is not supported: its rings cannot be put back where they were; close it before the "
		       "checkpoint, or let the program do without (UV_USE_IO_URING=0 for node, "
		       "io_method=worker for PostgreSQL)";
	return "is not supported yet; close it before the checkpoint";
}

static int unsupported_save(struct session *s, struct fd_save *c, const struct fd_probe *p,
			    Stasis__Description *ret, struct stasis_error *err)
{
	char buf[160];

	(void)s;
	(void)c;
	(void)ret; /* the caller makes the record when it is forced to go on */
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "%s %s", name_of(p, buf, sizeof(buf)), way_out(p));
}

static int unsupported_verify(struct session *s, struct fd_load *c, const Stasis__Description *d,
			      struct stasis_error *err)
{
	(void)err;
	if (c->current->proc)
		s_warn(s, "%s(%d) fd %d: becomes /dev/null, the checkpoint was forced: %s",
		       c->current->proc->comm, c->current->proc->pid, c->current->first_fd,
		       d->unsupported->what);
	return 0;
}

static int unsupported_load(struct session *s, struct fd_load *c, const Stasis__Description *d,
			    struct stasis_error *err)
{
	int fd = open("/dev/null", (int)(d->flags & O_ACCMODE) | O_CLOEXEC);

	(void)s;
	(void)c;
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open '/dev/null'");
	return fd;
}

const struct resource_kind kind_unsupported = {
	.name = "unsupported",
	.tag = STASIS__DESCRIPTION__KIND_UNSUPPORTED,
	.match = unsupported_match,
	.save = unsupported_save,
	.verify = unsupported_verify,
	.load = unsupported_load,
};
