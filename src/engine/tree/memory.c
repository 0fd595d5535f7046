/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory and descriptors of a stopped task. */
#include "lib/scoped.h"
#include "tree/tree_priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

int task_read_mem(struct task *t, tracee_addr from, void *to, size_t len, struct stasis_error *err)
{
	struct iovec local = {.iov_base = to, .iov_len = len};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)from, .iov_len = len};
	scoped_fd int fd = -1;
	ssize_t n = process_vm_readv(task_live_tid(t), &local, 1, &remote, 1, 0);

	if (n == (ssize_t)len)
		return 0;
	/* PROT_NONE pages can be read through the file only (FOLL_FORCE) */
	fd = openat(t->procfd, "mem", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the memory of %d", t->pid);
	for (size_t done = 0; done < len; done += (size_t)n) {
		n = pread(fd, (char *)to + done, len - done, (off_t)(from + done));
		if (n <= 0)
			return stasis_fail_errno(err, STASIS_E_IO,
						 "read %zu bytes at 0x%llx of process %d", len,
						 (unsigned long long)from, t->pid);
	}
	return 0;
}

/* One word at a time, for kernels told to refuse forced writes through /proc/PID/mem
 * (proc_mem.force_override, Linux 6.12). */
static int poke(pid_t pid, tracee_addr to, const uint8_t *from, size_t len)
{
	enum { WORD = sizeof(long) };

	while (len) {
		size_t head = to % WORD, n = WORD - head < len ? WORD - head : len;
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)(to - head), NULL);
		if (errno)
			return -1;
		__builtin_memcpy((uint8_t *)&word + head, from, n);
		if (ptrace(PTRACE_POKEDATA, pid, (void *)(uintptr_t)(to - head), (void *)word) < 0)
			return -1;
		to += n;
		from += n;
		len -= n;
	}
	return 0;
}

int task_write_mem(struct task *t, tracee_addr to, const void *from, size_t len,
		   struct stasis_error *err)
{
	scoped_fd int fd = openat(t->procfd, "mem", O_RDWR | O_CLOEXEC);
	size_t done = 0;
	ssize_t n = 0;

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "open the memory of %d", t->pid);
	for (; done < len; done += (size_t)n) {
		n = pwrite(fd, (const char *)from + done, len - done, (off_t)(to + done));
		if (n <= 0)
			break;
	}
	if (done < len && poke(task_live_tid(t), to + done, (const uint8_t *)from + done, len - done) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "write %zu bytes at 0x%llx of process %d",
					 len, (unsigned long long)to, t->pid);
	return 0;
}

int task_open_path(const struct task *t, const char *path, int flags)
{
	if (t->rootfd < 0)
		return open(path, flags | O_CLOEXEC);
	path += strspn(path, "/");
	return openat(t->rootfd, *path ? path : ".", flags | O_CLOEXEC);
}

int task_stat_path(const struct task *t, const char *path, int flags, struct stat *ret)
{
	if (t->rootfd < 0)
		return fstatat(AT_FDCWD, path, ret, flags);
	path += strspn(path, "/");
	return fstatat(t->rootfd, *path ? path : ".", ret, flags);
}

/* The pidfd of a process whose first thread has ended leads to no descriptors. */
static int thread_pidfd(const struct task *t, struct stasis_error *err)
{
	int fd = (int)syscall(SYS_pidfd_open, task_live_tid(t), O_EXCL); /* PIDFD_THREAD, Linux 6.9 */

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_UNSUPPORTED,
					 "descriptors of process %d, whose first thread has ended "
					 "(needs Linux 6.9)",
					 t->pid);
	return fd;
}

int task_get_fd(struct task *t, int fd, struct stasis_error *err)
{
	scoped_fd int own = t->leaderfd >= 0 ? thread_pidfd(t, err) : -1;
	int ret;

	if (t->leaderfd >= 0 && own < 0)
		return -1;
	ret = (int)syscall(SYS_pidfd_getfd, own >= 0 ? own : t->pidfd, fd, 0);

	if (ret < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "take descriptor %d of process %d", fd,
					 t->pid);
	return ret;
}
