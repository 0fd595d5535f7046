#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# UDP and UDP-Lite.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix udp
matrix udp lite

test_done
