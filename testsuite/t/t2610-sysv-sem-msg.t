#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# System V semaphores and message queues: that outlived the program, that did not, that others use.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

ids_of() {
	awk 'FNR > 1 { print $2 }' "/proc/sysvipc/$1" | sort
}

keyed() {
	printf '%d' $((0x53000000 | SUBJECT_PID)) >key
	awk -v key="$(cat key)" '$1 == key { print $2 }' "/proc/sysvipc/$1"
}

# Values, or the number of messages.
show() {
	ipcs $option -i "$(keyed $kind)" | grep -vE 'time|pid|^[[:space:]]*$' | awk 'NF == 5 && /^[0-9 ]+$/ { NF = 4 } { print }'
}

matrix sysv-sem
matrix sysv-msg

test_is_root || test_done
for kind in sem msg; do
	option=-s
	[ $kind = sem ] || option=-q
	test_expect_success "$kind: one that is gone is made again" '
		subject_start sysv-$kind && matrix_chkpnt_kill img && ipcrm $option "$(keyed $kind)" && restart_and_verify
	'
	test_expect_success "$kind: another one with its key is in the way" '
		ids_of $kind >first && subject_start sysv-$kind && matrix_chkpnt_kill img && ids_of $kind >second &&
		ipcrm $option "$(keyed $kind)" && "$test_subjects/sysv-touch" $kind "$(cat key)" && restart_refuses "another .* is where" &&
		restart_and_verify -F && ipcrm $option "$(keyed $kind)" && comm -13 first second |
			while read -r id; do ipcrm $option "$id" 2>/dev/null; done; [ -z "$(keyed $kind)" ]
	'
done
test_expect_success 'a set that a stranger uses, too, is not saved; what a process has done there is an obstacle' '
	subject_start sysv-sem &&
	{ "$test_subjects/sysv-touch" use "$(keyed sem)" >used & stranger=$!; wait_for "[ -s used ]"; } &&
	! matrix_chkpnt img 2>err && cat err && grep -q "SEM_UNDO, and processes outside" err &&
	kill $stranger && wait_for "! kill -0 $stranger 2>/dev/null" && matrix_chkpnt_kill img && restart_and_verify
'
if subject_start chain && ! STASIS_FAULT=fail:dump.planned chkpnt -f probe "$SUBJECT_PID" 2>/dev/null; then
	test_kill_all 2>/dev/null
	for kind in sem msg; do
		option=-s
		[ $kind = sem ] || option=-q
		test_expect_success "$kind: a failed restart leaves what outlived the program as it was" '
			subject_start sysv-$kind && matrix_chkpnt_kill img && show >before &&
			! STASIS_FAULT=fail:restore.stopped restart -W "$SUBJECT_DIR/img" &&
			show >after && cat after && diff before after && restart_and_verify
		'
	done
fi

# In a pid namespace of its own, whose last id counts the processes made since.
cat >count <<'EOF'
setsid sleep 1000 </dev/null >/dev/null 2>&1 & job=$!
until read -r comm </proc/$job/comm && [ "$comm" = sleep ]; do :; done
used() {
	read -r before </proc/sys/kernel/ns_last_pid && chkpnt -q -F -f img $job || exit
	read -r after </proc/sys/kernel/ns_last_pid && nr=$((after - before))
}
ipcmk -S 3 >/dev/null && used && without=$nr
for ((i = 0; i < 20; i++)); do ipcmk -S 3 >/dev/null || exit; done
used && echo "with one set $without processes, with 21 $nr"
[ "$nr" = "$without" ]
EOF
if unshare -pfmi --mount-proc test -e /proc/sys/kernel/ns_last_pid 2>/dev/null; then
	test_expect_success 'sets that are others'"'"' take no process each to look at' '
		unshare -pfmi --mount-proc bash "$test_scratch/count"
	'
fi

test_done
