#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What belongs to a process as a whole.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix procstate
matrix brk

test_done
