# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Sourced before test-lib.sh: the test gets a pid namespace of its own, and mounts (when root runs it). Where pids
# end at 32768, others who start many processes meanwhile would take those that a restart needs.

if [ "$(id -u)" = 0 ] && [ -z "$TEST_OWN_PIDS" ]; then
	export TEST_OWN_PIDS=1
	exec unshare --pid --fork --kill-child --mount-proc --propagation private bash "$0" "$@"
fi
