/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds one descriptor of each kind that Stasis cannot save yet, as many as this kernel and this user
 * allow. Writes one line "FD=TEXT" for each to the file "kinds" and to its standard output, TEXT being
 * what the obstacle must say, then waits until it is killed.
 */
#include "subject.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int make_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static int make_alg(void)
{
	return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static int make_fanotify(void)
{
	return fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
}

static int make_userfaultfd(void)
{
	const int user_mode_only = 1;

	return (int)syscall(SYS_userfaultfd, user_mode_only);
}

static int make_io_uring(void)
{
	struct io_uring_params params;

	memset(&params, 0, sizeof(params));
	return (int)syscall(SYS_io_uring_setup, 4, &params);
}

static int make_perf(void)
{
	struct perf_event_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = PERF_TYPE_SOFTWARE;
	attr.config = PERF_COUNT_SW_TASK_CLOCK;
	attr.exclude_kernel = 1;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int make_bpf_map(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int make_bpf_prog(void)
{
	static const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = 2;
	attr.license = (uintptr_t) "GPL";
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int make_secret(void)
{
	return (int)syscall(SYS_memfd_secret, 0);
}

static int make_landlock(void)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE};

	return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
}

static int make_fscontext(void)
{
	return (int)syscall(SYS_fsopen, "tmpfs", 0);
}

static int make_seccomp(void)
{
	static struct sock_filter allow[] = {
		{.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW},
	};
	struct sock_fprog prog = {.len = 1, .filter = allow};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &prog);
}

static int make_kmsg(void)
{
	return open("/dev/kmsg", O_RDONLY);
}

static int make_fuse(void)
{
	return open("/dev/fuse", O_RDWR);
}

static int make_tun(void)
{
	return open("/dev/net/tun", O_RDWR);
}

static int make_block(void)
{
	static const char *const names[] = {"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"};
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(names) / sizeof(names[0]); i++)
		fd = open(names[i], O_RDONLY | O_NONBLOCK);
	return fd;
}

static int make_proc_file(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", getppid());
	return open(path, O_RDONLY);
}

static int make_lease(void)
{
	char path[PATH_MAX];
	int fd = pattern_file("leased", 10, 1);

	(void)close(fd);
	fd = open(subject_path(path, "leased"), O_RDONLY);
	(void)unlink(path);
	return fcntl(fd, F_SETLEASE, F_RDLCK) < 0 ? -1 : fd;
}

static const struct {
	const char *text;
	int (*make)(void);
} kinds[] = {
	{"vsock socket", make_vsock},
	{"kernel crypto socket", make_alg},
	{"fanotify group that decides over what others do", make_fanotify},
	{"userfaultfd", make_userfaultfd},
	{"io_uring", make_io_uring},
	{"perf event", make_perf},
	{"BPF map", make_bpf_map},
	{"BPF program", make_bpf_prog},
	{"secret memory", make_secret},
	{"landlock ruleset", make_landlock},
	{"file system context", make_fscontext},
	{"character device 1:11", make_kmsg},
	{"character device 10:229", make_fuse},
	{"character device 10:200", make_tun},
	{"block device", make_block},
	{"/status' tells of a process outside", make_proc_file},
	{"lease on a file without a path", make_lease},
	{"seccomp notification", make_seccomp}, /* last: it changes the process */
};

int main(void)
{
	char path[PATH_MAX];
	FILE *list;

	subject_init();
	list = fopen(subject_path(path, "kinds"), "we");
	CHECK(list);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int fd = kinds[i].make();

		if (fd < 0)
			continue;
		(void)fprintf(list, "%d=%s\n", fd, kinds[i].text);
		(void)printf("%d=%s\n", fd, kinds[i].text);
	}
	CHECK(fclose(list) == 0);
	(void)printf("ready\n");
	subject_ready();
	for (;;)
		(void)pause();
}
