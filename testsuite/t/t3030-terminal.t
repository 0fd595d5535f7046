#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A program on a terminal: restarted on another one.
TEST_LIMIT=180
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

[ -z "$(test_missing_programs script)" ] || test_skip_all "needs script(1)"

# script(1) gives each command a terminal of its own, as its session's control terminal.

test_expect_success 'set-up: a subject on a terminal' '
	SUBJECT_DIR=$(mktemp -d "$test_scratch/tty.XXXXXX")
	{ sleep 100 | STASIS_SUBJECT_DIR=$SUBJECT_DIR script -qfec "$test_subjects/tty; true" typescript; } \
		>/dev/null 2>&1 3>&- &
	wait_for "[ -e $SUBJECT_DIR/status ]" && SUBJECT_PID=$(sed "s/ready //" "$SUBJECT_DIR/status")
'
test_expect_success 'checkpoint, kill' '
	chkpnt -r -K KILL -f img $SUBJECT_PID && wait_for "! [ -e /proc/$SUBJECT_PID ]"
'
test_expect_success 'restart on another terminal' '
	{ sleep 60 | script -qfec "restart img; true" typescript2; echo $? >status; } >/dev/null 2>&1 3>&- &
	{ wait_for "[ -n \"\$(subject_pids)\" ]" 10 && subject_verify; } || { cat typescript2; false; }
'
test_expect_success 'its output came to the new terminal' '
	wait_for "grep -q \"hello from the restarted side\" typescript2"
'
test_kill_all 2>/dev/null
test_expect_success 'a session leader gets the terminal, too: checkpoint, kill' '
	SUBJECT_DIR=$(mktemp -d "$test_scratch/tty.XXXXXX")
	{ sleep 100 | STASIS_SUBJECT_DIR=$SUBJECT_DIR script -qfec "exec $test_subjects/tty" typescript; } \
		>/dev/null 2>&1 3>&- &
	wait_for "[ -e $SUBJECT_DIR/status ]" && SUBJECT_PID=$(sed "s/ready //" "$SUBJECT_DIR/status") &&
	[ "$(ps -o sid= -p "$SUBJECT_PID" | tr -d " ")" = "$SUBJECT_PID" ] &&
	chkpnt -r -K KILL -f leader $SUBJECT_PID && wait_for "! [ -e /proc/$SUBJECT_PID ]"
'
test_expect_success 'restart the session leader on another terminal' '
	{ sleep 60 | script -qfec "restart leader; true" typescript3; echo $? >status; } >/dev/null 2>&1 3>&- &
	{ wait_for "[ -n \"\$(subject_pids)\" ]" 10 && subject_verify; } || { cat typescript3; false; }
'
test_expect_success 'without a terminal restart refuses, and -F goes on' '
	! setsid -w restart -W img </dev/null >out 2>err; s=$?; cat err; [ $s = 0 ] && [ -s err ]
'
test_done
