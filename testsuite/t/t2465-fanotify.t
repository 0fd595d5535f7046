#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fanotify groups.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

mkdir mnt
if test_is_root && mount -t tmpfs none mnt; then
	matrix fanotify
	test_expect_success 'a group with an unread event is refused, and forced loses it' '
		subject_start fanotify unread &&
		test_expect_status 3 chkpnt -q -f img "$SUBJECT_PID" 2>err && cat err && [ ! -e img ] &&
		grep -q "fd [0-9]*: fanotify group with unread events; wait until" err &&
		chkpnt -q -F -f img "$SUBJECT_PID" && subject_verify
	'
	test_kill_all 2>/dev/null
	cat >decide.py <<"END"
import ctypes, os, time
fd = ctypes.CDLL(None).fanotify_init(4, 0) # FAN_CLASS_CONTENT
assert fd >= 0
os.open("deciding", os.O_CREAT)
time.sleep(100)
END
	test_expect_success 'a group that decides is refused by name' '
		python3 decide.py </dev/null 3>&- & job=$!
		wait_for "[ -e deciding ]" 20 && test_expect_status 3 stasis check $job >report 2>&1; cat report
		grep -q "fanotify group that decides over what others do is not supported; close" report
	'
	test_kill_all 2>/dev/null
	test_expect_success 'a file that is gone: the restart warns and goes on' '
		subject_start fanotify unread && chkpnt -q -F -K KILL -f lost "$SUBJECT_PID" &&
		wait_for "[ -z \"\$(subject_pids)\" ]" 20 && subject_pid_is_free && rm "$SUBJECT_DIR/file" &&
		restart -W lost </dev/null >/dev/null 2>err 3>&-; cat err
		grep -q "file. cannot be watched any more by fanotify: No such file" err && [ -n "$(subject_pids)" ]
	'
	test_kill_all 2>/dev/null
else
	test_skip "fanotify" "needs root"
fi

if test_is_root; then
	test_become_user
fi
if test_user_namespaces_work; then
	matrix fanotify user
fi
test_done
