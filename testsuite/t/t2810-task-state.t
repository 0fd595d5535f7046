#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a process or thread has beside memory and descriptors, in its rarer states.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix dead-leader
matrix task-extras
matrix sigwait

test_done
