#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Forged images: records changed, checksums mended. A restart must not crash, hang or leave a process,
# whatever they say.
TEST_LIMIT=600
. "$(dirname "$0")/../lib/own-devpts.sh"
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

/usr/bin/python3 -c 'import xxhash' 2>/dev/null || test_skip_all "needs the package python3-xxhash"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"
count=${FORGE_COUNT:-40}
seed=${FORGE_SEED:-$((RANDOM * 32768 + RANDOM))}

forged() { # SUBJECT
	local status=0 img k=0 share
	echo "# FORGE_SEED=$seed" >&3
	subject_start "$@" && matrix_chkpnt_kill img && cp -a "$SUBJECT_DIR" forged || return
	share=$((count / $(ls forged/img* | wc -l) + 1))
	for img in forged/img*; do
		k=$((k + 1))
		# in a process group of its own: a forged one could be anybody's
		"${as_user[@]}" setsid -w /usr/bin/python3 "$top_srcdir/testsuite/lib/forge.py" $share \
			$((seed + k)) "$SUBJECT_DIR/${img#*/}" "$img" -- restart -q -K KILL forged/img </dev/null || status=1
		cp -a "$SUBJECT_DIR/${img#*/}" "$img"
	done
	rm -rf forged
	[ "$status" = 0 ] && wait_for '[ -z "$(subject_pids)" ]'
}

for subject in mem-anon mem-shared threads files pipe-pending unix-pairs epoll pty-session posix-timers sigstate \
	sessions task-extras udp aio user-namespaces; do
	test_expect_success "forged records of $subject" "forged $subject"
	test_kill_all 2>/dev/null
done

test_done
