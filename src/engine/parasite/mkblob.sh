#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Compile freestanding code and turn it into a C file with one array of bytes.
#
#   mkblob.sh OUTPUT.c SYMBOL LINKER_SCRIPT SOURCE[@FLAG[@FLAG...]]...
#
# CC, OBJCOPY and CPPFLAGS come from the environment. FLAGs are for that source only, so that one file
# can be compiled twice. The array is SYMBOL_start[], its length SYMBOL_len. What lies at its start is
# what the sources put into section .head; the entry points are for them to find. Temporary files lie
# beside OUTPUT.c. Fails when the code needs relocations or has writable data.
set -e

out=$1 symbol=$2 script=$3
shift 3
: "${CC:=cc}" "${OBJCOPY:=objcopy}"

dir=$out.d
rm -rf "$dir"
mkdir -p "$dir"
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# -mno-red-zone: none below the stack pointer of somebody else. -fcf-protection=none: no landing pads,
# the code is entered by ptrace. What a hardened compiler adds by default needs libc or relocations.
flags="-std=gnu11 -O2 -ffreestanding -fPIE -fvisibility=hidden -fno-stack-protector
	-U_FORTIFY_SOURCE -fcf-protection=none -fno-asynchronous-unwind-tables -fno-unwind-tables
	-fno-exceptions -fno-jump-tables -fno-strict-aliasing -mno-red-zone -ffunction-sections
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes"

n=0
objects=
for source in "$@"; do
	file=${source%%@*}
	own=
	case $source in
	*@*) own=$(printf '%s' "${source#*@}" | tr @ ' ') ;;
	esac
	n=$((n + 1))
	# shellcheck disable=SC2086 # lists of flags
	$CC $CPPFLAGS $flags $own -c "$file" -o "$dir/$n.o"
	objects="$objects $dir/$n.o"
done

# Linked as position-independent executable, so that whatever is not independent shows as relocation.
# shellcheck disable=SC2086
$CC -nostdlib -nostartfiles -static-pie -Wl,--no-dynamic-linker -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,-z,norelro -Wl,--gc-sections \
	-Wl,--orphan-handling=error \
	-Wl,-e,0 -Wl,-T,"$script" -o "$dir/blob.elf" $objects
$OBJCOPY -O binary -j .blob "$dir/blob.elf" "$dir/blob.bin"

{
	echo "/* Made by mkblob.sh from $(echo "$@" | sed 's|[^ ]*/||g') */"
	echo "#include <stdint.h>"
	echo "#define BLOB __attribute__((__visibility__(\"hidden\"), __aligned__(64)))"
	echo "extern BLOB const uint8_t ${symbol}_start[];"
	echo "extern BLOB const uint32_t ${symbol}_len;"
	echo "const uint8_t ${symbol}_start[] = {"
	od -An -v -tu1 "$dir/blob.bin" | sed 's/  */,/g; s/^,//; s/$/,/'
	echo "};"
	echo "const uint32_t ${symbol}_len = sizeof(${symbol}_start);"
} >"$dir/out.c"
mv -f "$dir/out.c" "$out"
