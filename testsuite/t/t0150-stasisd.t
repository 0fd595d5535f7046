#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# stasisd: its configuration, without a cluster.
. "$(dirname "$0")/../lib/test-lib.sh"

[ -x "$top_builddir/stasisd" ] || test_skip_all 'built without Slurm'

# refused TEXT-OF-FILE MESSAGE
refused() {
	printf %b "$1" >c.yaml
	test_expect_status 2 stasisd -t -c c.yaml 2>err && grep -qF -- "$2" err && return
	cat c.yaml err
	return 1
}

test_expect_success 'the example is as good as nothing, and that is good' '
	stasisd -t -c "$top_srcdir/etc/stasis.yaml" && : >empty && stasisd -t -c empty && sed "s/^#\([a-z]\)/\1/" "$top_srcdir/etc/stasis.yaml" >all && stasisd -t -c all
'
test_expect_success 'every key of the example is known, and has its place in the manual page' '
	sed -n "s/^\([a-z-]*\):.*/\1/p" all >keys && [ "$(wc -l <keys)" = 22 ] && for k in $(cat keys); do
		grep -q "^\.B $(sed "s/-/.-/g" <<<"$k")" "$top_srcdir/doc/man/stasis.yaml.5" || break
	done && [ "$k" = policies ]
'
test_expect_success 'mistakes are named with their line' '
	refused "port: 6821\nprot: 1\n" "line 2: unknown key '"'prot'"'" && refused "port: 70000" "port: '"'70000'"' is not a number from 0 to 65535" &&
	refused "checkpoint-on: soon" "checkpoint-on: '"'soon'"' is not '"'none'"' or a list" && refused "checkpoint-on-allowed: none,limit" "list of" &&
	refused "max-keep: 0" "max-keep:" && refused "restarts: 0" "restarts:" && refused "watch: 0" "watch:" && refused "limit-margin: 1m" "limit-margin:" && refused "keep: 0" "keep:" && refused "keep: -1" "keep:" && refused "keep: two" "keep:" && refused "run: somewhere" "not an absolute path" &&
	refused "keep: [1, 2]" "line 1:" && refused "a: {b: c}" "single value" && refused "{" "line" && refused "- a" "line 1:" && refused "port: *x" "line"
'
test_expect_success 'policies: what fits, and mistakes in them' '
	sed "s/^#policies:/policies:/; /^policies:/,\$s/^#//" "$top_srcdir/etc/stasis.yaml" >policies && grep -q "^  - partition: long" policies && stasisd -t -c policies &&
	refused "policies: all" "line 1: policies: a list" && refused "policies:\n- all" "line 2: '"'key: value'"'" && refused "keep: 3\npolicies:\n  - keep: 4\n  - keep: 0\n" "line 4: keep:" &&
	refused "policies:\n  - partition: a\n    port: 3\n" "line 3: port: is one for all jobs, no part of a policy" && refused "policies:\n  - partion: a\n" "line 2: unknown key" &&
	refused "policies:\n  - qos: [a, b]\n" "line 2: qos: a single value" && refused "policies:\n  - interval: 1h\n" "interval:" && refused "spread: 101" "spread:" && refused "clean-after: ever" "clean-after:"
'
test_expect_success 'a value that is too long' '
	refused "node: $(printf "%0300d" 0)" "node: more than 255 bytes"
'
test_expect_success 'a file that is not there, when it was named' '
	test_expect_status 1 stasisd -t -c nowhere 2>err && grep -q "nowhere.: No such file" err
'
test_expect_success 'arguments are refused' 'test_expect_status 2 stasisd something 2>err'
if ! test_is_root || [ -x "$(command -v setpriv)" ]; then
	test_expect_success 'an ordinary user cannot start it' '
		test_become_user && cp "$top_builddir/stasisd" bin/ && test_expect_status 4 "${as_user[@]}" bin/stasisd -c "$PWD/empty" 2>err
	'
fi
test_done
