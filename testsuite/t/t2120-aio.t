#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Contexts of asynchronous I/O (io_setup).
TEST_LIMIT=120
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

matrix aio

test_done
