#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Unix domain sockets.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix unix-pairs
matrix unix-named
matrix unix-dgram

# Abstract names belong to a network namespace.
if test_is_root && unshare -n true 2>/dev/null; then
	subject_wrap="unshare -n"
	matrix unix-named
	subject_wrap=
fi

# A look into a queue needs an offset that belongs to the program: see unix_guard.c.
looks_and_dies() { # HOW STATUS
	subject_start unix-pairs &&
	test_expect_status "$2" env STASIS_FAULT="$1:dump.peeking" chkpnt -r -f "$SUBJECT_DIR/img" "$SUBJECT_PID" &&
	subject_verify
}
if subject_start unix-pairs && STASIS_FAULT=fail:dump.peeking chkpnt -r -n "$SUBJECT_PID" 2>/dev/null; then
	test_skip "a checkpoint killed in the middle of a queue leaves it as it was" "no fault points"
else
	test_kill_all 2>/dev/null
	test_expect_success "a checkpoint killed in the middle of a queue leaves it as it was" "looks_and_dies kill 137"
	test_kill_all 2>/dev/null
	test_expect_success "a checkpoint that fails in the middle of a queue leaves it as it was" "looks_and_dies fail 1"
fi
test_kill_all 2>/dev/null

test_done
