/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory protection keys: three are allocated, of them the middle one is free again; memory that may not be
 * written, memory that may not be accessed at all by the first thread and may by the second, and code that can be
 * executed only. Rights, keys of the mappings and the free key must be as they were. On a processor without
 * protection keys the code is all there is.
 */
#include "subject.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif
#define LEN (5 * 4096ul)

static int keys[3];
static uint8_t *read_only, *closed;
static int (*code)(void);
static atomic_bool is_second_ready;
static sigjmp_buf after_fault;
static volatile sig_atomic_t fault_code, fault_key;

static void *map(int prot)
{
	void *p = mmap(NULL, LEN, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	fault_code = info->si_code;
	fault_key = (int)info->si_pkey;
	siglongjmp(after_fault, 1);
}

/* Whether an access ends in the fault of that key. */
static bool is_denied(volatile uint8_t *p, bool writes, int key)
{
	fault_code = 0;
	if (sigsetjmp(after_fault, 1) == 0) {
		if (writes)
			*p = 0;
		else
			(void)*p;
	}
	return fault_code == SEGV_PKUERR && fault_key == key;
}

static void *second(void *unused)
{
	CHECK(pkey_set(keys[2], 0) == 0);
	atomic_store(&is_second_ready, true);
	subject_wait_go();
	CHECK(pkey_get(keys[0]) == PKEY_DISABLE_WRITE && pkey_get(keys[2]) == 0);
	CHECK(pattern_matches(closed, LEN, 2));
	return unused;
}

static int key_of(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	char line[512], perms[8];
	bool is_it = false;
	int key = -1;

	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3)
			is_it = start <= (unsigned long)at && (unsigned long)at < end;
		if (is_it)
			(void)sscanf(line, "ProtectionKey: %d", &key);
	}
	CHECK(fclose(f) == 0);
	return key;
}

static void take_keys(void)
{
	for (int i = 0; i < 3; i++) {
		keys[i] = pkey_alloc(0, 0);
		CHECK(keys[i] == i + 1);
	}
	CHECK(pkey_free(keys[1]) == 0);
	read_only = map(PROT_READ | PROT_WRITE);
	closed = map(PROT_READ | PROT_WRITE);
	pattern_fill(read_only, LEN, 1);
	pattern_fill(closed, LEN, 2);
	CHECK(pkey_mprotect(read_only, LEN, PROT_READ | PROT_WRITE, keys[0]) == 0);
	CHECK(pkey_mprotect(closed, LEN, PROT_READ | PROT_WRITE, keys[2]) == 0);
	CHECK(pkey_set(keys[0], PKEY_DISABLE_WRITE) == 0 && pkey_set(keys[2], PKEY_DISABLE_ACCESS) == 0);
}

static void check_keys(int key_of_code)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	CHECK(pkey_get(keys[0]) == PKEY_DISABLE_WRITE && pkey_get(keys[2]) == PKEY_DISABLE_ACCESS);
	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	CHECK(pattern_matches(read_only, LEN, 1));
	CHECK(is_denied(read_only, true, keys[0]) && is_denied(closed, false, keys[2]));
	CHECK(key_of(read_only) == keys[0] && key_of(closed) == keys[2] && key_of(&keys) == 0);
	/* the kernel has a key of its own for the code; the freed one is the lowest that is left */
	CHECK((key_of((const void *)code) != 0) == (key_of_code != 0));
	CHECK(is_denied((volatile uint8_t *)code, false, key_of((const void *)code)));
	if (key_of_code != keys[1])
		CHECK(pkey_alloc(0, 0) == keys[1]);
}

int main(void)
{
	static const uint8_t returns_4711[] = {0xb8, 0x67, 0x12, 0x00, 0x00, 0xc3};
	bool has_keys;
	pthread_t t;
	int key_of_code = 0;
	uint8_t *p;

	subject_init();
	has_keys = pkey_alloc(0, 0) > 0 && pkey_free(1) == 0;
	if (has_keys)
		take_keys();
	p = map(PROT_READ | PROT_WRITE);
	memcpy(p, returns_4711, sizeof(returns_4711));
	CHECK(mprotect(p, LEN, PROT_EXEC) == 0);
	code = (int (*)(void))(void *)p;
	if (has_keys) {
		key_of_code = key_of(p);
		CHECK(pthread_create(&t, NULL, second, NULL) == 0);
		while (!atomic_load(&is_second_ready))
			subject_nap_ms(1);
	}
	subject_ready();
	subject_wait_go();
	CHECK(code() == 4711);
	if (has_keys) {
		check_keys(key_of_code);
		CHECK(pthread_join(t, NULL) == 0);
	}
	subject_ok();
}
