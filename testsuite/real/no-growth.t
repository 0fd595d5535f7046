#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A program that was checkpointed a thousand times while it was running holds the descriptors, mappings
# and memory of one that never was.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"

nr_checkpoints=${NO_GROWTH_CHECKPOINTS:-1000}
# The places where the kernel counts pages of a process are brought together now and then only, and
# code that ran inside leaves a page of the stack or of the program its own: a few pages, once.
slack_kb=128

# What each process of the subject holds, by the names of /proc/PID/status, in kB or in pieces.
holdings() {
	local p
	for p in $(subject_pids); do
		awk '/^(VmSize|VmLck|VmData|VmStk|VmExe|VmLib|VmPTE|VmSwap|RssAnon|RssShmem|Threads|FDSize):/ {
			print $1, $2 }' "/proc/$p/status"
		echo "maps: $(wc -l <"/proc/$p/maps")"
		echo "fds: $(find "/proc/$p/fd" -mindepth 1 | wc -l)"
		echo "timers: $(grep -c '^ID' "/proc/$p/timers")"
	done
}

# Memory in use may differ by the slack, everything else not at all.
is_no_growth() {
	paste -d' ' "$1" "$2" | awk -v slack="$slack_kb" '
		{ allowed = $1 == "RssAnon:" ? slack : $1 == "VmPTE:" ? 16 : 0 }
		$1 != $3 || $4 - $2 > allowed { print "was " $1 " " $2 ", is " $3 " " $4; bad = 1 }
		END { exit bad || NR < 20 }'
}

checkpoint_often() {
	local i
	mkdir -p images
	for ((i = 0; i < nr_checkpoints; i++)); do
		chkpnt -r -f "images/$((i % 10))" "$SUBJECT_PID" </dev/null || return 1
		((i % 10 < 9)) || rm -rf images/*
	done
}

test_expect_success 'a program with threads, pipes, a timer and a child works' '
	subject_start steady && holdings >before
'
test_expect_success "it is checkpointed $nr_checkpoints times while it runs" '
	checkpoint_often && subject_is_clean && holdings >after
'
test_expect_success 'it holds what it held before the first' '
	is_no_growth before after
'
test_expect_success 'and it has not noticed' '
	subject_verify 30
'
test_expect_success 'one that was never checkpointed holds as much' '
	subject_start steady && holdings >never && is_no_growth never after && subject_verify 30
'
test_done
