#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The job that ./quickstart interrupts: a pipeline of five processes, one of them Python with threads
# and a child of its own. Works in the current folder; `result` is written at the end.
here=$(dirname "$(readlink -f "$0")")
seq 1 "${1:-1500}" | python3 "$here/job.py" | tee numbers | sort -k2 | sha256sum >result.tmp &&
	sha256sum <numbers >>result.tmp && tail -n 1 log >>result.tmp && mv result.tmp result
