#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# xz with two threads: random-like data, text, zeros.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs xz gzip seq)" ] || test_skip_all "needs xz and gzip"

real_setup() {
	{
		seq 1 3000000 | gzip -n -1
		seq 7 13 12000000
		head -c 5000000 /dev/zero
		cat "$top_srcdir"/src/engine/*/*.c
	} >data
}
real_command=(xz -T2 --block-size=1MiB -6 -c "$real_input/data")
# shellcheck disable=SC2317 # is called
real_finish() {
	xz -dc stdout | cmp - "$real_input/data"
}

real_program 'xz -T2'
test_done
