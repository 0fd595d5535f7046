#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Futexes in shared memory with waiters: robust, with priority inheritance, requeued.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix futex-shared

test_done
