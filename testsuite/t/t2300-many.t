#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many descriptors, and high ones.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix many-fds

ulimit -n 400
matrix high-fds
test_expect_success 'a restart that has no room for its own descriptors says so' '
	subject_start high-fds && matrix_chkpnt_kill img &&
	(ulimit -n 150 && test_expect_status 4 restart -W "$SUBJECT_DIR/img" 2>err); s=$?; cat err
	[ $s = 0 ] && grep -q "hard limit of open files is 150" err && [ -z "$(subject_pids)" ]
'
test_become_user
matrix high-fds
test_done
