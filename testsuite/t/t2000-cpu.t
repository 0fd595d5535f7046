#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Registers and threads.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix registers
matrix threads
matrix futex-200
matrix rseq
matrix static

test_done
