#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TCP connections.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "keeping connections takes CAP_NET_ADMIN"

matrix tcp-pairs

probe() {
	subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null
}

survives() { # HOW:NAME STATUS
	subject_start tcp-pairs || return 1
	STASIS_FAULT=$1 test_expect_status "$2" chkpnt -r -K KILL -f "$SUBJECT_DIR/img" "$SUBJECT_PID" || return 1
	[ ! -e "$SUBJECT_DIR/img" ] && subject_verify
}

if probe; then
	test_kill_all 2>/dev/null
	# in repair mode the helper dies and the engine puts it right: not killed itself, it fails
	for fault in kill:dump.tcp-in-repair=1 fail:dump.tcp-captured=1 kill:dump.tcp-captured=137 \
		kill:dump.before-commit=137; do
		test_expect_success "connections outlive a checkpoint with ${fault%=*}" \
			"survives ${fault%=*} ${fault#*=}"
		test_kill_all 2>/dev/null
	done
fi

test_done
