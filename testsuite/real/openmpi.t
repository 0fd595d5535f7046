#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# OpenMPI: four ranks on one host under mpirun, over shared memory; collective and point-to-point.
. "$(dirname "$0")/real-lib.sh"

[ -z "$(test_missing_programs mpirun mpicc)" ] || test_skip_all "needs the package libopenmpi-dev"

real_setup() {
	cat >ring.c <<'END'
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>

enum { CELLS = 30000, ROUNDS = 5000 };
static uint64_t cells[CELLS], ghost[CELLS];

int main(int argc, char **argv)
{
	int rank, size;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	for (int i = 0; i < CELLS; i++)
		cells[i] = (uint64_t)rank * CELLS + (uint64_t)i;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t sum = 0, all;
		/* short messages go eagerly, long ones by rendezvous */
		int len = round % 3 ? 100 : CELLS;

		MPI_Sendrecv(cells, len, MPI_UINT64_T, (rank + 1) % size, 7, ghost, len, MPI_UINT64_T,
			     (rank + size - 1) % size, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		for (int i = 0; i < CELLS; i++) {
			cells[i] = cells[i] * 6364136223846793005u + ghost[i % len] + (uint64_t)round;
			sum += cells[i] >> 40;
		}
		MPI_Allreduce(&sum, &all, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
		cells[round % CELLS] ^= all;
		if (rank == 0 && round % 100 == 0) {
			printf("%d %llu\n", round, (unsigned long long)all);
			fflush(stdout);
		}
	}
	MPI_Finalize();
	return 0;
}
END
	mpicc -O2 -o ring ring.c
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 TMPDIR=$test_scratch
real_command=(mpirun --oversubscribe --mca btl self,vader --mca plm isolated -np 4 "$real_input/ring")

# restart sends its root SIGCONT, as the guide says, and mpirun tells of that.
# shellcheck disable=SC2317 # is called
real_finish() {
	sed -i '/^mpirun: Forwarding signal 18 to job$/d' stderr
}

real_program OpenMPI
test_done
