#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# restart as a parent: exit status, signals passed through, -W, -z, -k.
TEST_LIMIT=180
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_expect_success 'restart ends with the exit status of the root' '
	subject_start chain && matrix_chkpnt_kill img && { restart "$SUBJECT_DIR/img" 3>&- & r=$!; } &&
	wait_for "[ -n \"\$(subject_pids)\" ]" && : >"$SUBJECT_DIR/go" && wait $r
'
test_expect_success 'restart ends by the signal that killed the root' '
	rm -f "$SUBJECT_DIR"/go "$SUBJECT_DIR"/verdict; restart "$SUBJECT_DIR/img" 3>&- & r=$!
	wait_for "[ -n \"\$(subject_pids)\" ]" && kill -SEGV $(subject_root_pid);
	wait $r; s=$?; echo "status $s"; [ $s = 139 ]
'
test_expect_success 'SIGTERM sent to restart reaches the program' '
	restart "$SUBJECT_DIR/img" 3>&- & r=$!
	wait_for "[ -n \"\$(subject_pids)\" ]" && kill -TERM $r; wait $r; s=$?; echo "status $s";
	[ $s = 143 ] && wait_for "[ -z \"\$(subject_pids)\" ]"
'
test_expect_success '-W returns while the program runs' '
	timeout 20 restart -W "$SUBJECT_DIR/img" 3>&- && [ -n "$(subject_pids)" ]
'
test_expect_success '-k sends the signal to the restarted root' '
	subject_kill; restart -k KILL "$SUBJECT_DIR/img" 3>&-; s=$?; echo "status $s"; [ $s = 137 ]
'
test_expect_success '-z leaves every process stopped' '
	restart -W -z "$SUBJECT_DIR/img" 3>&- && grep -q "^State:.T" /proc/$SUBJECT_PID/status &&
	kill -CONT $SUBJECT_PID && subject_verify
'
test_expect_success 'same pid, parent is restart' '
	subject_start chain && matrix_chkpnt_kill img2 && { restart "$SUBJECT_DIR/img2" 3>&- & r=$!; } &&
	wait_for "[ \"\$(subject_root_pid)\" = $SUBJECT_PID ]" &&
	[ "$(sed -n "s/^PPid:.//p" /proc/$SUBJECT_PID/status)" = $r ] && subject_verify && wait $r
'
test_done
