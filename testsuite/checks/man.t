#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each long option is in --help and in the manual page, and the other way round; pages are whole.
. "$(dirname "$0")/../lib/test-lib.sh"

long_options() {
	grep -oE '(^|[^A-Za-z0-9-])--[a-z][a-z0-9-]+' | grep -oE -- '--[a-z][a-z0-9-]+' | sort -u
}

commands='chkpnt restart stasis'
[ ! -x "$top_builddir/stasisd" ] || commands="$commands scheckpoint stasisd"
for c in $commands; do
	test_expect_success "$c --help is on stdout, status 0" '
		$c --help >$c.help 2>err && [ ! -s err ] && [ -s $c.help ] && grep -q -- --version $c.help
	'
	test_expect_success "$c --version names the version" '$c --version >out && grep -qE "[0-9]+\.[0-9]+" out'
	test_expect_success "$c: an unknown option is status 2" 'test_expect_status 2 $c --no-such-option 2>err && [ -s err ]'
	page=$(echo "$top_srcdir/doc/man/$c".[18])
	test_expect_success "${page##*/} exists and has its sections" '
		for s in NAME SYNOPSIS DESCRIPTION "EXIT STATUS" "SEE ALSO"; do
			grep -qE "^\.S[Hh] \"?$s\"?" "$page" || { echo "no $s"; missing=1; }
		done; [ -z "$missing" ]
	'
	test_expect_success "long options of $c: --help and page agree" '
		long_options <$c.help >help.options && [ -s help.options ] && sed "s/\\\\-/-/g" "$page" | long_options >page.options &&
		comm -23 help.options page.options >lost; sed "s/^/not in the page: /" lost; [ ! -s lost ]
	'
done
if [ -z "$(test_missing_programs man)" ]; then
	test_expect_success 'pages have no formatting errors' '
		for p in "$top_srcdir"/doc/man/*.[1-8]; do
			head -n 1 "$p" | grep -q "^\.so " && continue
			LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$p" 2>&1 >/dev/null
		done | tee err; [ ! -s err ]
	'
fi
test_done
