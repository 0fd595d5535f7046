/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds out once per operation what this kernel and this caller can do. */
#include "session.h"
#include "arch/arch.h"
#include "lib/io.h"
#include "lib/fault.h"
#include "lib/scoped.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/prctl.h> of Linux 6.15 */
#define PRCTL_TIMER_CREATE_RESTORE_IDS	   77
#define PRCTL_TIMER_CREATE_RESTORE_IDS_GET 2

/* <linux/fs.h> of Linux 6.7; Documentation/admin-guide/mm/pagemap.rst */
struct probe_pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PROBE_PAGEMAP_SCAN _IOWR('f', 16, struct probe_pm_scan_arg)

static uint64_t effective_caps(void)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (syscall(SYS_capget, &hdr, data) < 0)
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static bool has_cap(uint64_t caps, unsigned cap)
{
	return caps >> cap & 1;
}

/*
 * clone3(2): set_tid needs CAP_CHECKPOINT_RESTORE (5.9) or CAP_SYS_ADMIN over the pid namespace. Our
 * own pid is taken, so the answer is EEXIST when we may and EPERM when we may not; no child is made.
 */
static bool probe_set_tid(void)
{
	pid_t self = getpid();
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&self,
		.set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(0); /* cannot happen: the pid is in use */
	return pid < 0 && errno == EEXIST;
}

static bool probe_pagemap_scan(void)
{
	scoped_fd int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct probe_pm_scan_arg arg = {.size = sizeof(arg), .category_mask = 1, .return_mask = 1};

	return fd >= 0 && ioctl(fd, PROBE_PAGEMAP_SCAN, &arg) >= 0;
}

/* The links of map_files can be followed only with CAP_CHECKPOINT_RESTORE (5.9) or CAP_SYS_ADMIN in
 * the first user namespace. Asked of the first mapping of a file in this program. */
static bool probe_map_files(void)
{
	scoped_file FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start = 0, end = 0;
	char line[512], path[80];
	int fd;

	while (maps && !end && fgets(line, sizeof(line), maps))
		if (!strchr(line, '/') || sscanf(line, "%lx-%lx", &start, &end) != 2)
			end = 0;
	if (!end)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", start, end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

static bool probe_thp_never(void)
{
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled", 256, &text,
			    &len, NULL) < 0)
		return true;
	return strstr(text, "[never]") != NULL;
}

int session_init(struct session *s, stasis_log_fn fn, void *arg, enum stasis_log_level level,
		 struct stasis_error *err)
{
	uint64_t caps = effective_caps();

	memset(s, 0, sizeof(*s));
	s->log = (struct log_sink){.fn = fn, .arg = arg, .max_level = level};
	s->caps.page_size = sysconf(_SC_PAGESIZE);
	if (s->caps.page_size <= 0)
		return stasis_fail(err, STASIS_E_INTERNAL, "the page size is unknown");
	s->caps.has_map_files = probe_map_files();
	s->caps.is_root = geteuid() == 0 && has_cap(caps, CAP_SYS_ADMIN) &&
			  has_cap(caps, CAP_SYS_PTRACE) && s->caps.has_map_files;
	s->caps.has_set_tid = probe_set_tid();
	s->caps.has_pagemap_scan = probe_pagemap_scan();
	s->caps.has_timer_restore =
		prctl(PRCTL_TIMER_CREATE_RESTORE_IDS, PRCTL_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
	if (fault_point("session.old-kernel", NULL) < 0)
		s->caps.has_pagemap_scan = s->caps.has_timer_restore = false;
	s->caps.thp_never = probe_thp_never();
	s->caps.may_shadow_stack = arch_may_shadow_stack();
	s->caps.xcr0 = arch_xcr0();
	s->caps.xsave_size = arch_xsave_size();
	return 0;
}
