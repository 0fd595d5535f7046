#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Internet sockets of an ordinary user.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces here"

matrix tcp-listen
matrix udp

# What an ordinary user may not keep
test_expect_success 'TCP connections: said at the checkpoint, reset or at their end after the restart' '
	subject_start tcp-pairs lose &&
	matrix_chkpnt_kill img >err 2>&1 && grep "will be reset at the restart: keeping it takes CAP_NET_ADMIN" err &&
	"${as_user[@]}" timeout 60 restart -W "$SUBJECT_DIR/img" </dev/null >out 2>&1 3>&- && subject_verify
'
test_kill_all 2>/dev/null
test_expect_success 'a checkpoint by root, a restart by the user: two ends of the hierarchy are connected again' '
	subject_start tcp-pairs modest && chkpnt -r -K KILL -f "$SUBJECT_DIR/img" "$SUBJECT_PID" && subject_pid_is_free &&
	chown "$test_uid" "$SUBJECT_DIR"/img* &&
	"${as_user[@]}" timeout 60 restart -W "$SUBJECT_DIR/img" </dev/null >out 2>&1 3>&- && cat out && ! grep ECONNRESET out && subject_verify
'
test_kill_all 2>/dev/null

test_done
