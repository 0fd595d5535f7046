#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which folder may include which: the table of doc/architecture.md, enforced on #include lines.
. "$(dirname "$0")/../lib/test-lib.sh"

# folder: what its files may include with quotes, as prefixes of "src/"-relative or module names.
# lib/ also stands for the public headers; a folder may always include itself.
cat >table <<'END'
lib
engine			lib arch
engine/image		lib
engine/arch		lib
engine/inject		lib arch parasite tree session.h
engine/tree		lib arch inject session.h
engine/parasite		parasite arch
engine/restorer		parasite arch restorer memory/vma_flags.h
engine/ipc		lib arch image inject ns tree session.h
engine/memory		lib arch image inject ipc tree parasite session.h
engine/ns		lib image tree session.h
engine/resource		lib image inject tree session.h
engine/dump		lib arch image inject ipc memory ns parasite resource tree session.h stasis
engine/restore		lib arch image inject ipc memory ns parasite resource restorer tree session.h stasis
wire			lib
api			lib wire
cmds			lib wire api
daemon			lib wire
plugin			lib wire
END

# The module that owns a file: src/engine/image/test/x.c belongs to engine/image.
module_of() {
	local d=${1#src/}
	case $d in
	engine/*/*) d=${d#engine/} && echo "engine/${d%%/*}" ;;
	*) echo "${d%%/*}" ;;
	esac
}

complain() {
	local file line inc first module allowed ok a
	while IFS=: read -r file line inc; do
		inc=${inc#*\"}
		inc=${inc%%\"*}
		module=$(module_of "$file")
		allowed=$(sed -n "s,^$module\([[:space:]]\|$\),,p" "$table")
		case $inc in
		*/*) first=${inc%%/*} ;;
		*) # beside the file, generated, or at the top of engine/
			[ -e "${file%/*}/$inc" ] && continue
			first=$inc ;;
		esac
		# Generated headers belong to the module that generates them.
		case $inc in
		records.pb-c.h) first=image ;;
		config.h) continue ;;
		esac
		ok=
		for a in $allowed "${module##*/}" "${module%%/*}"; do
			{ [ "$a" = "$first" ] || [ "$a" = "$inc" ]; } && ok=1
		done
		# The entry points order everything; nobody includes them but with <stasis/...>.
		[ "$module" = engine ] && ok=1
		# Unit tests stand above the module they test.
		case $file in */test/*) ok=1 ;; esac
		[ -n "$ok" ] || echo "$file:$line: $module may not include \"$inc\""
	done
}

quoted_includes() {
	(cd "$top_srcdir" && grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src \
		--include='*.c' --include='*.h' --include='*.S')
}

test_expect_success 'there is something to check' '[ "$(quoted_includes | wc -l)" -gt 20 ]'
test_expect_success 'no module includes what it must not' '
	quoted_includes >lines && table=$PWD/table && (cd "$top_srcdir" && complain) <lines >bad
	cat bad; [ ! -s bad ]
'
test_expect_success 'nothing outside engine/ uses ptrace' '
	! grep -rnE "\bptrace\(|sys/ptrace.h" "$top_srcdir/src" --include="*.[ch]" | grep -v "/src/engine/"
'
test_expect_success 'nothing in engine/ knows Slurm' '
	! grep -rniE "#include.*slurm|spank" "$top_srcdir/src/engine" --include="*.[ch]"
'
test_expect_success 'processors are told apart only in arch/' '
	! grep -rnE "__x86_64__|__aarch64__" "$top_srcdir/src" --include="*.[chS]" | grep -v "/engine/arch/"
'
test_expect_success 'the table in doc/architecture.md names every module' '
	for m in $(cut -f1 table); do
		grep -q "${m##*/}" "$top_srcdir/doc/architecture.md" || { echo "no $m"; missing=1; }
	done; [ -z "$missing" ]
'
test_done
