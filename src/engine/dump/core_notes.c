/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The notes that make an image a core file: what gdb, eu-readelf and file(1) expect, laid out as
 * fs/binfmt_elf.c of the kernel does (elf(5), <sys/procfs.h>).
 */
#include "dump/dump_priv.h"
#include "lib/io.h"
#include "lib/proc.h"
#include "lib/scoped.h"

#include <elf.h>
#include <string.h>
#include <sys/procfs.h>

enum {
	FXSAVE_BYTES = 512, /* the legacy area every XSAVE area starts with */
	CMDLINE_MAX_BYTES = 4 << 20,
};

static int put_prstatus(struct thread *th, struct image_writer *w, struct stasis_error *err)
{
	const struct task *t = th->task;
	struct elf_prstatus st;

	memset(&st, 0, sizeof(st));
	_Static_assert(sizeof(st.pr_reg) == sizeof(th->regs.u), "register layout of NT_PRSTATUS");
	st.pr_pid = th->vtid;
	st.pr_ppid = t->vppid;
	st.pr_pgrp = t->vpgid;
	st.pr_sid = t->vsid;
	st.pr_sighold = th->sigmask;
	memcpy(&st.pr_reg, &th->regs.u, sizeof(st.pr_reg));
	st.pr_fpvalid = 1;
	return image_put_note(w, "CORE", NT_PRSTATUS, &st, sizeof(st), err);
}

/* The command line with blanks between its words, as ps shows it. */
static void fill_psargs(struct task *t, char *ret, size_t size)
{
	scoped_free char *text = NULL;
	size_t len;

	if (io_read_file_at(t->procfd, "cmdline", CMDLINE_MAX_BYTES, &text, &len, NULL) < 0)
		return; /* an unreadable command line only leaves the field empty */
	if (len >= size)
		len = size - 1;
	for (size_t i = 0; i < len; i++)
		ret[i] = text[i] ? text[i] : ' ';
}

static int put_prpsinfo(struct task *t, struct image_writer *w, struct stasis_error *err)
{
	struct elf_prpsinfo info;

	memset(&info, 0, sizeof(info));
	info.pr_sname = t->state == TASK_STOPPED ? 'T' : 'R';
	info.pr_nice = (char)t->stat.nice;
	info.pr_flag = t->stat.flags;
	info.pr_pid = t->vpid;
	info.pr_ppid = t->vppid;
	info.pr_pgrp = t->vpgid;
	info.pr_sid = t->vsid;
	memcpy(info.pr_fname, t->comm, sizeof(info.pr_fname) - 1);
	fill_psargs(t, info.pr_psargs, sizeof(info.pr_psargs));
	return image_put_note(w, "CORE", NT_PRPSINFO, &info, sizeof(info), err);
}

static int put_leader_notes(struct task *t, struct image_writer *w, struct stasis_error *err)
{
	static const uint8_t no_siginfo[128]; /* no signal ended this process */

	if (put_prpsinfo(t, w, err) < 0)
		return -1;
	if (image_put_note(w, "CORE", NT_SIGINFO, no_siginfo, sizeof(no_siginfo), err) < 0)
		return -1;
	return image_put_note(w, "CORE", NT_AUXV, t->auxv, t->auxv_len, err);
}

int dump_core_notes(struct session *s, struct thread *th, struct image_writer *w,
		    struct stasis_error *err)
{
	(void)s;
	if (th->xstate_len < FXSAVE_BYTES)
		return stasis_fail(err, STASIS_E_INTERNAL, "thread %d has no XSAVE area", th->tid);
	if (put_prstatus(th, w, err) < 0)
		return -1;
	if (th == th->task->threads && put_leader_notes(th->task, w, err) < 0)
		return -1;
	if (image_put_note(w, "CORE", NT_FPREGSET, th->xstate, FXSAVE_BYTES, err) < 0)
		return -1;
	return image_put_note(w, "LINUX", NT_X86_XSTATE, th->xstate, th->xstate_len, err);
}
