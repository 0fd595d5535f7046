#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# restart decides before it changes anything: what is missing or in the way.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_expect_success 'a busy pid: retried for ten seconds, then refused, the running one undisturbed' '
	subject_start chain && matrix_chkpnt img &&
	begin=$SECONDS && test_expect_status 1 restart -W "$SUBJECT_DIR/img" 2>err; s=$?; cat err;
	[ $s = 0 ] && [ $((SECONDS - begin)) -ge 8 ] && [ $((SECONDS - begin)) -le 20 ] &&
	grep -q "$SUBJECT_PID" err && subject_is_clean
'
test_expect_success 'a pid that becomes free in time is taken' '
	(sleep 2.5; kill -KILL $SUBJECT_PID) & timeout 30 restart -W "$SUBJECT_DIR/img" && subject_verify
'
test_kill_all 2>/dev/null
test_expect_success 'a file that is gone: refused by name, no process, nothing changed' '
	subject_start files && matrix_chkpnt_kill img && mv "$SUBJECT_DIR/append" kept &&
	! restart -W "$SUBJECT_DIR/img" 2>err; s=$?; cat err; mv kept "$SUBJECT_DIR/append";
	[ $s = 0 ] && grep -q append err && [ -z "$(subject_pids)" ]
'
test_expect_success 'a changed file: a warning, and it goes on' '
	touch "$SUBJECT_DIR/other" && restart -W "$SUBJECT_DIR/img" 2>err; s=$?; cat err;
	[ $s = 0 ] && grep -q other err && subject_verify
'
test_kill_all 2>/dev/null
test_expect_success 'a missing image' 'test_expect_status 1 restart no-such-image 2>err && grep -q no-such-image err'
test_expect_success 'no image named' 'test_expect_status 2 restart 2>err && [ -s err ]'
test_expect_success 'the current folder is gone: told, not guessed' '
	subject_start procstate && matrix_chkpnt_kill img && rmdir "$SUBJECT_DIR/a folder" &&
	{ restart -W "$SUBJECT_DIR/img" 2>err; s=$?; cat err; [ -s err ]; }
'
test_kill_all 2>/dev/null
if test_is_root; then
	test_expect_success 'the image of another user is refused' '
		subject_start chain && matrix_chkpnt_kill img && chmod 755 "$SUBJECT_DIR" &&
		[ "$(stat -c %a "$SUBJECT_DIR/img")" = 600 ] && mkdir bin && cp "$(command -v restart)" bin/ &&
		test_expect_status 4 setpriv --reuid=$test_uid --regid=$test_uid --clear-groups -- \
			bin/restart -W "$SUBJECT_DIR/img" 2>err; s=$?; cat err; [ $s = 0 ] && [ -s err ]
	'
fi
test_done
