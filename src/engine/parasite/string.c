/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What compilers call without being asked (gcc manual, "Standards": freestanding environments). */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int c, size_t len);
int memcmp(const void *a, const void *b, size_t len);

/* Keeps compilers from seeing a memcpy() in the loop of memcpy(). */
#define PLAIN_LOOP __asm__ volatile("")

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	while (len--) {
		PLAIN_LOOP;
		*t++ = *f++;
	}
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (t <= f || t >= f + len)
		return memcpy(to, from, len);
	while (len--) {
		PLAIN_LOOP;
		t[len] = f[len];
	}
	return to;
}

void *memset(void *to, int c, size_t len)
{
	uint8_t *t = to;

	while (len--) {
		PLAIN_LOOP;
		*t++ = (uint8_t)c;
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; len--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}
