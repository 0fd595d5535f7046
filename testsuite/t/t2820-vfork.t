#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory shared with a child: for the moment of a vfork, which is waited for, or for good.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# The child in vfork(2), which has the subject's name until it has called exec.
has_child() {
	[ "$(cat "/proc/$SUBJECT_PID/task/$SUBJECT_PID/children" 2>/dev/null)" != "" ]
}

exec_when_asked() {
	local pid
	subject_start vfork && wait_for has_child 10 || return 1
	matrix_chkpnt img -K KILL &
	pid=$!
	# it waits: the parent cannot stand still
	wait_for '[ "$(sed -n "s/^TracerPid:.//p" /proc/$SUBJECT_PID/status)" != 0 ]' 10 || return 1
	: >"$SUBJECT_DIR/exec"
	wait $pid
}

test_expect_success 'a vfork child is waited for until it has called exec, and restarts' '
	exec_when_asked && wait_for "[ -z \"\$(subject_pids)\" ]" 10 &&
	restart -W "$SUBJECT_DIR/img" </dev/null 3>&- && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'one that does not call exec is named, and runs on' '
	subject_start vfork && wait_for has_child 10 &&
	! chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err 3>&- &&
	grep "process $SUBJECT_PID waits for a child made by vfork to call exec or exit" err &&
	: >"$SUBJECT_DIR/exec" && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'memory shared for good is refused by name' '
	subject_start vfork shared &&
	! chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err 3>&- &&
	grep "shares its memory with its parent $SUBJECT_PID" err && subject_verify
'
test_kill_all 2>/dev/null

test_done
