#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Signals and timers.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix sigstate
matrix itimers
matrix posix-timers
matrix_as_on_old_kernel posix-timers

test_done
