#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Root restarts an image that an ordinary user could have altered: the processes get that user's ids and
# nothing that he could not have opened himself.
. "$(dirname "$0")/../lib/test-lib.sh"

test_is_root || test_skip_all "only root can"
test_become_user

test_expect_success 'a user checkpoints his process' '
	subject_start chain &&
	"${as_user[@]}" chkpnt -K KILL -f img "$SUBJECT_PID" -d "$SUBJECT_DIR" &&
	wait_for "! kill -0 $SUBJECT_PID 2>/dev/null" &&
	cd "$SUBJECT_DIR"
'
test_expect_success 'root restarts it with the ids of the user and no capability' '
	restart -W img >out 2>err 3>&- &&
	grep -q "with the ids of uid $test_uid" err &&
	grep -q "^Uid:.$test_uid.$test_uid.$test_uid.$test_uid$" "/proc/$SUBJECT_PID/status" &&
	grep -q "^CapPrm:.0*$" "/proc/$SUBJECT_PID/status" &&
	grep -q "^CapEff:.0*$" "/proc/$SUBJECT_PID/status" &&
	kill -KILL "$SUBJECT_PID" &&
	wait_for "! kill -0 $SUBJECT_PID 2>/dev/null"
'
test_expect_success 'a file that the user may not write is not opened for him' '
	chown 0:0 stdout && chmod 600 stdout &&
	test_expect_status 4 restart -q -W img 2>err 3>&- &&
	grep -q "stdout.*Permission denied" err &&
	! kill -0 "$SUBJECT_PID" 2>/dev/null
'
test_expect_success 'an image that others may write is refused' '
	chown 0 img && chmod 666 img &&
	test_expect_status 4 restart -W img 2>err 3>&- &&
	grep -q "altered by others" err
'
test_done
