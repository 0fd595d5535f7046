#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An ordinary user's processes: trees.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"

matrix procstate
matrix zombie
matrix exit-signal
matrix stopped
matrix sessions
matrix futex-200

# strace holds up restart alone, when it learns that all is done.
test_expect_success 'a root that ends before restart has looked at it is not missed' '
	subject_start chain && matrix_chkpnt_kill img && {
		"${as_user[@]}" strace -qq -o /dev/null -e inject=futex:delay_exit=300000 \
			restart -k KILL "$SUBJECT_DIR/img" </dev/null 3>&-
		s=$?; echo "status $s"; [ $s = 137 ]
	}
'

test_done
