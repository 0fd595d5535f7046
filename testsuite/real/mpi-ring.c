/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MPI ranks in a ring that mix their cells with those of their neighbours; the sums of all are printed.
 *
 *   mpi-ring ROUNDS
 *
 * In the middle, while there is a file "stop", all ranks go on talking to each other, and that counts for nothing; "at.mpi"
 * says that they do.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CELLS = 30000 };
static uint64_t cells[CELLS], ghost[CELLS];
static int rank, size;

/* Short messages go eagerly, long ones by rendezvous. */
static void shift(int len)
{
	MPI_Sendrecv(cells, len, MPI_UINT64_T, (rank + 1) % size, 7, ghost, len, MPI_UINT64_T,
		     (rank + size - 1) % size, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void linger(void)
{
	for (int turn = 0, on = 1; on; turn++) {
		shift(turn % 3 ? 100 : CELLS);
		if (rank == 0) {
			on = access("stop", F_OK) == 0;
			if (turn == 20)
				fclose(fopen("at.mpi", "w"));
			usleep(2000);
		}
		MPI_Bcast(&on, 1, MPI_INT, 0, MPI_COMM_WORLD);
	}
}

int main(int argc, char **argv)
{
	int rounds;

	MPI_Init(&argc, &argv);
	rounds = argc > 1 ? atoi(argv[1]) : 0;
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	for (int i = 0; i < CELLS; i++)
		cells[i] = (uint64_t)rank * CELLS + (uint64_t)i;
	for (int round = 0; round < rounds; round++) {
		uint64_t sum = 0, all;
		int len = round % 3 ? 100 : CELLS;

		if (round == rounds / 2)
			linger();
		shift(len);
		for (int i = 0; i < CELLS; i++) {
			cells[i] = cells[i] * 6364136223846793005u + ghost[i % len] + (uint64_t)round;
			sum += cells[i] >> 40;
		}
		MPI_Allreduce(&sum, &all, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
		cells[round % CELLS] ^= all;
		if (rank == 0 && round % 50 == 0) {
			printf("%d %llu\n", round, (unsigned long long)all);
			fflush(stdout);
		}
	}
	MPI_Finalize();
	return 0;
}
