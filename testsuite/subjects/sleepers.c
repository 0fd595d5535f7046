/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that sleep for hours, in each kind of call with a relative time-out: none may wake before its time. */
#include "subject.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NR = 40, HOURS = 3600 };

static atomic_int nr_asleep, nr_awake;
static uint32_t word;

static void *sleep_long(void *arg)
{
	struct timespec hours = {.tv_sec = HOURS};

	atomic_fetch_add(&nr_asleep, 1);
	switch ((uintptr_t)arg % 4) {
	case 0:
		(void)syscall(SYS_nanosleep, &hours, NULL);
		break;
	case 1:
		(void)clock_nanosleep(CLOCK_REALTIME, 0, &hours, &hours);
		break;
	case 2:
		(void)poll(NULL, 0, HOURS * 1000);
		break;
	default:
		(void)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hours, NULL, 0);
	}
	atomic_fetch_add(&nr_awake, 1);
	return NULL;
}

int main(void)
{
	pthread_t t;

	subject_init();
	for (uintptr_t i = 0; i < NR; i++)
		CHECK(pthread_create(&t, NULL, sleep_long, (void *)i) == 0);
	while (atomic_load(&nr_asleep) < NR)
		subject_nap_ms(1);
	subject_ready();
	subject_wait_go();
	if (atomic_load(&nr_awake))
		subject_bad("%d of %d sleepers woke early", atomic_load(&nr_awake), NR);
	subject_ok();
}
