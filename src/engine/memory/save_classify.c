/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What kind of mapping is it, and can it be saved? The names by which the kernel marks its special
 * mappings are known here only. Names in brackets and those that do not begin with a slash cannot be
 * chosen by a program, except behind "[anon:" and "[anon_shmem:"; names of deleted files can, so
 * those count only on the kernel's own tmpfs, where no program makes files.
 */
#include "memory/save_priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

static bool begins(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_vdso(const struct vma *v)
{
	return v->path && strcmp(v->path, "[vdso]") == 0;
}

static bool is_kernel_data(const struct vma *v)
{
	return begins(v->path, "[vvar") || begins(v->path, "[vsyscall]");
}

/* MAP_HUGETLB without a file, and memfds of huge pages: on a mount of the kernel's own. */
static bool is_unnamed_hugetlb(const struct vma *v)
{
	return (v->flags & VMA_F_HUGETLB) && major(v->dev) == 0 &&
	       (begins(v->path, "/anon_hugepage (deleted)") || begins(v->path, "/memfd:"));
}

/* Of a file system that has no place in any tree: a file of that name is on another. */
static bool is_aio(const struct vma *v)
{
	return v->path && strcmp(v->path, "/[aio] (deleted)") == 0 && major(v->dev) == 0 &&
	       (v->flags & VMA_F_SHARED);
}

static const char *obstacle_by_flags(const struct vma *v)
{
	if ((v->flags & VMA_F_HUGETLB) && v->page_kb != HUGETLB_BYTES / 1024)
		return "huge pages of another size than 2 MiB; use such";
	if (v->flags & VMA_F_SHADOW_STACK)
		return "shadow stack; start the program with "
		       "GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK";
	if (v->flags & (VMA_F_IO | VMA_F_PFNMAP))
		return "memory of a device; unmap it before the dump";
	if (v->flags & VMA_F_UFFD)
		return "registered with userfaultfd; unregister it before the dump";
	return NULL;
}

static const char *obstacle_by_name(const struct vma *v)
{
	if (begins(v->path, "anon_inode:[io_uring]"))
		return "ring of io_uring; close it before the dump";
	if (begins(v->path, "/secretmem"))
		return "secret memory (memfd_secret); unmap it before the dump";
	if (begins(v->path, "[uprobes]"))
		return "probed by uprobes; remove the probes before the dump";
	if (v->path && v->path[0] != '/' && v->path[0] != '[')
		return "mapping of a kernel object that cannot be saved; unmap it before the dump";
	return NULL;
}

static const char *obstacle_by_shm(const struct mem_save *m, const struct vma *v)
{
	if (v->dev != m->shm_dev || begins(v->path, "/dev/zero") || begins(v->path, "/memfd:") ||
	    begins(v->path, "[anon_shmem:"))
		return NULL;
	return "memory of a kernel object that cannot be saved; unmap it before the dump";
}

static const char *obstacle_by_file(const struct mem_save *m, const struct save_file *f,
				    const struct vma *v)
{
	/* through a mapping it cannot be read without making pages where there are none */
	if ((v->flags & VMA_F_HUGETLB) && (v->flags & VMA_F_SHARED) && f->id.deleted &&
	    !m->s->caps.has_map_files)
		return "shared memory of hugetlbfs; run as root";
	if ((v->flags & VMA_F_HUGETLB) && f->id.deleted && !is_unnamed_hugetlb(v))
		return "deleted file of hugetlbfs; use memfd_create(MFD_HUGETLB) instead";
	if (S_ISREG(f->id.mode))
		return NULL;
	/* a private mapping of /dev/zero is anonymous memory by another name */
	if (S_ISCHR(f->id.mode) && !(v->flags & VMA_F_SHARED) &&
	    strcmp(f->id.path, "/dev/zero") == 0)
		return NULL;
	return "mapping of a device; unmap it before the dump";
}

/* May a forced dump save it as if there were nothing special about it? Otherwise it is left out. */
static bool is_plain_otherwise(const struct vma *v)
{
	if (v->flags & (VMA_F_IO | VMA_F_PFNMAP | VMA_F_SHADOW_STACK | VMA_F_SHARED))
		return false;
	return !v->path || v->path[0] == '[';
}

static void refuse(struct mem_save *m, size_t task, size_t vma, const char *text)
{
	struct save_task *st = &m->tasks[task];

	save_obstacle(m, st->t, &st->vmas.v[vma], text);
	st->sv[vma].is_skipped = !is_plain_otherwise(&st->vmas.v[vma]);
}

static Stasis__ObjectType object_type(const struct mem_save *m, const struct vma *v)
{
	if (v->flags & VMA_F_HUGETLB)
		return STASIS__OBJECT_TYPE__OBJECT_HUGETLB;
	if (v->dev != m->shm_dev)
		return STASIS__OBJECT_TYPE__OBJECT_DELETED_FILE;
	return begins(v->path, "/memfd:") ? STASIS__OBJECT_TYPE__OBJECT_MEMFD :
					    STASIS__OBJECT_TYPE__OBJECT_SHARED_ANON;
}

/* No program makes files there. */
static bool is_sysv(const struct mem_save *m, const struct vma *v)
{
	return v->dev == m->shm_dev && begins(v->path, "/SYSV") && (v->flags & VMA_F_SHARED);
}

static int classify_file(struct mem_save *m, size_t task, size_t vma, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[task];
	const struct vma *v = &st->vmas.v[vma];
	struct save_vma *sv = &st->sv[vma];
	bool is_shared = v->flags & VMA_F_SHARED;
	const char *obstacle = obstacle_by_shm(m, v);

	if (!obstacle) {
		if (save_find_file(m, st->t, v, &sv->file, err) < 0)
			return -1;
		obstacle = obstacle_by_file(m, &m->files[sv->file], v);
	}
	if (obstacle) {
		refuse(m, task, vma, obstacle);
		return 0;
	}
	sv->file_flags = is_shared && (v->flags & VMA_F_MAYWRITE) ? O_RDWR : O_RDONLY;
	sv->kind = is_shared ? STASIS__VMA_KIND__VMA_FILE_SHARED : STASIS__VMA_KIND__VMA_FILE_PRIVATE;
	if (is_shared && (v->flags & VMA_F_MAYWRITE) && !m->files[sv->file].id.deleted &&
	    save_is_shm_file(m, m->files[sv->file].id.path, v->dev)) {
		uint64_t id; /* the mapping is made by the path */

		return save_object_of_vma(m, task, vma, STASIS__OBJECT_TYPE__OBJECT_SHM_FILE, &id, err);
	}
	if (!m->files[sv->file].id.deleted)
		return 0;
	if (is_shared)
		sv->kind = STASIS__VMA_KIND__VMA_OBJECT_SHARED;
	return save_object_of_vma(m, task, vma, object_type(m, v), &sv->object, err);
}

int save_classify(struct mem_save *m, size_t task, size_t vma, struct stasis_error *err)
{
	struct save_task *st = &m->tasks[task];
	const struct vma *v = &st->vmas.v[vma];
	struct save_vma *sv = &st->sv[vma];
	const char *obstacle;

	sv->file = NO_FILE;
	if (is_vdso(v)) {
		sv->kind = STASIS__VMA_KIND__VMA_VDSO;
		return 0;
	}
	if (is_kernel_data(v)) {
		sv->kind = v->path[2] == 's' ? STASIS__VMA_KIND__VMA_VSYSCALL :
					       STASIS__VMA_KIND__VMA_VVAR;
		return 0;
	}
	if (is_aio(v)) {
		sv->kind = STASIS__VMA_KIND__VMA_AIO;
		return 0;
	}
	obstacle = obstacle_by_name(v);
	if (!obstacle)
		obstacle = obstacle_by_flags(v);
	if (obstacle) {
		refuse(m, task, vma, obstacle);
		return 0;
	}
	if (is_unnamed_hugetlb(v) && !(v->flags & VMA_F_SHARED) && v->path[1] == 'a') {
		sv->kind = STASIS__VMA_KIND__VMA_ANON_PRIVATE;
		return 0;
	}
	/* memory without a file: private; its name, if any, is the kernel's or prctl's. A file may have
	 * inode 0, too: System V shared memory with id 0 */
	if (v->ino == 0 && !(v->path && v->path[0] == '/') && !(v->flags & VMA_F_SHARED)) {
		sv->kind = STASIS__VMA_KIND__VMA_ANON_PRIVATE;
		return 0;
	}
	if (is_sysv(m, v)) {
		sv->kind = STASIS__VMA_KIND__VMA_OBJECT_SHARED;
		sv->file_flags = v->flags & VMA_F_MAYWRITE ? O_RDWR : O_RDONLY;
		return save_object_of_sysv(m, task, vma, &sv->object, err);
	}
	if (v->path)
		return classify_file(m, task, vma, err);
	refuse(m, task, vma, "mapping of a file without a name; unmap it before the dump");
	return 0;
}
