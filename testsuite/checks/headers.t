#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Public headers compile alone, as C11 and as C++; and the library exports what they declare.
. "$(dirname "$0")/../lib/test-lib.sh"

[ -z "$(test_missing_programs cc)" ] || test_skip_all "needs a C compiler"

headers=$(cd "$top_srcdir/include" && find . -name '*.h' | sed 's,^\./,,' | sort)
for h in $headers; do
	test_expect_success "<$h> alone in C" '
		printf "#include <%s>\n#include <%s>\nint main(void) { return 0; }\n" $h $h >a.c &&
		cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -I"$top_srcdir/include" -fsyntax-only a.c
	'
	if [ -n "$(test_missing_programs c++)" ]; then
		test_skip "<$h> alone in C++" "no C++ compiler"
		continue
	fi
	test_expect_success "<$h> alone in C++" '
		cp a.c a.cc && c++ -Wall -Wextra -Werror -I"$top_srcdir/include" -fsyntax-only a.cc
	'
done
lib=$top_builddir/.libs/libstasis.so
if [ -e "$lib" ]; then
	test_expect_success 'the library exports the public functions and nothing else' '
		cat "$top_srcdir"/include/stasis/*.h | tr "\n" " " | sed "s,/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/,,g" |
			grep -oE "\bstasis_[a-z_]+\(" | tr -d "(" | sort -u >declared &&
		nm -D --defined-only "$lib" | sed "s/@.*//" | awk "\$2 != \"A\" { print \$3 }" | sort -u >exported &&
		diff declared exported
	'
else
	test_skip 'the library exports the public functions and nothing else' 'no shared library here'
fi
test_done
