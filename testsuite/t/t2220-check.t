#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A process that holds one descriptor of every kind not supported yet: each is named, nothing is written.
. "$(dirname "$0")/../lib/test-lib.sh"

# The subject's list: FD=TEXT, TEXT being what must be said of FD.
every_kind_is_named() {
	local fd text bad=0
	while IFS='=' read -r fd text; do
		grep -F " fd $fd: " report | grep -qF -- "$text" && continue
		echo "fd $fd: nothing about '$text': $(grep -F " fd $fd: " report)"
		bad=1
	done <"$SUBJECT_DIR/kinds"
	return $bad
}

test_expect_success 'the subject holds at least ten kinds' '
	subject_start every-unsupported &&
	[ "$(wc -l <"$SUBJECT_DIR/kinds")" -ge 10 ]
'
test_expect_success 'stasis check names every one of them' '
	test_expect_status 3 stasis check "$SUBJECT_PID" >report 2>&1 &&
	every_kind_is_named
'
test_expect_success 'chkpnt refuses the process and writes nothing' '
	mkdir empty &&
	test_expect_status 3 chkpnt -d empty "$SUBJECT_PID" 2>err &&
	[ "$(wc -l <err)" = 1 ] &&
	[ -z "$(ls -A empty)" ]
'
test_expect_success 'chkpnt -F saves it and warns of each' '
	chkpnt -F -d empty -f forced "$SUBJECT_PID" 2>report &&
	every_kind_is_named &&
	stasis verify empty/forced
'
test_expect_success 'the process still runs' '
	kill -0 "$SUBJECT_PID" && ! grep -q "^State:.*[tT] " "/proc/$SUBJECT_PID/status"
'
test_done
