/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One System V object at a restart: is it still there, may it be made, made with the id it had. Works in the
 * IPC namespace of the calling process.
 */
#include "ipc/ipc_priv.h"

#include "lib/io.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>

enum ipc_type ipc_type_of(const Stasis__Object *o)
{
	switch (o->type) {
	case STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM:
		return IPC_SHM;
	case STASIS__OBJECT_TYPE__OBJECT_SYSV_SEM:
		return IPC_SEM;
	case STASIS__OBJECT_TYPE__OBJECT_SYSV_MSG:
		return IPC_MSG;
	default:
		return IPC_NR_TYPES;
	}
}

Stasis__ObjectType ipc_object_type(enum ipc_type type)
{
	return type == IPC_SHM ? STASIS__OBJECT_TYPE__OBJECT_SYSV_SHM :
	       type == IPC_SEM ? STASIS__OBJECT_TYPE__OBJECT_SYSV_SEM :
				 STASIS__OBJECT_TYPE__OBJECT_SYSV_MSG;
}

/* ---- the record ---- */

static bool is_sem_sound(const Stasis__SysvIpc *v)
{
	for (size_t i = 0; i < v->n_values; i++)
		if (v->values[i] > IPC_MAX_SEM_VALUE)
			return false;
	return v->is_outside || (v->n_values && v->n_values <= IPC_MAX_SEMAPHORES &&
				 v->n_pids == v->n_values);
}

static bool is_msg_sound(const Stasis__Object *o)
{
	uint64_t sum = 0;

	if (o->sysv->is_outside)
		return true;
	for (size_t i = 0; i < o->n_packets; i++)
		sum += o->packets[i];
	for (size_t i = 0; i < o->sysv->n_types; i++)
		if (o->sysv->types[i] < 1)
			return false;
	return o->sysv->n_pids == 2 && o->n_packets == o->sysv->n_types && o->n_packets <= IPC_MAX_MESSAGES &&
	       sum == o->content_len && sum <= INT32_MAX;
}

int ipc_check_record(const Stasis__Object *o, struct stasis_error *err)
{
	enum ipc_type type = ipc_type_of(o);
	const Stasis__SysvIpc *v = o->sysv;
	bool is_sound = type != IPC_NR_TYPES && v && v->id >= 0 && v->mode <= 0777;

	if (is_sound && type == IPC_SHM)
		is_sound = o->size && o->size <= INT64_MAX;
	if (is_sound && type == IPC_SEM)
		is_sound = is_sem_sound(v);
	if (is_sound && type == IPC_MSG)
		is_sound = is_msg_sound(o);
	return is_sound ? 0 :
			  stasis_fail(err, STASIS_E_CORRUPT, "object %llu: a System V object that cannot be",
				      (unsigned long long)o->id);
}

/* ---- what is there ---- */

static uint64_t size_of(const Stasis__Object *o)
{
	return ipc_type_of(o) == IPC_SEM ? o->sysv->n_values : o->size;
}

static bool is_same(const Stasis__Object *o, const struct ipc_row *r)
{
	return r->key == o->sysv->key && r->cuid == o->sysv->cuid &&
	       (ipc_type_of(o) == IPC_MSG || o->sysv->is_outside || r->size == size_of(o));
}

static bool is_alive(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* A process that uses a set or queue which was left behind; 0 for none that is known. */
static pid_t user_of(const struct ipc_row *r)
{
	union ipc_semun none = {0};
	pid_t pid;

	for (size_t i = 0; r->type == IPC_MSG && i < 2; i++)
		if (is_alive(r->pids[i]))
			return r->pids[i];
	for (int i = 0; r->type == IPC_SEM && i < (int)r->size; i++) {
		pid = semctl(r->id, i, GETPID, none);
		if (is_alive(pid))
			return pid;
	}
	return 0;
}

static int is_free_for_us(const struct ipc_row *r, struct stasis_error *err)
{
	pid_t user = user_of(r);

	if (r->type == IPC_SHM && r->nr)
		return stasis_fail(err, STASIS_E_BUSY,
				   "shared memory segment %d has %llu attachments; end who uses it (process "
				   "%d was the last), or use -F to restart with an IPC namespace of its own",
				   r->id, (unsigned long long)r->nr, r->pids[1]);
	if (user)
		return stasis_fail(err, STASIS_E_BUSY,
				   "%s %d is used by process %d; end it, or use -F to restart with an IPC "
				   "namespace of its own",
				   ipc_words(r->type), r->id, user);
	return 1;
}

static const struct ipc_row *row_with_key(const struct ipc_rows *rows, enum ipc_type type, uint32_t key)
{
	for (size_t i = 0; i < rows->nr; i++)
		if (rows->v[i].type == type && rows->v[i].key == key)
			return &rows->v[i];
	return NULL;
}

static int in_the_way(const Stasis__Object *o, const struct ipc_row *r, struct stasis_error *err)
{
	return stasis_fail(err, STASIS_E_BUSY,
			   "another %s (id %d, key 0x%08x) is where that of the program (id %d, key 0x%08x) "
			   "was; remove it (ipcrm %s %d), or use -F to restart with an IPC namespace of its own",
			   ipc_words(r->type), r->id, r->key, o->sysv->id, o->sysv->key,
			   ipc_ipcrm_option(r->type), r->id);
}

static int find(const Stasis__Object *o, const struct ipc_rows *rows, struct stasis_error *err)
{
	enum ipc_type type = ipc_type_of(o);
	const struct ipc_row *r = ipc_row_of(rows, type, o->sysv->id);
	bool is_it = r && is_same(o, r);

	if (o->sysv->is_outside)
		return is_it ? 1 :
			       stasis_fail(err, STASIS_E_GONE,
					   "%s %d (key 0x%08x), which others used too, is not there any more",
					   ipc_words(type), o->sysv->id, o->sysv->key);
	if (is_it)
		return is_free_for_us(r, err);
	if (!r && o->sysv->key)
		r = row_with_key(rows, type, o->sysv->key);
	return r ? in_the_way(o, r, err) : 0;
}

int ipc_find(const Stasis__Object *o, struct stasis_error *err)
{
	struct ipc_rows rows;
	int result;

	if (ipc_read_rows(&rows, err) < 0)
		return -1;
	result = find(o, &rows, err);
	ipc_rows_done(&rows);
	return result;
}

/* ---- make ---- */

static int get(const Stasis__Object *o, int flags)
{
	key_t key = (key_t)o->sysv->key;

	/* writable by its maker until its content is in */
	flags |= IPC_CREAT | IPC_EXCL | 0600 | (int)o->sysv->mode;
	switch (ipc_type_of(o)) {
	case IPC_SHM:
		return shmget(key, o->size, flags);
	case IPC_SEM:
		return semget(key, (int)o->sysv->n_values, flags);
	default:
		return msgget(key, flags);
	}
}

static void remove_id(enum ipc_type type, int id)
{
	union ipc_semun none = {0};

	if (type == IPC_SHM)
		(void)shmctl(id, IPC_RMID, NULL);
	else if (type == IPC_SEM)
		(void)semctl(id, 0, IPC_RMID, none);
	else
		(void)msgctl(id, IPC_RMID, NULL);
}

void ipc_remove(const Stasis__Object *o)
{
	remove_id(ipc_type_of(o), o->sysv->id);
}

/* Documentation/admin-guide/sysctl/kernel.rst: the next object gets this id, when it is free. */
static int open_next_id(const Stasis__Object *o, struct stasis_error *err)
{
	static const char *const files[] = {
		[IPC_SHM] = "/proc/sys/kernel/shm_next_id",
		[IPC_SEM] = "/proc/sys/kernel/sem_next_id",
		[IPC_MSG] = "/proc/sys/kernel/msg_next_id",
	};
	const char *path = files[ipc_type_of(o)];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED,
					 "%s %d can only be made again with its id with the right to choose "
					 "it; run as root ('%s')",
					 ipc_words(ipc_type_of(o)), o->sysv->id, path);
	return fd;
}

int ipc_check_may_make(const Stasis__Object *o, struct stasis_error *err)
{
	scoped_fd int fd = open_next_id(o, err);

	return fd < 0 ? -1 : 0;
}

static int choose_id(const Stasis__Object *o, struct stasis_error *err)
{
	scoped_fd int fd = open_next_id(o, err);
	char text[24];

	if (fd < 0)
		return -1;
	(void)snprintf(text, sizeof(text), "%d", o->sysv->id);
	return io_write_full(fd, text, strlen(text), err);
}

static int make(const Stasis__Object *o, int flags, struct stasis_error *err)
{
	int id = get(o, flags);

	if (id < 0)
		return stasis_fail_errno(err, STASIS_E_IO, "make %s %d",
					 ipc_words(ipc_type_of(o)), o->sysv->id);
	if (id == o->sysv->id)
		return 0;
	remove_id(ipc_type_of(o), id);
	return stasis_fail(err, STASIS_E_BUSY,
			   "the id %d of a %s is not to be had; remove the one that has its place (ipcs), or "
			   "use -F to restart with an IPC namespace of its own",
			   o->sysv->id, ipc_words(ipc_type_of(o)));
}

struct making {
	const Stasis__Object *o;
	int flags;
};

/* The creator's ids are those of who makes it, and never change. By raw calls: the C library would tell
 * all threads. */
static int make_as_creator(void *arg, struct stasis_error *err)
{
	const struct making *m = arg;

	if (choose_id(m->o, err) < 0)
		return -1;
	if (syscall(SYS_setresgid, -1, m->o->sysv->cgid, -1) < 0 ||
	    syscall(SYS_setresuid, -1, m->o->sysv->cuid, 0) < 0)
		return stasis_fail_errno(err, STASIS_E_DENIED, "become user %u", m->o->sysv->cuid);
	return make(m->o, m->flags, err);
}

int ipc_make(struct session *s, const Stasis__Object *o, int flags, struct stasis_error *err)
{
	struct making m = {.o = o, .flags = flags};

	if (s->caps.is_root && geteuid() == 0 && (o->sysv->cuid != geteuid() || o->sysv->cgid != getegid()))
		return ns_run_apart(make_as_creator, &m, "make a System V object", err);
	return choose_id(o, err) < 0 ? -1 : make(o, flags, err);
}

/* ---- attributes ---- */

static int set_shm(const Stasis__SysvIpc *v)
{
	struct shmid_ds ds;

	if (shmctl(v->id, IPC_STAT, &ds) < 0)
		return -1;
	ds.shm_perm.uid = v->uid;
	ds.shm_perm.gid = v->gid;
	ds.shm_perm.mode = (unsigned short)v->mode;
	return shmctl(v->id, IPC_SET, &ds);
}

static int set_sem(const Stasis__SysvIpc *v)
{
	struct semid_ds ds;
	union ipc_semun arg = {.buf = &ds};

	if (semctl(v->id, 0, IPC_STAT, arg) < 0)
		return -1;
	ds.sem_perm.uid = v->uid;
	ds.sem_perm.gid = v->gid;
	ds.sem_perm.mode = (unsigned short)v->mode;
	return semctl(v->id, 0, IPC_SET, arg);
}

static int set_msg(const Stasis__SysvIpc *v)
{
	struct msqid_ds ds;

	if (msgctl(v->id, IPC_STAT, &ds) < 0)
		return -1;
	ds.msg_perm.uid = v->uid;
	ds.msg_perm.gid = v->gid;
	ds.msg_perm.mode = (unsigned short)v->mode;
	ds.msg_qbytes = v->max_bytes;
	return msgctl(v->id, IPC_SET, &ds);
}

void ipc_set_attributes(struct session *s, const Stasis__Object *o)
{
	enum ipc_type type = ipc_type_of(o);
	const Stasis__SysvIpc *v = o->sysv;
	int result = type == IPC_SHM ? set_shm(v) : type == IPC_SEM ? set_sem(v) : set_msg(v);

	if (result < 0)
		s_warn(s, "owner %u, group %u or mode %03o of %s %d: %s", v->uid, v->gid, v->mode,
		       ipc_words(type), v->id, strerror(errno));
	if (type == IPC_SHM && v->is_locked && shmctl(v->id, SHM_LOCK, NULL) < 0)
		s_warn(s, "lock shared memory segment %d: %s", v->id, strerror(errno));
}
