#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An ordinary user's processes: System V IPC. What outlived the program is used again; what did not is
# made again in an IPC namespace, where the user may choose ids.
TEST_LIMIT=300
. "$(dirname "$0")/../lib/test-lib.sh"
. "$(dirname "$0")/../lib/matrix.sh"

test_is_root || test_skip_all "the other tests ran as an ordinary user already"
test_become_user
test_user_namespaces_work || test_skip_all "no user namespaces for ordinary users here"

matrix sysv-shm
matrix sysv-sem
matrix sysv-msg
matrix mqueue
matrix futex-shared
matrix shm-named

# What killed generations left behind.
awk -v uid="$test_uid" 'FNR > 1 && $8 == uid { print $2 }' /proc/sysvipc/shm | xargs -r -n 1 ipcrm -m
awk -v uid="$test_uid" 'FNR > 1 && $5 == uid { print $2 }' /proc/sysvipc/sem | xargs -r -n 1 ipcrm -s
awk -v uid="$test_uid" 'FNR > 1 && $8 == uid { print $2 }' /proc/sysvipc/msg | xargs -r -n 1 ipcrm -q

test_done
