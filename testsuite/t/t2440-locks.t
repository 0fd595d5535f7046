#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# File locks: flock, POSIX and OFD record locks, leases; who waits for one goes on waiting.
TEST_LIMIT=400
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix flock
matrix posix-locks
matrix ofd-locks
matrix lease

test_done
