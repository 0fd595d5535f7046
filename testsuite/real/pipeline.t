#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pipeline of bash: five programs, pipes with data in them, temporary files of sort.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs seq sort gzip tee sha256sum)" ] || test_skip_all "needs coreutils and gzip"

real_command=(bash -c '
	set -o pipefail
	seq 1 4000000 | sort -r -S 8M -T . --parallel=2 | gzip -n | tee out.gz | sha256sum
')
# shellcheck disable=SC2317 # is called
real_finish() {
	gzip -t out.gz && [ "$(find . -type f | wc -l)" = 3 ]
}

real_program 'bash pipeline'
test_done
