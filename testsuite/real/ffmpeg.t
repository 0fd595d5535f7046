#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ffmpeg: encodes a test picture and a tone with several threads; the file must be the same bit by bit.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs ffmpeg)" ] || test_skip_all "needs the package ffmpeg"

real_command=(ffmpeg -nostdin -v error -f lavfi -i testsrc2=duration=40:size=480x270:rate=25
	-f lavfi -i sine=frequency=440:duration=40 -c:v mpeg4 -q:v 3 -threads 2 -c:a aac
	-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -y out.mkv)

real_program ffmpeg
test_done
