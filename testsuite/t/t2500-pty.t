#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pseudo-terminals with both sides in the tree.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/own-devpts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix pty-pair
matrix pty-session

test_done
