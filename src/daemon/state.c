/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of a few fields, replaced as a whole under a lock. */
#include "daemon/state.h"

#include "lib/io.h"
#include "lib/scoped.h"
#include "wire/codes.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum { EXPIRE_S = 7 * 86400, MAX_STATE = WIRE_MAX_TEXT, SLOT_NAP_NS = 20000000 };

static int open_folder(const struct config *c)
{
	char path[CONFIG_MAX_PATH + 8];

	(void)snprintf(path, sizeof(path), "%s/state", c->run);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int state_prepare(const struct config *c, struct stasis_error *err)
{
	char path[CONFIG_MAX_PATH + 8];

	(void)snprintf(path, sizeof(path), "%s/state", c->run);
	if (mkdir(c->run, 0755) < 0 && errno != EEXIST)
		return stasis_fail_errno(err, STASIS_E_IO, "make '%.200s'", c->run);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return stasis_fail_errno(err, STASIS_E_IO, "make '%.200s'", path);
	return 0;
}

/* The batch script and the whole job are one. */
static void name_of(uint32_t job, uint32_t step, const char *what, char *ret, size_t size)
{
	if (step_is_job(step))
		(void)snprintf(ret, size, "%u%s", job, what);
	else
		(void)snprintf(ret, size, "%u.%u%s", job, step, what);
}

/* The fields, as they are in the file. */
static const struct {
	const char *name;
	size_t offset;
	uint64_t max;
} numbers[] = {
#define NUMBER(field, max) {#field, offsetof(struct state, field), max}
	NUMBER(disabled, UINT16_MAX), NUMBER(begin, UINT64_MAX),   NUMBER(code, UINT32_MAX),
	NUMBER(automatic, UINT64_MAX), NUMBER(watched, UINT64_MAX), NUMBER(due, UINT64_MAX),
	NUMBER(tried, UINT64_MAX),     NUMBER(tries, UINT64_MAX),   NUMBER(saved, UINT64_MAX),
	NUMBER(bytes, UINT64_MAX),     NUMBER(tasks, UINT64_MAX),   NUMBER(asked, UINT64_MAX),
	NUMBER(looked, UINT64_MAX),    NUMBER(completed, UINT64_MAX), NUMBER(named, 1),
	NUMBER(uid, UINT32_MAX),       NUMBER(gid, UINT32_MAX),
};
static const struct {
	const char *name;
	size_t offset, size;
} texts[] = {
#define TEXT(name, field) {name, offsetof(struct state, field), sizeof(((struct state *)0)->field)}
	TEXT("message", message),
	TEXT("folder", folder),
	TEXT("own_dir", own_dir),
	TEXT("partition", traits.partition),
	TEXT("qos", traits.qos),
	TEXT("account", traits.account),
};

enum { NR_NUMBERS = sizeof(numbers) / sizeof(numbers[0]), NR_TEXTS = sizeof(texts) / sizeof(texts[0]) };

static int parse(struct wire_msg *m, struct state *ret, struct stasis_error *err)
{
	char *base = (char *)ret;

	if (wire_parse(m, err) < 0)
		return -1;
	for (size_t i = 0; i < NR_NUMBERS; i++)
		if (wire_get_number(m, numbers[i].name, numbers[i].max, 0,
				    (uint64_t *)(void *)(base + numbers[i].offset), err) < 0)
			return -1;
	for (size_t i = 0; i < NR_TEXTS; i++) {
		const char *text = wire_get(m, texts[i].name);

		(void)snprintf(base + texts[i].offset, texts[i].size, "%s", text ? text : "");
	}
	return 0;
}

static int read_at(int folder, const char *name, struct state *ret, struct stasis_error *err)
{
	scoped_free char *text = NULL;
	struct stasis_error why;
	struct wire_msg m = {.len = 0};

	memset(ret, 0, sizeof(*ret));
	if (io_read_file_at(folder, name, MAX_STATE, &text, &m.len, &why) < 0) {
		if (why.cls == STASIS_E_GONE)
			return 0;
		return stasis_fail(err, why.cls, "state of '%s': %.150s", name, why.text);
	}
	memcpy(m.text, text, m.len);
	return parse(&m, ret, err);
}

int state_read(const struct config *c, uint32_t job, uint32_t step, struct state *ret,
	       struct stasis_error *err)
{
	scoped_fd int folder = open_folder(c);
	char name[48];

	if (folder < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.200s/state'", c->run);
	name_of(job, step, "", name, sizeof(name));
	return read_at(folder, name, ret, err);
}

static int write_at(int folder, const char *name, const struct state *s, struct stasis_error *err)
{
	const char *base = (const char *)s;
	struct wire_msg m = {.len = 0};
	scoped_fd int fd = -1;
	char draft[56];

	for (size_t i = 0; i < NR_NUMBERS; i++)
		if (wire_put_number(&m, numbers[i].name, *(const uint64_t *)(const void *)(base + numbers[i].offset),
				    err) < 0)
			return -1;
	for (size_t i = 0; i < NR_TEXTS; i++)
		if (wire_put(&m, texts[i].name, base + texts[i].offset, err) < 0)
			return -1;
	(void)snprintf(draft, sizeof(draft), "%s.new", name);
	fd = openat(folder, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of '%s'", name);
	if (io_write_full(fd, m.text, m.len, err) < 0)
		return -1;
	if (renameat(folder, draft, folder, name) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "state of '%s'", name);
	return 0;
}

static int open_lock(int folder, uint32_t job, uint32_t step, const char *what)
{
	char name[48];

	name_of(job, step, what, name, sizeof(name));
	return openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

int state_change(const struct config *c, uint32_t job, uint32_t step,
		 int (*change)(struct state *s, void *arg), void *arg, struct stasis_error *err)
{
	scoped_fd int folder = open_folder(c);
	scoped_fd int lock = folder >= 0 ? open_lock(folder, job, step, ".lock") : -1;
	struct state s;
	char name[48];
	int rc;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "'%.200s/state'", c->run);
	name_of(job, step, "", name, sizeof(name));
	if (read_at(folder, name, &s, err) < 0)
		return -1;
	rc = change(&s, arg);
	if (rc == 0 && write_at(folder, name, &s, err) < 0)
		return -1;
	return rc;
}

int state_lock_operation(const struct config *c, uint32_t job, uint32_t step)
{
	scoped_fd int folder = open_folder(c);
	scoped_fd int fd = folder >= 0 ? open_lock(folder, job, step, ".op") : -1;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -1;
	return fd_take(&fd);
}

static int try_slot(const struct config *c, const char *what, unsigned i)
{
	scoped_fd int folder = open_folder(c);
	scoped_fd int fd = -1;
	char name[24];

	(void)snprintf(name, sizeof(name), ".%s.%u", what, i);
	fd = folder >= 0 ? openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? fd_take(&fd) : -1;
}

int state_enter(const struct config *c)
{
	for (unsigned i = 0; i < c->operations * STATE_WAITING; i++) {
		int fd = try_slot(c, "room", i);

		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* One slot at each look: those who wait are many, and so are the slots. */
int state_await_slot(const struct config *c, unsigned max_wait_s)
{
	int64_t deadline = wire_now_ms() + (int64_t)max_wait_s * 1000;

	for (unsigned i = 0;; i++) {
		const struct timespec nap = {.tv_nsec = SLOT_NAP_NS};
		int fd = try_slot(c, "slot", i % c->operations);

		if (fd >= 0 || wire_now_ms() > deadline)
			return fd;
		if (i >= c->operations)
			(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
}

bool state_is_busy(const struct config *c, uint32_t job, uint32_t step)
{
	scoped_fd int folder = open_folder(c);
	scoped_fd int fd = folder >= 0 ? open_lock(folder, job, step, ".op") : -1;

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

bool state_may_complain(const struct config *c)
{
	scoped_fd int folder = open_folder(c);
	scoped_fd int fd = folder >= 0 ? openat(folder, ".complained", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return true;
	if (st.st_size && st.st_mtime >= time(NULL))
		return false;
	return pwrite(fd, "x", 1, 0) == 1;
}

void state_each(const struct config *c, void (*fn)(void *arg, uint32_t job, uint32_t step), void *arg)
{
	int fd = open_folder(c);
	scoped_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		uint32_t job, step = STEP_BATCH_SCRIPT;
		int end = 0, after_step = 0;

		if (sscanf(e->d_name, "%10u%n.%10u%n", &job, &end, &step, &after_step) >= 1 &&
		    !e->d_name[after_step ? after_step : end])
			fn(arg, job, step);
	}
}

void state_expire(const struct config *c)
{
	int fd = open_folder(c);
	scoped_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' && fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime + EXPIRE_S < time(NULL))
			(void)unlinkat(fd, e->d_name, 0); /* the next look finds it again */
}
