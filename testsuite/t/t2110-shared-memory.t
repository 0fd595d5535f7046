#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory that several processes share.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix mem-shared
matrix memfd
matrix cow
matrix_as_on_old_kernel mem-shared
matrix_as_on_old_kernel cow

test_done
