#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many descriptors.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix many-fds

test_done
