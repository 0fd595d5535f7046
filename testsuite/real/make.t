#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make -j2 and gcc -O2 at work on the engine's own sources: short-lived processes all the time, a job
# server, temporary files.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs make gcc ld)" ] || test_skip_all "needs make and gcc"

real_setup() {
	local f
	cp -r "$top_srcdir/src" "$top_srcdir/include" . && chmod -R u+w . || return
	cp "$top_builddir/config.h" include/
	cp "$top_builddir"/src/engine/image/records.pb-c.[ch] src/engine/image/ || return
	cat >Makefile <<'END'
top = $(real_input)
sources = $(wildcard $(addprefix $(top)/src/,lib/*.c engine/image/*.c engine/memory/*.c engine/resource/*.c))
CFLAGS = -std=gnu11 -D_GNU_SOURCE -O2 -g -w -include $(top)/include/config.h \
	-I$(top)/include -I$(top)/src -I$(top)/src/engine -I$(top)/src/engine/image
objects = $(patsubst $(top)/%.c,%.o,$(sources))

engine.o: $(objects)
	ld -r -o $@ $(sort $^)
$(objects): %.o: $(top)/%.c
	@mkdir -p $(@D)
	gcc $(CFLAGS) -c -o $@ $<
END
}
# Temporary files belong to the folder, so that none is left behind (each killed compiler leaves its own).
real_command=(env TMPDIR="$real_work" make -j2 -f "$real_input/Makefile")
# shellcheck disable=SC2317 # is called
real_finish() {
	rm -f stdout cc*.s && nm engine.o | grep -q ' T '
}

real_program 'make -j2'
test_done
