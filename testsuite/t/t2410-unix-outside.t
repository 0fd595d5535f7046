#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Unix sockets whose other end is outside of the tree, gone, or not free at the restart.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

# Something outside: outside ROLE ARGUMENT..., sets OUTSIDE_PID; what it says is in the file "outside".
outside() {
	: >outside
	"$test_subjects/unix-outside" "$@" </dev/null >>outside 2>outside.err 3>&- &
	OUTSIDE_PID=$!
	wait_for 'grep -q ready outside' 10
}
outside_ends() {
	kill -KILL "$OUTSIDE_PID" 2>/dev/null
	wait "$OUTSIDE_PID" 2>/dev/null
	rm -f "$test_scratch/server"
}
next() {
	outside_ends
	test_kill_all 2>/dev/null
}

server=$test_scratch/server

for type in stream seqpacket; do
	test_expect_success "$type: a server outside is named with its process" '
		outside serve '$type' "$server" && subject_start unix-outside client '$type' "$server" same &&
		test_expect_status 3 chkpnt -n "$SUBJECT_PID" 2>err && cat err &&
		grep -qF "connected with $server of unix-outside($OUTSIDE_PID), outside of selected" err &&
		grep -qF -- "--external=unix" err &&
		chkpnt --external=unix -f "$SUBJECT_DIR/img" "$SUBJECT_PID" && subject_verify
	'
	next
	test_expect_success "$type: with --external=unix it is connected again" '
		outside serve '$type' "$server" && subject_start unix-outside client '$type' "$server" anew &&
		matrix_chkpnt img --external=unix -K KILL && subject_pid_is_free &&
		restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify
	'
	next
	test_expect_success "$type: without the server it is refused, and with -F the server is gone" '
		outside serve '$type' "$server" && subject_start unix-outside client '$type' "$server" gone &&
		matrix_chkpnt img --external=unix -K KILL && subject_pid_is_free && outside_ends
		test_expect_status 3 restart -W "$SUBJECT_DIR/img" >out 2>err 3>&- && cat err &&
		grep -qF "nobody listens at " err && subject_pid_is_free &&
		restart -F -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify
	'
	next
	test_expect_success "$type: a checkpoint with -F makes the server gone" '
		outside serve '$type' "$server" && subject_start unix-outside client '$type' "$server" gone &&
		matrix_chkpnt img -F -K KILL && subject_pid_is_free &&
		restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify
	'
	next
done

test_expect_success 'dgram: a server outside is refused, and with --external=unix connected again' '
	outside serve dgram "$server" && subject_start unix-outside client dgram "$server" same &&
	test_expect_status 3 chkpnt -n "$SUBJECT_PID" 2>err && cat err &&
	matrix_chkpnt img --external=unix -K KILL && subject_pid_is_free &&
	restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify && wait_for "grep -q after outside"
'
next
test_expect_success 'dgram: without the server it restarts with a warning' '
	outside serve dgram "$server" && subject_start unix-outside client dgram "$server" gone &&
	matrix_chkpnt img --external=unix -K KILL && subject_pid_is_free && outside_ends
	restart -W "$SUBJECT_DIR/img" >out 2>err 3>&- && grep -q "nobody listens" err && subject_verify
'
next
if test_is_root && ! [ -e /dev/log ]; then
	test_expect_success 'the system log is connected again without an option' '
		outside serve dgram /dev/log && subject_start unix-outside client dgram /dev/log same &&
		matrix_chkpnt img -K KILL && subject_pid_is_free &&
		restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify &&
		wait_for "grep -q after outside"
	'
	rm -f /dev/log
	next
fi

accepting() { # EXPECTED
	local dir=$test_scratch/accepting
	mkdir "$dir" && chmod 755 "$dir" || return 1
	{
		wait_for '[ -S "$test_scratch/accepting/s" ]' 10 && outside visit "$dir/s"
	} &
	subject_start unix-outside accept "$dir/s" "$1"
}
test_expect_success 'a client outside is refused, and with --external=unix gone' '
	accepting gone &&
	test_expect_status 3 chkpnt -n "$SUBJECT_PID" 2>err && cat err &&
	grep -qF "accepting/s of unix-outside(" err &&
	matrix_chkpnt img --external=unix -K KILL && subject_pid_is_free &&
	restart -W "$SUBJECT_DIR/img" >out 3>&- && subject_verify
'
next
rm -rf "$test_scratch/accepting"

# ---- names that are not free

test_expect_success 'a path in use by somebody else is refused, and the other one not disturbed' '
	subject_start unix-outside bind "$server" && matrix_chkpnt_kill img && rm "$server" &&
	outside serve stream "$server" &&
	test_expect_status 1 restart -W "$SUBJECT_DIR/img" 2>err 3>&- && cat err &&
	grep -qF "server'"'"' is in use by another process" err && kill -0 "$OUTSIDE_PID" &&
	mv "$SUBJECT_DIR" first && subject_start unix-outside client stream "$server" same && subject_verify
'
next
test_expect_success 'a path that is another file now is refused, and the file kept' '
	subject_start unix-outside bind "$server" && matrix_chkpnt_kill img && rm "$server" &&
	echo mine >"$server" &&
	test_expect_status 1 restart -W "$SUBJECT_DIR/img" 2>err 3>&- && cat err &&
	grep -qF "is another file now" err && [ "$(cat "$server")" = mine ]
'
rm -f "$server"
next
test_expect_success 'an abstract name in use is refused' '
	subject_start unix-outside bind "@stasis-$$" && matrix_chkpnt_kill img &&
	outside serve stream "@stasis-$$" &&
	test_expect_status 1 restart -W "$SUBJECT_DIR/img" 2>err 3>&- && cat err &&
	grep -qF "@stasis-$$ of a Unix socket is in use" err
'
next
test_expect_success 'a stale socket file is replaced, with its mode' '
	subject_start unix-outside bind "$server" && chmod 0602 "$server" && matrix_chkpnt_kill img &&
	restart -W "$SUBJECT_DIR/img" >out 3>&- && [ "$(stat -c %a "$server")" = 602 ] && subject_verify
'
next
test_expect_success 'a restart that fails leaves no socket file behind' '
	subject_start unix-outside bind "$server" && matrix_chkpnt_kill img && rm "$server" &&
	if STASIS_FAULT=fail:restore.opened restart -W "$SUBJECT_DIR/img" 2>err 3>&-; then
		echo "built without --enable-fault-points"
	else
		! [ -e "$server" ]
	fi
'
next
test_done
