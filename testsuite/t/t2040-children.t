#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Children: unreaped, stopped, sessions and groups with and without leader.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix zombie
matrix stopped
matrix sessions
matrix exit-signal

test_done
