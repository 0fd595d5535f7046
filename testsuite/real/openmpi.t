#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# OpenMPI: four ranks on one host under mpirun, over shared memory; collective and point-to-point.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs mpirun mpicc)" ] || test_skip_all "needs the package libopenmpi-dev"

real_setup() {
	mpicc -O2 -o ring "$top_srcdir/testsuite/real/mpi-ring.c"
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 TMPDIR=$test_scratch
real_command=(mpirun --oversubscribe --mca btl self,vader --mca plm isolated -np 4 "$real_input/ring" 5000)

# restart sends its root SIGCONT, as the guide says, and mpirun tells of that.
# shellcheck disable=SC2317 # is called
real_finish() {
	sed -i '/^mpirun: Forwarding signal 18 to job$/d' stderr
}

real_program OpenMPI
test_done
