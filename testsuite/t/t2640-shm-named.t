#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# POSIX shared memory and named semaphores: that outlived the program, that did not, that others use.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

files() {
	ls /dev/shm/subject-*-"$SUBJECT_PID" /dev/shm/sem.subject-*-"$SUBJECT_PID" 2>/dev/null
}

matrix shm-named

test_expect_success 'files that are gone are made again' '
	subject_start shm-named && matrix_chkpnt_kill img && rm $(files) && restart_and_verify &&
	cat restart.out && ! grep -q warning restart.out
'
test_expect_success 'what the program did after the checkpoint is forgotten' '
	subject_start shm-named && matrix_chkpnt_kill img && f=/dev/shm/subject-closed-$SUBJECT_PID &&
	printf later | dd of="$f" conv=notrunc status=none && printf longer >>/dev/shm/subject-lone-$SUBJECT_PID &&
	restart_and_verify && cat restart.out && ! grep -q warning restart.out
'
test_expect_success 'what others use stays as it is, with a warning' '
	subject_start shm-named && matrix_chkpnt_kill img && f=/dev/shm/subject-closed-$SUBJECT_PID &&
	printf later | dd of="$f" conv=notrunc status=none &&
	{ sleep 60 7<"$f" & } && holder=$! && wait_for "[ -e /proc/$holder/fd/7 ]" 10 &&
	! restart_and_verify && cat restart.out && grep -q "used by process $holder" restart.out && kill $holder
	rm -f $(files)
'
if subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
	test_kill_all 2>/dev/null
	test_expect_success 'a failed restart leaves what was there, and removes what it made' '
		subject_start shm-named && matrix_chkpnt_kill img && rm "/dev/shm/subject-closed-$SUBJECT_PID" &&
		printf longer >>"/dev/shm/subject-lone-$SUBJECT_PID" && cksum $(files) >before &&
		! STASIS_FAULT=fail:restore.stopped restart -W "$SUBJECT_DIR/img" && cksum $(files) >after &&
		diff before after && restart_and_verify
	'
fi

test_done
