/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State that threads must tell themselves. The leader answers for the process; all other threads are
 * sent into the parasite at once, the leader waits for the last of them, and then all are put back
 * where they were: from then on the engine's death means no more to them than a detach.
 */
#include "arch/cure.h"
#include "inject/inject_priv.h"
#include "lib/scoped.h"

#include <string.h>
#include <sys/ptrace.h>

extern __attribute__((__visibility__("hidden"))) const uint8_t stasis_parasite_blob_start[];

static tracee_addr pad_of(const struct inject *in, size_t i)
{
	return in->area + in->at.pads + (i - 1) * in->at.pad_stride;
}

static tracee_addr slot_of(const struct inject *in, size_t i)
{
	return in->area + in->at.threads + i * WIRE_THREAD_BYTES;
}

/* Each thread has a pad of its own inside the area. */
static int write_pads(struct inject *in, struct stasis_error *err)
{
	const struct arch_pad pad = arch_pad();
	const size_t nr = in->t->nr_threads, len = (nr - 1) * in->at.pad_stride;
	scoped_free uint8_t *pads = calloc(1, len);

	if (!pads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", nr);
	for (size_t i = 1; i < nr; i++) {
		uint8_t *to = pads + (i - 1) * in->at.pad_stride;
		struct arch_cure cure;

		memcpy(to, pad.code, pad.len);
		arch_cure_fill(&cure, &in->t->threads[i].regs, in->t->threads[i].sigmask);
		memcpy(to + pad.cure, &cure, sizeof(cure));
		arch_pad_set_mark(to, pad_of(in, i),
				  slot_of(in, i) + offsetof(struct wire_thread, has_left));
	}
	return inject_write(in, in->at.pads, pads, len, err);
}

static int write_slots(struct inject *in, struct stasis_error *err)
{
	const size_t nr = in->t->nr_threads, len = nr * WIRE_THREAD_BYTES;
	scoped_free uint8_t *slots = calloc(1, len);

	if (!slots)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", nr);
	for (size_t i = 1; i < nr; i++) {
		const struct wire_thread slot = {
			.stack_top = slot_of(in, i) + WIRE_THREAD_BYTES,
			.pad_leave = pad_of(in, i) + arch_pad().leave,
			.area = in->area + in->at.data,
		};

		memcpy(slots + i * WIRE_THREAD_BYTES, &slot, sizeof(slot));
	}
	return inject_write(in, in->at.threads, slots, len, err);
}

static int set_nr_running(struct inject *in, uint32_t nr, struct stasis_error *err)
{
	return inject_write(in, in->at.data + offsetof(struct wire_area, nr_running), &nr,
			    sizeof(nr), err);
}

/* Registers before the mask: whoever is let go in between blocks signals himself. */
static int send_in(struct inject *in, size_t i, struct stasis_error *err)
{
	struct thread *th = &in->t->threads[i];
	struct arch_regs r = th->regs;
	struct wire_blob head;

	memcpy(&head, stasis_parasite_blob_start, sizeof(head));
	arch_set_entry(&r, in->area + head.thread_entry, slot_of(in, i));
	if (remote_set_regs(th, &r, err) < 0)
		return -1;
	in->nr_inside = i;
	if (remote_set_mask(th, ~0ull, err) < 0)
		return -1;
	return remote_go(th, PTRACE_CONT, err);
}

/* First to the pad's way home, on the program's stack, so that the mask may be set before the
 * registers are. */
static int bring_home(struct inject *in, size_t i)
{
	const size_t left = in->at.threads + i * WIRE_THREAD_BYTES +
			    offsetof(struct wire_thread, has_left);
	struct thread *th = &in->t->threads[i];
	struct arch_regs r = th->regs;
	const uint32_t yes = 1;

	if (remote_wait(th, REMOTE_EVENT, PTRACE_CONT, NULL) < 0)
		return -1;
	arch_set_entry(&r, pad_of(in, i) + arch_pad().leave, 0);
	if (remote_set_regs(th, &r, NULL) < 0 || inject_write(in, left, &yes, sizeof(yes), NULL) < 0 ||
	    remote_set_mask(th, th->sigmask, NULL) < 0)
		return -1;
	return remote_set_regs(th, &th->regs, NULL);
}

void threads_bring_home(struct inject *in)
{
	/* one that has been killed is missed by neither loop */
	for (size_t i = 1; i <= in->nr_inside; i++)
		(void)ptrace(PTRACE_INTERRUPT, in->t->threads[i].tid, NULL, NULL);
	for (size_t i = 1; i <= in->nr_inside; i++)
		if (in->t->threads[i].is_seized)
			(void)bring_home(in, i);
	if (in->nr_inside && in->phase == INJECT_SERVING)
		(void)set_nr_running(in, 0, NULL); /* it has been killed */
	in->nr_inside = 0;
}

static int visit_threads(struct inject *in, struct stasis_error *err)
{
	struct wire_request wait = {.op = WIRE_OP_WAIT, .a = {in->t->nr_threads - 1}};

	if (in->t->nr_threads < 2)
		return 0;
	if (write_pads(in, err) < 0 || write_slots(in, err) < 0 ||
	    set_nr_running(in, (uint32_t)in->t->nr_threads - 1, err) < 0)
		return -1;
	for (size_t i = 1; i < in->t->nr_threads; i++)
		if (send_in(in, i, err) < 0)
			return -1;
	if (inject_request(in, &wait, -1, NULL, err) < 0)
		return -1;
	threads_bring_home(in);
	return 0;
}

static int read_results(struct inject *in, struct stasis_error *err)
{
	const size_t nr = in->t->nr_threads, len = nr * WIRE_THREAD_BYTES;
	scoped_free uint8_t *slots = malloc(len);

	in->threads = calloc(nr, sizeof(*in->threads));
	if (!slots || !in->threads)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for %zu threads", nr);
	if (inject_read(in, in->at.threads, slots, len, err) < 0 ||
	    inject_read(in, in->at.data + offsetof(struct wire_area, task), &in->task,
			sizeof(in->task), err) < 0)
		return -1;
	for (size_t i = 0; i < nr; i++)
		memcpy(&in->threads[i],
		       slots + i * WIRE_THREAD_BYTES + offsetof(struct wire_thread, result),
		       sizeof(in->threads[i]));
	if (in->task.nr_auxv_bytes > sizeof(in->task.auxv))
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d gives a wrong answer",
				   in->t->pid);
	return 0;
}

int inject_collect(struct task *t, const struct parasite_task **ret_task,
		   const struct parasite_thread **ret_threads, struct stasis_error *err)
{
	struct wire_request req = {.op = WIRE_OP_TASK};
	struct inject *in = t->inject;

	if (!in)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	if (inject_settle(in, err) < 0)
		return stasis_fail_prefix(err, "process %d (%s)", t->pid, t->comm);
	if (!in->is_collected) {
		if (visit_threads(in, err) < 0 || inject_request(in, &req, -1, NULL, err) < 0 ||
		    read_results(in, err) < 0)
			return stasis_fail_prefix(err, "process %d (%s)", t->pid, t->comm);
		in->is_collected = true;
	}
	*ret_task = &in->task;
	*ret_threads = in->threads;
	return 0;
}

static int settle_collect(struct inject *in, struct stasis_error *err)
{
	if (read_results(in, err) < 0)
		return -1;
	in->is_collected = true;
	return in->nr_policies ? inject_read(in, in->at.buffer, in->policies,
					     in->nr_policies * sizeof(*in->policies), err) :
				 0;
}

int inject_collect_ahead(struct task *t, const tracee_addr *mappings, size_t nr, struct stasis_error *err)
{
	struct wire_request req = {.op = WIRE_OP_TASK};
	struct inject *in = t->inject;

	if (!in || in->is_collected || t->nr_threads > 1)
		return 0;
	nr = nr < WIRE_POLICIES_PER_REQUEST ? nr : WIRE_POLICIES_PER_REQUEST;
	in->policies = calloc(nr + 1, sizeof(*in->policies));
	if (!in->policies)
		return stasis_fail(err, STASIS_E_NOMEM, "NUMA policies");
	for (size_t i = 0; i < nr; i++)
		in->policies[i].addr = mappings[i];
	if (nr && inject_write(in, in->at.buffer, in->policies, nr * sizeof(*in->policies), err) < 0)
		return -1;
	in->nr_policies = nr;
	req.a[0] = nr;
	return inject_ask(in, &req, -1, settle_collect, err);
}

/* How many at the start of the list are known already. */
static size_t take_known(const struct inject *in, struct parasite_policy *list, size_t nr)
{
	size_t i;

	for (i = 0; i < nr && i < in->nr_policies && list[i].addr == in->policies[i].addr; i++)
		list[i] = in->policies[i];
	return i;
}

int inject_policies(struct task *t, struct parasite_policy *list, size_t nr, struct stasis_error *err)
{
	enum { BATCH = WIRE_POLICIES_PER_REQUEST };
	struct inject *in = t->inject;

	if (!in)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	for (size_t from = in->is_collected ? take_known(in, list, nr) : 0; from < nr; from += BATCH) {
		const size_t now = nr - from < BATCH ? nr - from : BATCH;
		struct wire_request req = {.op = WIRE_OP_POLICIES, .a = {now}};

		if (inject_write(in, in->at.buffer, list + from, now * sizeof(*list), err) < 0 ||
		    inject_request(in, &req, -1, NULL, err) < 0 ||
		    inject_read(in, in->at.buffer, list + from, now * sizeof(*list), err) < 0)
			return -1;
	}
	return 0;
}

int inject_timers(struct task *t, const int32_t *ids, size_t nr, struct parasite_timer *ret,
		  struct stasis_error *err)
{
	enum { BATCH = WIRE_TIMERS_PER_REQUEST };
	struct inject *in = t->inject;
	scoped_free struct wire_timer *buf = NULL;

	if (!in)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	buf = calloc(BATCH, sizeof(*buf));
	if (!buf)
		return stasis_fail(err, STASIS_E_NOMEM, "no memory for timers");
	for (size_t from = 0; from < nr; from += BATCH) {
		const size_t now = nr - from < BATCH ? nr - from : BATCH;
		struct wire_request req = {.op = WIRE_OP_TIMERS, .a = {now}};

		for (size_t i = 0; i < now; i++)
			buf[i] = (struct wire_timer){.timer.id = ids[from + i]};
		if (inject_write(in, in->at.buffer, buf, now * sizeof(*buf), err) < 0 ||
		    inject_request(in, &req, -1, NULL, err) < 0 ||
		    inject_read(in, in->at.buffer, buf, now * sizeof(*buf), err) < 0)
			return -1;
		for (size_t i = 0; i < now; i++) {
			if (buf[i].error)
				return stasis_fail(err, STASIS_E_GONE,
						   "process %d has no timer %d", t->pid,
						   ids[from + i]);
			ret[from + i] = buf[i].timer;
			ret[from + i].id = ids[from + i];
		}
	}
	return 0;
}

int inject_mincore(struct task *t, tracee_addr addr, uint64_t len, uint8_t *ret_bytes,
		   struct stasis_error *err)
{
	const uint64_t page = (uint64_t)t->tree->s->caps.page_size;
	const uint64_t chunk = WIRE_BUFFER_BYTES * page;
	struct inject *in = t->inject;

	if (!in)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	for (uint64_t done = 0; done < len; done += chunk) {
		const uint64_t now = len - done < chunk ? len - done : chunk;
		struct wire_request req = {.op = WIRE_OP_MINCORE, .a = {addr + done, now}};

		if (inject_request(in, &req, -1, NULL, err) < 0 ||
		    inject_read(in, in->at.buffer, ret_bytes + done / page, (now + page - 1) / page,
				err) < 0)
			return stasis_fail_prefix(err, "look at 0x%llx",
						  (unsigned long long)(addr + done));
	}
	return 0;
}

int inject_syscall(struct task *t, long nr, const uint64_t args[6], int64_t *ret,
		   struct stasis_error *err)
{
	struct wire_request req = {.op = WIRE_OP_SYSCALL, .nr = nr};

	if (!t->inject)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite", t->pid);
	memcpy(req.a, args, sizeof(req.a));
	return inject_request(t->inject, &req, -1, ret, err);
}

int inject_syscall_data(struct task *t, long nr, const uint64_t args[6], unsigned mask, void *data,
			size_t len, int64_t *ret, struct stasis_error *err)
{
	struct inject *in = t->inject;
	uint64_t with[6];

	if (!in || len > WIRE_BUFFER_BYTES)
		return stasis_fail(err, STASIS_E_INTERNAL, "process %d has no parasite, or no room", t->pid);
	memcpy(with, args, sizeof(with));
	for (unsigned i = 0; i < 6; i++)
		if (mask >> i & 1)
			with[i] += in->area + in->at.buffer;
	if (inject_write(in, in->at.buffer, data, len, err) < 0 ||
	    inject_syscall(t, nr, with, ret, err) < 0)
		return -1;
	return inject_read(in, in->at.buffer, data, len, err);
}
