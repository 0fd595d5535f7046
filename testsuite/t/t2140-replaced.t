#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files replaced under a running program, as a package upgrade does it.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

! test_is_root || matrix replaced
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"
matrix replaced

test_done
