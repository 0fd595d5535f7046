#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Blocking system calls, one thread in each.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix syscalls

test_done
