#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every source says first whose licence it has: the library LGPL, commands and tests GPL.
. "$(dirname "$0")/../lib/test-lib.sh"

sources() {
	(cd "$top_srcdir" && find src include testsuite -type f \( -name '*.[chS]' -o -name '*.proto' \
		-o -name '*.lds' -o -name '*.ld' -o -name '*.sh' -o -name '*.t' -o -name '*.py' \
		-o -name '*.am' \) ! -name '*.pb-c.*')
}

wrong() {
	local f want line
	while read -r f; do
		case $f in
		*.am) want='(L?GPL-2\.[01]-or-later)' ;;
		src/lib/* | src/engine/* | src/wire/* | src/api/* | include/*) want='LGPL-2\.1-or-later' ;;
		*) want='GPL-2\.0-or-later' ;;
		esac
		line=$(head -n 1 "$top_srcdir/$f")
		case $line in '#!'*) line=$(sed -n 2p "$top_srcdir/$f") ;; esac
		printf '%s\n' "$line" | grep -qE "SPDX-License-Identifier: $want( \*/)?$" ||
			echo "$f: $line"
	done
}

test_expect_success 'there are sources' '[ "$(sources | wc -l)" -gt 40 ]'
test_expect_success 'each begins with the right SPDX line' 'sources | wrong >bad; cat bad; [ ! -s bad ]'
test_expect_success 'the licences are there' '
	grep -q "GNU GENERAL PUBLIC LICENSE" "$top_srcdir/COPYING" &&
	grep -q "GNU LESSER GENERAL PUBLIC LICENSE" "$top_srcdir/COPYING.LIB"
'
test_done
