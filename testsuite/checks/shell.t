#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shell scripts: bash parses all of them, shellcheck finds no error in them.
. "$(dirname "$0")/../lib/test-lib.sh"

scripts() {
	(cd "$top_srcdir" && ls autogen.sh quickstart run-tests .ci/run && find testsuite -name '*.sh' -o -name '*.t')
}

test_expect_success 'every script parses' '
	for f in $(scripts); do bash -n "$top_srcdir/$f" || bad=1; done; [ -z "$bad" ]
'
test_expect_success 'every test is in a Makefile fragment' '
	for t in $(cd "$top_srcdir" && find testsuite -name "*.t"); do
		cat "$top_srcdir"/testsuite/files.am "$top_srcdir"/testsuite/*/files.am | grep -qF "$t" || {
			echo "$t is not run"
			lost=1
		}
	done; [ -z "$lost" ]
'
if [ -z "$(test_missing_programs shellcheck)" ]; then
	test_expect_success 'shellcheck sees no error' '
		cd "$top_srcdir" && shellcheck -S error -s bash $(scripts)
	'
	cd "$test_scratch" || exit
else
	test_skip 'shellcheck sees no error' 'no shellcheck'
fi
test_done
