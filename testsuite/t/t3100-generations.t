#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many restarts of one image, and chains of generations.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_expect_success 'five restarts from one image' '
	subject_start registers && matrix_chkpnt_kill img &&
	for i in 1 2 3 4 5; do
		restart -W "$SUBJECT_DIR/img" 3>&- || { echo "restart $i: $?"; false; } || break
		subject_complain_early && break
		subject_kill || break
		[ $i != 5 ] || done=1
	done; [ "$done" = 1 ]
'
test_expect_success 'and the sixth is right' 'restart -W "$SUBJECT_DIR/img" && subject_verify'
test_kill_all 2>/dev/null

chain_of_ten() { # SUBJECT
	local g
	subject_start "$1" || return 1
	for g in 1 2 3 4 5 6 7 8 9 10; do
		matrix_chkpnt_kill "g$g" && timeout 60 restart -W "$SUBJECT_DIR/g$g" 3>&- || {
			echo "generation $g"
			return 1
		}
	done
	subject_verify
}
for s in chain futex-200 pipe-pending mem-shared sessions; do
	test_expect_success "ten generations of $s" "chain_of_ten $s"
	test_kill_all 2>/dev/null
done
test_expect_success 'the generations do not grow' '
	subject_start chain && matrix_chkpnt_kill a && restart -W "$SUBJECT_DIR/a" && matrix_chkpnt_kill b &&
	restart -W "$SUBJECT_DIR/b" && matrix_chkpnt_kill c &&
	a=$(stat -c %s "$SUBJECT_DIR/a") && c=$(stat -c %s "$SUBJECT_DIR/c") && echo "$a $c" &&
	[ "$c" -le $((a + 65536)) ]
'
test_done
