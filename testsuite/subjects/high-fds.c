/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors right below the hard limit of open files, as valgrind has its own: a file, a pipe, a memfd
 * that is mapped, an epoll instance with a member whose descriptor has been closed; and some low ones.
 */
#include "subject.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int top;

/* Moves it to the highest number that is left. */
static int raise_fd(int fd)
{
	top--;
	CHECK(fd >= 0 && dup3(fd, top, O_CLOEXEC) == top && close(fd) == 0);
	return top;
}

int main(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 4711};
	int file, memory, epoll, ends[2], low[20][2];
	struct rlimit r;
	char *map, c;

	subject_init();
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
	r.rlim_cur = r.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
	top = (int)r.rlim_max;
	for (size_t i = 0; i < 20; i++)
		CHECK(pipe(low[i]) == 0 && write(low[i][1], "x", 1) == 1);
	file = raise_fd(pattern_file("data", PAGE, 1));
	CHECK(lseek(file, 17, SEEK_SET) == 17);
	CHECK(pipe(ends) == 0);
	ends[0] = raise_fd(ends[0]);
	ends[1] = raise_fd(ends[1]);
	memory = raise_fd(memfd_create("memory", 0));
	CHECK(ftruncate(memory, PAGE) == 0);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	CHECK(map != MAP_FAILED);
	(void)strcpy(map, "shared");
	epoll = raise_fd(epoll_create1(0));
	top--;
	CHECK(dup2(ends[0], top) == top && epoll_ctl(epoll, EPOLL_CTL_ADD, top, &event) == 0);
	CHECK(close(top) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(lseek(file, 0, SEEK_CUR) == 17);
	CHECK(write(ends[1], "y", 1) == 1);
	CHECK(epoll_wait(epoll, &event, 1, 10000) == 1 && event.data.u64 == 4711);
	CHECK(read(ends[0], &c, 1) == 1 && c == 'y');
	CHECK(pread(memory, &c, 1, 0) == 1 && c == 's' && strcmp(map, "shared") == 0);
	for (size_t i = 0; i < 20; i++)
		CHECK(read(low[i][0], &c, 1) == 1 && c == 'x');
	CHECK(fcntl(top, F_GETFD) < 0 && fcntl(top - 1, F_GETFD) < 0 && fcntl(100, F_GETFD) < 0);
	subject_ok();
}
