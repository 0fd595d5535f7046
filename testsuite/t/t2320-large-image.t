#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An image larger than 4 GiB: offsets and lengths that 32 bits do not hold. Once only, since it is as much to
# write, to read and to keep in memory.
TEST_LIMIT=900
. "$(dirname "$0")/../lib/test-lib.sh"

subject_ready_seconds=300
mib=4224
need_kb=$((mib * 1024 + (2 << 20))) # and room for others to go on

memory_kb=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
[ "$memory_kb" -ge "$need_kb" ] || test_skip_all "$((memory_kb >> 10)) MiB of memory are available, $((need_kb >> 10)) needed"
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null)
case $limit in
"" | max) ;;
*) [ $((limit >> 10)) -ge "$need_kb" ] || test_skip_all "memory is limited to $((limit >> 20)) MiB, $((need_kb >> 10)) needed" ;;
esac
disk_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$disk_kb" -ge "$need_kb" ] || test_skip_all "$((disk_kb >> 10)) MiB are free in $PWD, $((need_kb >> 10)) needed"
[ "$(stat -f -c %T .)" != tmpfs ] || test_skip_all "$PWD is in memory"

restart_large() {
	local restart_pid status
	timeout -k 5 400 restart "$SUBJECT_DIR/img" </dev/null 3>&- &
	restart_pid=$!
	subject_verify 400 || return 1
	wait "$restart_pid"
	status=$?
	[ "$status" = 0 ] || { echo "restart ended with status $status"; return 1; }
}

test_expect_success 'a process of more than 4 GiB is saved' '
	subject_start large $mib &&
	timeout -k 5 400 chkpnt -K KILL -f "$SUBJECT_DIR/img" "$(subject_root_pid)" </dev/null &&
	wait_for "[ -z \"\$(subject_pids)\" ]" 60 && subject_pid_is_free &&
	[ "$(stat -c %s "$SUBJECT_DIR/img")" -gt $((4 << 30)) ]
'
test_expect_success 'the image is found whole' '
	timeout -k 5 400 stasis verify "$SUBJECT_DIR/img"
'
test_expect_success 'it restarts with each page as it was' restart_large
test_done
