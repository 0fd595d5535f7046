#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# GNU Octave: matrices, strings and a file written on the way.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs octave-cli)" ] || test_skip_all "needs the package octave"

real_setup() {
	cat >work.m <<'END'
rand("twister", 4711); randn("twister", 4711);
f = fopen("numbers", "w");
for round = 1:24
	a = randn(160);
	e = sort(abs(eig(a)));
	s = 0;
	for k = 1:20000
		s = mod(s * 31 + k + round, 1000003);
	end
	fprintf(f, "%d %.15g %.15g %d\n", round, e(1), e(end), s);
	fflush(f);
end
fclose(f);
printf("done\n");
END
}
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 HOME=$test_scratch
real_command=(octave-cli --no-window-system --no-history -q "$real_input/work.m")

real_program Octave
test_done
