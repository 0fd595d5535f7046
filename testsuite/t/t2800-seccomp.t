#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Seccomp: filters on top of each other, by thread, inherited; strict mode.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "only root can read and suspend seccomp filters"

matrix seccomp nnp
matrix seccomp root
matrix seccomp shared

# The filters are in force again at that instant; one refuses munmap(2), so that our memory stays.
killed_at() {
	subject_start "${@:2}" || return 1
	STASIS_FAULT=kill:$1 chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err 3>&-
	[ $? = 137 ] && subject_verify
}

if subject_start seccomp nnp &&
	! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
	test_kill_all 2>/dev/null
	for point in dump.before-inject dump.injected dump.task-written; do
		test_expect_success "a checkpoint killed at $point leaves a confined program running" \
			"killed_at $point seccomp nnp"
		test_kill_all 2>/dev/null
	done
fi
test_kill_all 2>/dev/null

test_expect_success 'strict mode is refused, and names the way out' '
	subject_start seccomp strict &&
	! chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err &&
	grep "strict seccomp mode, which kills it if this checkpoint is killed.*use -F" err &&
	[ ! -e "$SUBJECT_DIR/img" ] && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'strict mode restarts with -F' '
	subject_start seccomp strict && matrix_chkpnt img -K KILL -F &&
	wait_for "[ -z \"\$(subject_pids)\" ]" 10 &&
	restart -W "$SUBJECT_DIR/img" </dev/null 3>&- && subject_verify
'
test_kill_all 2>/dev/null

test_expect_success 'an image with filters that is not root'"'"'s is refused, and restarts without them with -F' '
	subject_start seccomp nnp && matrix_chkpnt_kill img &&
	chown 65534 "$SUBJECT_DIR"/img* &&
	! restart -W "$SUBJECT_DIR/img" </dev/null 2>err 3>&- &&
	grep "was confined by seccomp filters" err
'
test_kill_all 2>/dev/null

test_expect_success 'an ordinary user is told who can' '
	test_become_user && subject_start seccomp nnp &&
	! "${as_user[@]}" chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" </dev/null 2>err &&
	grep "is under seccomp filters.*as root, or use -F" err && subject_verify
'
test_kill_all 2>/dev/null

test_done
