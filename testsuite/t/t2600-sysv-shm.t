#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# System V shared memory: with the segments that outlived the program, without, and with others in their place.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# Id of the subject's segment that has a key.
keyed_id() {
	printf '%d' $((0x53000000 | SUBJECT_PID)) >key
	awk -v key="$(cat key)" '$1 == key { print $2 }' /proc/sysvipc/shm
}

private_ids() {
	awk -v pid="$SUBJECT_PID" '$1 == 0 && $5 == pid { print $2 }' /proc/sysvipc/shm
}

remove_all() {
	local id
	for id in $(keyed_id) $(private_ids); do ipcrm -m "$id" || return; done
}

chkpnt_external_kill() {
	matrix_chkpnt img -K KILL --external=sysv && wait_for '[ -z "$(subject_pids)" ]' 10 && subject_pid_is_free
}

# Somebody else attaches the segment that has a key: sets holder.
hold_attached() {
	rm -f held
	"$test_subjects/sysv-touch" hold "$(keyed_id)" >held &
	holder=$!
	wait_for '[ -s held ]'
}

matrix sysv-shm

if test_is_root; then
	test_expect_success 'segments that are gone are made again with their ids' '
		subject_start sysv-shm && matrix_chkpnt_kill img && remove_all && restart_and_verify
	'
	test_expect_success 'what the program did after the checkpoint is forgotten' '
		subject_start sysv-shm && matrix_chkpnt img && subject_pids | xargs kill -9 &&
		wait_for "[ -z \"\$(subject_pids)\" ]" && subject_pid_is_free &&
		"$test_subjects/sysv-touch" fill "$(keyed_id)" && restart_and_verify
	'
	test_expect_success 'another segment with that key is in the way' '
		subject_start sysv-shm && matrix_chkpnt_kill img && remove_all &&
		"$test_subjects/sysv-touch" make "$(cat key)" && restart_refuses "another shared memory segment" &&
		[ -n "$(keyed_id)" ] && [ -z "$(private_ids)" ] && ipcrm -m "$(keyed_id)" && restart_and_verify
	'
	test_expect_success 'one that somebody has attached is not taken; -F gives the tree a namespace' '
		subject_start sysv-shm && matrix_chkpnt_kill img &&
		hold_attached &&
		restart_refuses "has 1 attachments" && restart_and_verify -F &&
		kill $holder && remove_all
	'
	test_expect_success 'one that others have attached is refused, or left alone' '
		subject_start sysv-shm &&
		hold_attached &&
		! matrix_chkpnt img 2>err && cat err && grep -q "attached outside.*--external=sysv" err &&
		chkpnt_external_kill && kill $holder && wait_for "! kill -0 $holder 2>/dev/null" &&
		restart_and_verify
	'
	test_expect_success 'what others had is not made again' '
		subject_start sysv-shm &&
		hold_attached &&
		chkpnt_external_kill && kill $holder && remove_all &&
		restart_refuses "is not there any more"
	'
	if subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
		test_kill_all 2>/dev/null
		test_expect_success 'a failed restart leaves what outlived the program, and removes what it made' '
			subject_start sysv-shm && matrix_chkpnt_kill img && left=$(keyed_id) &&
			gone=$(private_ids) && for id in $gone; do ipcrm -m "$id"; done &&
			! STASIS_FAULT=fail:restore.stopped restart -W "$SUBJECT_DIR/img" && [ "$left" = "$(keyed_id)" ] &&
			for id in $gone; do ! grep -q "^ *0 *$id " /proc/sysvipc/shm || return; done && restart_and_verify
		'
	fi
fi

test_done
