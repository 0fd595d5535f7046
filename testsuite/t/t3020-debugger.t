#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A debugger understands an image: threads, stacks, variables.
TEST_LIMIT=180
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

[ -z "$(test_missing_programs gdb)" ] || test_skip_all "needs gdb"

ask_gdb() { # PROGRAM IMAGE
	HOME=$test_scratch gdb -batch -nx -ex 'set pagination off' -ex 'info threads' \
		-ex 'thread apply all bt' -ex 'print counter' "$1" "$2" >gdb.out 2>gdb.err
	cat gdb.err
	tail -n 30 gdb.out
}

test_expect_success 'one thread: its function and its counter' '
	subject_start chain && matrix_chkpnt_kill img &&
	ask_gdb "$test_subjects/chain" "$SUBJECT_DIR/img" &&
	grep -q "main ()" gdb.out &&
	value=$(sed -n "s/^\$1 = //p" gdb.out) && [ "$value" -ge 4711 ]
'
test_expect_success '201 threads, each with its stack' '
	subject_start futex-200 && matrix_chkpnt_kill img &&
	ask_gdb "$test_subjects/futex-200" "$SUBJECT_DIR/img" &&
	[ "$(grep -c "^Thread [0-9]" gdb.out)" = 201 ] &&
	[ "$(grep -c " in run (" gdb.out)" -ge 190 ] && grep -q "main ()" gdb.out
'
test_expect_success 'a static program' '
	subject_start static && matrix_chkpnt_kill img &&
	ask_gdb "$test_subjects/static" "$SUBJECT_DIR/img" && grep -q "main" gdb.out
'
[ -z "$(test_missing_programs file)" ] && test_expect_success 'file(1) calls it a core file' '
	file "$SUBJECT_DIR/img" | tee out && grep -q "core file" out
'
test_expect_success 'readelf reads all of it without a complaint' '
	readelf -hln "$SUBJECT_DIR/img" >out 2>err && cat err && [ ! -s err ] && grep -q NT_PRSTATUS out
'
test_done
