#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An ordinary user's pseudo-terminals.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/own-devpts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"

matrix pty-pair
matrix pty-session

test_expect_success 'a terminal in exclusive mode is refused by name' '
	subject_start pty-pair exclusive &&
	test_expect_status 3 "${as_user[@]}" chkpnt -n -r "$SUBJECT_PID" 2>err; cat err
	grep -q "pty-pair($SUBJECT_PID) fd [0-9]*: tty: terminal ./dev/pts/[0-9]*. in exclusive mode" err &&
	subject_verify
'

test_done
