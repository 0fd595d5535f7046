/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See round.h. */
#include "resource/test/round.h"

#include "lib/proc.h"
#include "lib/scoped.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { STDERR_COPY = 3500 }; /* above what subjects use */

int round_stderr = 2;
int round_keep_fd = -1;

static void take_log(void *arg, enum stasis_log_level level, const char *text)
{
	struct round *r = arg;

	if (level == STASIS_LOG_WARNING && r->nr_warnings < ROUND_MAX_NOTES)
		(void)snprintf(r->warnings[r->nr_warnings++], 256, "%s", text);
}

static void take_obstacle(void *arg, struct task *t, int fd, const char *text)
{
	struct round *r = arg;

	(void)t;
	if (r->nr_obstacles < ROUND_MAX_NOTES)
		(void)snprintf(r->obstacles[r->nr_obstacles++], 256, "fd %d: %s", fd, text);
}

static bool has_note(const char notes[][256], size_t nr, const char *text)
{
	for (size_t i = 0; i < nr; i++)
		if (strstr(notes[i], text))
			return true;
	return false;
}

bool round_warned(const struct round *r, const char *text)
{
	return has_note(r->warnings, r->nr_warnings, text);
}

bool round_obstacle(const struct round *r, const char *text)
{
	return has_note(r->obstacles, r->nr_obstacles, text);
}

int round_setup(void **state)
{
	struct round *r = calloc(1, sizeof(*r));
	const char *base = getenv("TMPDIR");
	struct rlimit limit;

	if (!r)
		return -1;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)snprintf(r->dir, sizeof(r->dir), "%s/resource-test.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(r->dir))
		return -1;
	r->dirfd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r->s.log.fn = take_log;
	r->s.log.arg = r;
	r->s.log.max_level = STASIS_LOG_INFO;
	r->restore.dirfd = r->dirfd;
	r->restore.name = "0";
	*state = r;
	return r->dirfd < 0 ? -1 : 0;
}

static void end_images(struct round *r)
{
	fd_load_free(r->load);
	r->load = NULL;
	for (size_t i = 0; i < ROUND_MAX_TASKS; i++) {
		image_close(r->images[i]);
		r->images[i] = NULL;
	}
}

void round_end(struct round *r)
{
	for (size_t i = r->tree.nr_tasks; i-- > 0;) {
		if (r->tasks[i].pid > 0)
			(void)kill(r->tasks[i].pid, SIGKILL);
		scoped_close_fd(&r->tasks[i].procfd);
		scoped_close_fd(&r->tasks[i].pidfd);
	}
	if (r->tree.nr_tasks && r->tasks[0].pid > 0)
		(void)waitpid(r->tasks[0].pid, NULL, 0);
	r->tree.nr_tasks = 0;
}

int round_teardown(void **state)
{
	struct round *r = *state;
	char command[300];

	round_end(r);
	end_images(r);
	fd_save_free(r->save);
	for (size_t i = 0; i < r->nr_objects; i++)
		(void)close(r->objects[i].fd);
	(void)close(r->dirfd);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", r->dir);
	(void)!system(command);
	free(r);
	return 0;
}

/* ---- the subject ---- */

static void start_clean(void)
{
	int fd = dup3(2, STDERR_COPY, O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);

	round_stderr = fd;
	(void)close_range(3, (round_keep_fd < 0 ? STDERR_COPY : (unsigned)round_keep_fd) - 1, 0);
	if (round_keep_fd >= 0)
		(void)close_range((unsigned)round_keep_fd + 1, STDERR_COPY - 1, 0);
	(void)close_range(STDERR_COPY + 1, ~0u, 0);
	for (int i = 0; i < 3; i++)
		(void)close(i);
	if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2)
		_exit(2);
}

/* Not part of what is saved. */
static void stop_here(void)
{
	(void)close(STDERR_COPY);
	(void)raise(SIGSTOP);
	_exit(0);
}

void round_member(struct round *r, void (*fn)(struct round *r))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fn)
			fn(r);
		stop_here();
	}
	if (pid < 0 || waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		_exit(3);
}

static void add_task(struct round *r, pid_t pid, struct task *parent)
{
	struct task *t = &r->tasks[r->tree.nr_tasks];
	struct proc_stat st;

	memset(t, 0, sizeof(*t));
	t->tree = &r->tree;
	t->parent = parent;
	t->index = r->tree.nr_tasks;
	t->pid = t->vpid = pid;
	t->rootfd = -1;
	t->procfd = proc_open(pid, &r->err);
	t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(t->procfd >= 0 && t->pidfd >= 0);
	assert_ok(r, proc_read_stat(t->procfd, "stat", &st, &r->err));
	(void)snprintf(t->comm, sizeof(t->comm), "%.16s", st.comm);
	r->list[r->tree.nr_tasks++] = t;
	r->tree.tasks = r->list;
}

static void add_tree(struct round *r, pid_t pid, struct task *parent)
{
	char name[64];
	FILE *f;
	int child;

	add_task(r, pid, parent);
	parent = r->list[r->tree.nr_tasks - 1];
	(void)snprintf(name, sizeof(name), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(name, "re");
	while (f && fscanf(f, "%d", &child) == 1)
		add_tree(r, child, parent);
	if (f)
		(void)fclose(f);
}

void round_subject(struct round *r, void (*build)(struct round *r))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		start_clean();
		build(r);
		stop_here();
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (!WIFSTOPPED(status))
		fail_msg("the subject could not build its descriptors (status 0x%x)", status);
	r->tree.s = &r->s;
	add_tree(r, pid, NULL);
}

/* ---- saving ---- */

static uint64_t get_object(void *arg, struct task *t, const struct stat *st, int fd,
			   const char *link, struct stasis_error *err)
{
	struct round *r = arg;
	char path[64];

	(void)t;
	(void)err;
	for (size_t i = 0; i < r->nr_objects; i++)
		if (r->objects[i].dev == st->st_dev && r->objects[i].ino == st->st_ino)
			return 1000 + i;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r->objects[r->nr_objects].dev = st->st_dev;
	r->objects[r->nr_objects].ino = st->st_ino;
	r->objects[r->nr_objects].fd = open(path, O_RDWR | O_CLOEXEC);
	r->objects[r->nr_objects].is_memfd = !strncmp(link, "/memfd:", 7);
	return 1000 + r->nr_objects++;
}

static uint64_t fresh_id(void *arg)
{
	struct round *r = arg;

	return ++r->last_id;
}

int round_collect(struct round *r)
{
	const struct object_source objects = {.arg = r, .get = get_object, .fresh = fresh_id};

	fd_save_free(r->save);
	r->save = NULL;
	r->nr_obstacles = 0;
	return fd_save_collect(&r->s, &r->tree, r->dump.choices, r->dump.nr_choices, take_obstacle,
			       r, &objects, &r->save, &r->err);
}

/* What the dump and the memory module put into each file. */
static int put_frame(struct round *r, struct task *t, struct image_writer *w)
{
	Stasis__ImageInfo info;
	Stasis__Process process;
	Stasis__Object o = STASIS__OBJECT__INIT;

	stasis__image_info__init(&info);
	stasis__process__init(&process);
	info.version = IMAGE_FORMAT_VERSION;
	info.pid = (uint32_t)t->pid;
	process.pid = (uint32_t)t->pid;
	process.comm = t->comm;
	if (image_put_record(w, IMAGE_TAG_INFO, &info.base, &r->err) < 0 ||
	    image_put_record(w, IMAGE_TAG_PROCESS, &process.base, &r->err) < 0)
		return -1;
	for (size_t i = 0; i < r->nr_objects; i++) {
		o.id = 1000 + i;
		o.type = r->objects[i].is_memfd ? STASIS__OBJECT_TYPE__OBJECT_MEMFD
						: STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE;
		o.holder = (uint32_t)r->tasks[0].pid;
		if (image_put_record(w, IMAGE_TAG_OBJECT, &o.base, &r->err) < 0)
			return -1;
	}
	return 0;
}

static void image_name_of(size_t i, char name[16])
{
	(void)snprintf(name, 16, "%u", (unsigned)i);
}

int round_write(struct round *r)
{
	struct image_writer *writers[ROUND_MAX_TASKS] = {NULL};
	char name[16];
	int ok = 0;

	for (size_t i = 0; ok == 0 && i < r->tree.nr_tasks; i++) {
		image_name_of(i, name);
		ok = image_create(r->dirfd, name, true, &writers[i], &r->err);
		if (ok == 0)
			ok = put_frame(r, &r->tasks[i], writers[i]);
		if (ok == 0)
			ok = fd_save_write(r->save, &r->tasks[i], writers[i], &r->err);
		if (ok == 0)
			ok = image_seal(writers[i], &r->err);
	}
	if (ok == 0)
		ok = image_commit_all(writers, r->tree.nr_tasks, r->dirfd, &r->err);
	for (size_t i = 0; i < r->tree.nr_tasks; i++)
		image_discard(writers[i]);
	return ok;
}

/* ---- loading ---- */

static int object_fd(void *arg, uint64_t object)
{
	const struct round *r = arg;

	return object >= 1000 && object < 1000 + r->nr_objects ? r->objects[object - 1000].fd : -1;
}

int round_plan(struct round *r)
{
	struct fd_proc procs[ROUND_MAX_TASKS];
	size_t nr = r->tree.nr_tasks, n = 0;
	char name[16];

	round_end(r);
	r->tree.nr_tasks = nr; /* the pids are still wanted */
	for (size_t i = 0; i < nr; i++)
		r->tasks[i].procfd = r->tasks[i].pidfd = -1;
	end_images(r);
	for (size_t i = r->first_proc; i < nr; i++, n++) {
		image_name_of(i, name);
		if (image_open(r->dirfd, name, &r->images[i], &r->err) < 0)
			return -1;
		procs[n].pid = abs(r->tasks[i].pid);
		procs[n].image = r->images[i];
		procs[n].table = image_record(r->images[i], IMAGE_TAG_FDTABLE, 0,
					      &stasis__fd_table__descriptor, &r->err);
		if (!procs[n].table)
			return -1;
	}
	for (size_t i = 0; i < nr; i++) /* negative: not there any more */
		r->tasks[i].pid = r->tasks[i].pid > 0 ? -r->tasks[i].pid : r->tasks[i].pid;
	if (fd_load_plan(&r->s, procs, n, &r->restore, &r->load, &r->err) < 0)
		return -1;
	fd_load_set_object_fd(r->load, object_fd, r);
	return 0;
}

static int install_and_check(struct round *r, size_t i, void (*check)(struct round *, size_t))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int copy = fcntl(round_stderr, F_DUPFD_CLOEXEC, fd_load_base(r->load) + 2000);

		if (fd_load_install(r->load, -r->tasks[i].pid, &r->err) < 0) {
			dprintf(copy, "# install: %s\n", r->err.text);
			_exit(1);
		}
		round_stderr = copy;
		(void)close_range((unsigned)fd_load_base(r->load), (unsigned)copy - 1, 0);
		(void)close_range((unsigned)copy + 1, ~0u, 0);
		check(r, i);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* The master is a process of its own, as in a real restart. */
void round_check(struct round *r, void (*check)(struct round *r, size_t index))
{
	int status;
	pid_t pid;

	assert_non_null(r->load);
	pid = fork();
	if (pid == 0) {
		if (fd_load_open_all(r->load, &r->err) < 0) {
			dprintf(2, "# open: %s\n", r->err.text);
			_exit(1);
		}
		for (size_t i = r->first_proc; check && i < r->tree.nr_tasks; i++)
			if (install_and_check(r, i, check) < 0)
				_exit(1);
		if (fd_load_finish(r->load, &r->err) < 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("the restarted processes found a fault (status 0x%x)", status);
}

void round_all(struct round *r, void (*build)(struct round *r),
	       void (*check)(struct round *r, size_t index))
{
	round_subject(r, build);
	assert_ok(r, round_collect(r));
	assert_ok(r, round_write(r));
	assert_ok(r, round_plan(r));
	round_check(r, check);
}

int round_plan_image(struct round *r, Stasis__FdTable *table, Stasis__Description *d, size_t nr,
		     Stasis__Object *object)
{
	struct image_writer *w = NULL;
	struct fd_proc proc = {.pid = 4711};
	Stasis__ImageInfo info;
	int got;

	stasis__image_info__init(&info);
	info.version = IMAGE_FORMAT_VERSION;
	assert_ok(r, image_create(r->dirfd, "0", true, &w, &r->err));
	assert_ok(r, image_put_record(w, IMAGE_TAG_INFO, &info.base, &r->err));
	assert_ok(r, image_put_record(w, IMAGE_TAG_FDTABLE, &table->base, &r->err));
	for (size_t i = 0; i < nr; i++)
		assert_ok(r, image_put_record(w, IMAGE_TAG_DESCRIPTION, &d[i].base, &r->err));
	if (object) {
		assert_ok(r, image_put_record(w, IMAGE_TAG_OBJECT, &object->base, &r->err));
		assert_ok(r, image_put_bulk(w, object->id, 0, "hello", 5, &r->err));
	}
	assert_ok(r, image_seal(w, &r->err));
	assert_ok(r, image_commit_all(&w, 1, r->dirfd, &r->err));
	image_discard(w);
	image_close(r->images[0]);
	assert_ok(r, image_open(r->dirfd, "0", &r->images[0], &r->err));
	proc.image = r->images[0];
	proc.table = image_record(proc.image, IMAGE_TAG_FDTABLE, 0,
				  &stasis__fd_table__descriptor, &r->err);
	assert_non_null(proc.table);
	got = fd_load_plan(&r->s, &proc, 1, &r->restore, &r->load, &r->err);
	if (got == 0)
		fd_load_free(r->load);
	r->load = NULL;
	return got;
}

int round_plan_records(struct round *r, Stasis__FdTable *table, Stasis__Description *d)
{
	return round_plan_image(r, table, d, 1, NULL);
}
