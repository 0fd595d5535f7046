#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory of hugetlbfs. The pool is enlarged for the test, and given back.
TEST_LIMIT=180
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

pool=/proc/sys/vm/nr_hugepages
nr_pages=12

test_is_root || test_skip_all "needs root"
[ -w $pool ] || test_skip_all "no huge pages here"
before=$(cat $pool)
give_back() {
	echo "$before" >$pool
}
trap 'status=$?; give_back; (exit $status); test_at_exit' EXIT
echo $((before + nr_pages)) >$pool
[ "$(cat $pool)" = $((before + nr_pages)) ] || test_skip_all "no memory for huge pages"

matrix hugetlb

test_expect_success 'without huge pages a restart is refused by name' '
	subject_start hugetlb && matrix_chkpnt_kill img && give_back &&
	test_expect_status 3 restart "$SUBJECT_DIR/img" 2>err &&
	grep "huge pages of 2 MiB.*nr_hugepages" err
'
test_expect_success 'and goes well when there are some' '
	echo $((before + nr_pages)) >$pool &&
	restart -W "$SUBJECT_DIR/img" && subject_verify
'
test_done
