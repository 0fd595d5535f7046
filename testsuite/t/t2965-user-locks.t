#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An ordinary user's processes: file locks and leases.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"

matrix flock
matrix posix-locks
matrix ofd-locks
matrix lease

test_done
