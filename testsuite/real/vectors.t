#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A checksum kept in all vector, mask and x87 registers: a lost register shows.
. "$(dirname "$0")/real-lib.sh"

real_command=("$real_programs/vectors" 100 1500000)

real_program 'vector registers'
test_done
