#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pipes, FIFOs, eventfds.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix pipe-pending
matrix fifo
matrix eventfd

test_done
