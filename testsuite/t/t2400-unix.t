#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Unix domain sockets.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix unix-pairs
matrix unix-named
matrix unix-dgram

test_done
