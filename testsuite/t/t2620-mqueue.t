#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# POSIX message queues: that outlived the program, that did not, that others use.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# A command among the files of the queues; empty queues have size 80.
in_queues() {
	mkdir -p queues && unshare -m sh -c 'mount -t mqueue mqueue queues && cd queues && eval "$1"' sh "$1"
}

hold() { # QUEUE
	rm -f held
	"$test_subjects/sysv-touch" mq "/stasis-$1-$SUBJECT_PID" >held 3>&- &
	holder=$!
	wait_for "[ -s held ]" 10
}

let_go() {
	kill $holder && wait_for "! kill -0 $holder 2>/dev/null" 10
}

matrix mqueue

if test_is_root && in_queues true; then
	test_expect_success 'queues that are gone are made again' '
		subject_start mqueue && matrix_chkpnt_kill img && in_queues "rm stasis-*-$SUBJECT_PID" && restart_and_verify
	'
	test_expect_success 'one that a process uses is not taken' '
		subject_start mqueue && matrix_chkpnt_kill img && hold named && restart_refuses "is used by process $holder" &&
		let_go && restart_and_verify
	'
	test_expect_success 'one that others have open is left as it is' '
		subject_start mqueue && hold named && matrix_chkpnt_kill img && let_go && restart_and_verify
	'
	test_expect_success 'and must be there' '
		subject_start mqueue && hold named && matrix_chkpnt_kill img && let_go &&
		in_queues "rm stasis-named-$SUBJECT_PID" && restart_refuses "which others used, too" &&
		in_queues "rm stasis-*-$SUBJECT_PID"
	'
	test_expect_success 'one that others have open and that is watched is refused' '
		subject_start mqueue && hold watched && ! matrix_chkpnt img 2>err && cat err &&
		grep -q "watched (mq_notify) and that process $holder" err && let_go && matrix_chkpnt img && subject_verify
	'
	if subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
		test_kill_all 2>/dev/null
		test_expect_success 'a failed restart leaves what was there, and removes what it made' '
			subject_start mqueue && matrix_chkpnt_kill img && in_queues "rm stasis-full-$SUBJECT_PID" &&
			in_queues "head -n 9 stasis-*-$SUBJECT_PID" >before &&
			! STASIS_FAULT=fail:restore.stopped restart -W "$SUBJECT_DIR/img" &&
			in_queues "head -n 9 stasis-*-$SUBJECT_PID" >after && cat after && diff before after &&
			grep -q "QSIZE:[1-9]" after && restart_and_verify
		'
	fi
fi

test_done
