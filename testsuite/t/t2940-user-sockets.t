#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Internet sockets of an ordinary user.
TEST_LIMIT=240
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces here"

matrix tcp-listen
matrix udp

test_done
