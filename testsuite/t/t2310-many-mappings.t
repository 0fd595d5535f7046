#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# More mappings than an ELF header counts (65,535).
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

max=/proc/sys/vm/max_map_count
before=$(cat $max)
if [ "$before" -lt 140000 ] && ! echo 262144 2>/dev/null >$max; then
	test_skip_all "vm.max_map_count is $before and may not be raised"
fi
matrix_seconds=60
matrix many-mappings 70000
[ "$before" = "$(cat $max)" ] || echo "$before" >$max
test_done
