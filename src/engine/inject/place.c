/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the pad goes: executable bytes that nobody uses. The vDSO ends in the middle of a page whose
 * rest is zero; writing there gives the process its own copy of that page. All processes of one
 * kernel have the same vDSO, so ours shows where the rest begins. A program without it (or with a
 * strange one) has a file mapped for execution whose last page is not full.
 */
#include "arch/cure.h"
#include "inject/inject_priv.h"
#include "lib/io.h"
#include "lib/scoped.h"

#include <elf.h>
#include <inttypes.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>

enum {
	MAX_PAD_BYTES = 512,
	MAX_SLOTS = 8,
	GAP_BYTES = 64, /* zero bytes at the end of something may belong to it */
	MAX_MAPS_BYTES = 64 << 20,
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* Offset in our vDSO behind its last used byte; 0: no vDSO or no room. */
static size_t vdso_room(const ElfW(Ehdr) * own, size_t page)
{
	size_t end, need = arch_pad().len;

	if (!own || memcmp(own->e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	end = own->e_shoff + (size_t)own->e_shnum * own->e_shentsize;
	for (size_t i = 0; i < own->e_phnum; i++) {
		const ElfW(Phdr) *ph =
			(const ElfW(Phdr) *)((const uint8_t *)own + own->e_phoff) + i;

		if (ph->p_type == PT_LOAD && ph->p_offset + ph->p_filesz > end)
			end = ph->p_offset + ph->p_filesz;
	}
	end = round_up(end + GAP_BYTES, 16);
	return end % page && page - end % page >= need ? end : 0;
}

/* Left behind by an engine that was killed. */
static bool is_leftover(const uint8_t *bytes)
{
	return memcmp(bytes, arch_pad().code, sizeof(uint64_t)) == 0;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool read_pieces(pid_t pid, tracee_addr a, void *to_a, size_t len_a, tracee_addr b, void *to_b,
			size_t len_b)
{
	const struct iovec local[] = {{.iov_base = to_a, .iov_len = len_a},
				      {.iov_base = to_b, .iov_len = len_b}};
	const struct iovec remote[] = {{.iov_base = (void *)(uintptr_t)a, .iov_len = len_a},
				       {.iov_base = (void *)(uintptr_t)b, .iov_len = len_b}};

	return process_vm_readv(pid, local, 2, remote, 2, 0) == (ssize_t)(len_a + len_b);
}

static tracee_addr vdso_of(const struct task *t)
{
	/* malloc()ed, so aligned */
	const ElfW(auxv_t) *aux = (const ElfW(auxv_t) *)(const void *)t->auxv;

	for (size_t i = 0; i < t->auxv_len / sizeof(*aux) && aux[i].a_type != AT_NULL; i++)
		if (aux[i].a_type == AT_SYSINFO_EHDR)
			return aux[i].a_un.a_val;
	return 0;
}

/* Room for pads behind the vDSO of a process. */
struct slots {
	tracee_addr at;
	size_t nr, stride;
	uint8_t bytes[MAX_SLOTS * MAX_PAD_BYTES];
};

static bool read_slots(struct task *t, struct slots *ret)
{
	const size_t page = (size_t)t->tree->s->caps.page_size, stride = (arch_pad().len + 15) & ~15ul;
	const ElfW(Ehdr) *own = (const ElfW(Ehdr) *)getauxval(AT_SYSINFO_EHDR);
	const size_t room = vdso_room(own, page);
	const tracee_addr base = vdso_of(t);
	uint8_t head[sizeof(*own)];

	if (!room || !base || base % page || stride > MAX_PAD_BYTES)
		return false;
	ret->at = base + room;
	ret->stride = stride;
	ret->nr = (page - room % page) / stride;
	if (ret->nr > MAX_SLOTS)
		ret->nr = MAX_SLOTS;
	if (!read_pieces(task_live_tid(t), base, head, sizeof(head), ret->at, ret->bytes, ret->nr * stride))
		return false;
	return ret->nr && memcmp(head, own, sizeof(head)) == 0;
}

/*
 * A leftover is not used again while there is other room: a signal handler may be running on top of
 * its last instructions and return to them.
 */
static bool try_vdso(struct task *t, tracee_addr *ret)
{
	struct slots s;

	if (!read_slots(t, &s))
		return false;
	for (size_t i = 0; i < s.nr; i++) {
		*ret = s.at + i * s.stride;
		if (is_zero(s.bytes + i * s.stride, s.stride))
			return true;
	}
	*ret = s.at;
	return is_leftover(s.bytes);
}

static bool is_in(const struct thread *th, tracee_addr start, uint64_t len)
{
	return arch_ip(&th->regs) - start < len;
}

static bool is_in_leftover(const struct thread *th, const struct slots *s)
{
	const struct arch_pad pad = arch_pad();

	for (size_t i = 0; i < s->nr; i++) {
		const uint8_t *bytes = s->bytes + i * s->stride;
		uint64_t area[2];

		memcpy(area, bytes + pad.area, sizeof(area));
		if (is_leftover(bytes) && (is_in(th, s->at + i * s->stride, s->stride) ||
					   (area[0] && is_in(th, area[0], area[1]))))
			return true;
	}
	return false;
}

bool inject_is_thread_leaving(struct task *t, const struct thread *th)
{
	struct slots s;

	return read_slots(t, &s) && is_in_leftover(th, &s);
}

bool inject_is_leaving(struct task *t)
{
	struct slots s;

	if (!read_slots(t, &s))
		return false;
	for (size_t i = 0; i < t->nr_threads; i++)
		if (is_in_leftover(&t->threads[i], &s))
			return true;
	return false;
}

/* The end of one mapping of /proc/PID/maps. */
static bool try_mapping(struct task *t, const char *line, tracee_addr *ret)
{
	const size_t len = arch_pad().len;
	uint8_t before[GAP_BYTES], tail[MAX_PAD_BYTES];
	uint64_t start, end, inode;
	char perms[5];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64, &start, &end, perms,
		   &inode) != 4)
		return false;
	if (strcmp(perms, "r-xp") != 0 || (!inode && !strstr(line, "[vdso]")) ||
	    end - start < len + sizeof(before))
		return false;
	*ret = (end - len) & ~(tracee_addr)15;
	if (!read_pieces(task_live_tid(t), *ret - sizeof(before), before, sizeof(before), *ret, tail, len))
		return false;
	/* 64 zero bytes in front: what ends there may end in zeros */
	for (size_t i = 0; i < sizeof(before); i++)
		if (before[i])
			return false;
	return is_leftover(tail) || is_zero(tail, len);
}

static bool try_mappings(struct task *t, tracee_addr *ret)
{
	scoped_free char *text = NULL;
	char *save = NULL;
	size_t len;

	if (io_read_file_at(t->procfd, "maps", MAX_MAPS_BYTES, &text, &len, NULL) < 0)
		return false;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (try_mapping(t, line, ret))
			return true;
	return false;
}

int place_find(struct task *t, tracee_addr *ret, struct stasis_error *err)
{
	if (try_vdso(t, ret) || try_mappings(t, ret))
		return 0;
	return stasis_fail(err, STASIS_E_UNSUPPORTED,
			   "process %d (%s) has no vDSO and no other unused executable bytes",
			   t->pid, t->comm);
}

int place_fill(struct inject *in, struct stasis_error *err)
{
	const struct thread *leader = &in->t->threads[0];
	const struct arch_pad pad = arch_pad();
	const uint64_t area[2] = {0, in->at.len};
	uint8_t bytes[MAX_PAD_BYTES];
	struct arch_cure cure;

	memcpy(bytes, pad.code, pad.len);
	memcpy(bytes + pad.area, area, sizeof(area));
	arch_cure_fill(&cure, &leader->regs, leader->sigmask);
	memcpy(bytes + pad.cure, &cure, sizeof(cure));
	arch_pad_set_mark(bytes, in->pad, 0);
	if (task_write_mem(in->t, in->pad, bytes, pad.len, err) < 0)
		return stasis_fail_prefix(err, "place code in the vDSO");
	in->has_pad = true;
	return 0;
}

void place_wipe(struct inject *in)
{
	static const uint8_t zero[MAX_PAD_BYTES];

	if (in->has_pad && task_write_mem(in->t, in->pad, zero, arch_pad().len, NULL) < 0)
		s_warn(in->s, "process %d: unused code is left behind its vDSO", in->t->pid);
	in->has_pad = false;
}
