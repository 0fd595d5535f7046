/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions and process groups, also those whose leader is dead:
 *
 *   root                 own session S1 (setsid)
 *   |- worker            group of its own in S1
 *   |- orphan in group   in a group whose leader is dead and reaped
 *   `- reaper            subreaper
 *      `- orphan         in a session whose leader is dead and reaped
 */
#include "subject.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
	pid_t pid, ppid, pgrp, sid;
};

static struct place look(void)
{
	struct place p = {getpid(), getppid(), getpgrp(), getsid(0)};

	return p;
}

static void live_and_check(const char *name, bool is_parent_checked)
{
	struct place before = look(), after;

	subject_mark(name);
	subject_wait_go();
	after = look();
	if (before.pid != after.pid || before.pgrp != after.pgrp || before.sid != after.sid)
		subject_bad("%s: pid %d, group %d, session %d became %d, %d, %d", name, before.pid,
			    before.pgrp, before.sid, after.pid, after.pgrp, after.sid);
	if (is_parent_checked && before.ppid != after.ppid)
		subject_bad("%s: parent %d became %d", name, before.ppid, after.ppid);
}

static pid_t start_worker(void)
{
	pid_t pid = subject_fork();

	if (pid)
		return pid;
	CHECK(setpgid(0, 0) == 0);
	live_and_check("worker", true);
	_exit(0);
}

/* A member of a group whose leader is gone. */
static pid_t start_group_orphan(void)
{
	pid_t pid, leader = subject_fork();

	if (!leader) {
		CHECK(setpgid(0, 0) == 0);
		subject_mark("group leader");
		subject_wait_mark("group joined");
		_exit(0);
	}
	subject_wait_mark("group leader");
	pid = subject_fork();
	if (!pid) {
		CHECK(setpgid(0, leader) == 0);
		subject_mark("group joined");
		subject_wait_mark("group leader gone");
		live_and_check("group orphan", true);
		_exit(0);
	}
	subject_reap(leader);
	subject_mark("group leader gone");
	return pid;
}

/* A member of a session whose leader is gone; its parent is the subreaper. */
static pid_t start_session_orphan(void)
{
	pid_t leader, pid = subject_fork();
	int status;

	if (pid)
		return pid;
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	leader = subject_fork();
	if (!leader) {
		CHECK(setsid() == getpid());
		if (!subject_fork()) {
			subject_wait_mark("session leader gone");
			live_and_check("session orphan", true);
			_exit(0);
		}
		_exit(0);
	}
	subject_reap(leader);
	subject_mark("session leader gone");
	live_and_check("reaper", true);
	CHECK(wait(&status) > 0 && status == 0);
	_exit(0);
}

int main(void)
{
	static const char *const marks[] = {"worker", "group orphan", "session orphan", "reaper"};
	pid_t kids[3];
	unsigned i;

	subject_init();
	if (setsid() < 0)
		CHECK(getsid(0) == getpid());
	kids[0] = start_worker();
	kids[1] = start_group_orphan();
	kids[2] = start_session_orphan();
	for (i = 0; i < 4; i++)
		subject_wait_mark(marks[i]);
	subject_ready();
	live_and_check("root", false);
	for (i = 0; i < 3; i++)
		subject_reap(kids[i]);
	subject_ok();
}
