#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files and directories.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix files
matrix deleted-file
matrix directory-pos

test_done
