#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 200 threads, mutexes and condition variables: a prime sieve of channels.
. "$(dirname "$0")/real-lib.sh"

real_command=("$real_programs/sieve" 150000)
real_progress=stdout

real_program '200 threads'
test_done
