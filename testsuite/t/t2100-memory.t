#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory of one process.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix mem-anon
matrix mem-file
matrix mem-deleted
matrix_as_on_old_kernel mem-anon
matrix_as_on_old_kernel mem-file
matrix mem-state
matrix numa
matrix pkeys
matrix mem-mlockall
matrix mem-mlockall onfault

test_done
