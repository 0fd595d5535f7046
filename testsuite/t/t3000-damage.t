#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A damaged image: one clear error, exit status 5, no process.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

[ -z "$(test_missing_programs python3)" ] || test_skip_all "needs python3"

test_expect_success 'set-up: an image' '
	subject_start pipe-pending && matrix_chkpnt_kill img && mkdir bad &&
	for f in "$SUBJECT_DIR"/img*; do cp "$f" bad/; done &&
	img=$SUBJECT_DIR/img && stasis verify "$img" &&
	test_expect_status 5 stasis verify "$SUBJECT_DIR/stdout" 2>err; cat err; true
'

# All variants of one damage, judged by `stasis verify`; a few also by restart.
judge() { # KIND
	python3 "$top_srcdir/testsuite/lib/damage.py" "$1" "$img" bad/img -- stasis verify bad/img
}
for kind in flip truncate counts magic; do
	test_expect_success "stasis verify refuses: $kind" "judge $kind"
done
test_expect_success 'restart refuses too, and leaves no process' '
	rm "$SUBJECT_DIR/status" &&
	python3 "$top_srcdir/testsuite/lib/damage.py" few "$img" bad/img -- restart -W bad/img &&
	[ -z "$(subject_pids)" ]
'
test_expect_success 'a file of another program is refused' '
	test_expect_status 5 restart "$top_srcdir/COPYING" 2>err; s=$?; cat err; [ $s = 0 ] &&
	cp /bin/ls ls && test_expect_status 5 restart ls 2>err
'
test_expect_success 'an empty file is refused' ': >none && test_expect_status 5 restart none'
test_expect_success 'a folder is refused' 'test_expect_status 5 restart . 2>err && [ -s err ]'
test_expect_success 'a missing member of the tree is refused before anything starts' '
	member=$(ls "$SUBJECT_DIR"/img?* | head -1) && mv "$member" away &&
	! restart -W "$img" 2>err; s=$?; mv away "$member"; cat err;
	[ $s = 0 ] && [ -s err ] && [ -z "$(subject_pids)" ]
'
test_expect_success 'the undamaged image still restarts' '
	restart -W "$img" && subject_verify
'
test_done
