#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A statically linked program with two threads and a heap in motion.
. "$(dirname "$0")/real-lib.sh"

real_command=("$real_programs/spigot" 5600)
real_progress=digits

real_program 'static binary'
test_done
