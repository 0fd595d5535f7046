/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Digits of pi, for the test of a statically linked program: two threads compute two halves of the
 * same array, one after the other as the algorithm (Rabinowitz and Wagon) wants it, the heap is moved
 * about all the time, and each block of digits is appended to a file that is opened and closed for it.
 *
 *   spigot BLOCKS    (four digits each)
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE	    10000
#define CELLS_BLOCK 14 /* cells that four digits need */

struct half {
	uint32_t *cell;
	size_t first, count; /* cells first + count - 1 down to first */
	uint64_t *carry;     /* on its way from the far end to the near one */
	sem_t go, done;
	size_t blocks;
};

static void *run_half(void *arg)
{
	struct half *h = arg;

	for (size_t b = 0; b < h->blocks; b++) {
		while (sem_wait(&h->go) < 0)
			;
		for (size_t i = h->count; i-- > 0;) {
			uint64_t k = h->first + i; /* the cell counts 1/k units of BASE */
			uint64_t v;

			if (!k)
				break;
			v = *h->carry * k + (uint64_t)h->cell[i] * BASE;
			h->cell[i] = (uint32_t)(v % (2 * k - 1));
			*h->carry = v / (2 * k - 1);
		}
		(void)sem_post(&h->done);
	}
	return NULL;
}

static void half_start(struct half *h, size_t first, size_t count, uint64_t *carry, size_t blocks,
		       pthread_t *ret_thread)
{
	*h = (struct half){.first = first, .count = count, .carry = carry, .blocks = blocks};
	h->cell = malloc(count * sizeof(*h->cell));
	if (!h->cell || sem_init(&h->go, 0, 0) < 0 || sem_init(&h->done, 0, 0) < 0)
		exit(1);
	for (size_t i = 0; i < count; i++)
		h->cell[i] = BASE / 5;
	if (pthread_create(ret_thread, NULL, run_half, h))
		exit(1);
}

/* Move the cells to other memory, with a growing and shrinking neighbour. */
static void half_move(struct half *h, size_t round)
{
	size_t len = h->count * sizeof(*h->cell);
	char *neighbour = malloc(round % 37 * 4096 + 1);
	uint32_t *moved = malloc(len);

	if (!moved || !neighbour)
		exit(1);
	memcpy(moved, h->cell, len);
	free(h->cell);
	free(neighbour);
	h->cell = moved;
}

static void append(const char *name, unsigned digits)
{
	FILE *f = fopen(name, "a");

	if (!f || fprintf(f, "%04u", digits) < 0 || fclose(f) != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	size_t blocks = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
	size_t cells = blocks * CELLS_BLOCK, middle = cells / 2;
	uint64_t carry, rest = 0;
	struct half near, far;
	pthread_t threads[2];

	half_start(&near, 0, middle, &carry, blocks, &threads[0]);
	half_start(&far, middle, cells - middle, &carry, blocks, &threads[1]);
	for (size_t b = 0; b < blocks; b++) {
		carry = 0;
		(void)sem_post(&far.go);
		while (sem_wait(&far.done) < 0)
			;
		(void)sem_post(&near.go);
		while (sem_wait(&near.done) < 0)
			;
		append("digits", (unsigned)((rest + carry / BASE) % BASE));
		rest = carry % BASE;
		half_move(b % 2 ? &near : &far, b);
	}
	(void)pthread_join(threads[0], NULL);
	(void)pthread_join(threads[1], NULL);
	(void)printf("%zu blocks, rest %lu\n", blocks, (unsigned long)rest);
	return 0;
}
