/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Standard descriptors on a control terminal whose settings the program has changed. */
#include "subject.h"

#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

int main(void)
{
	struct termios before, after;
	int fd;

	subject_init();
	CHECK(isatty(0) && isatty(1) && isatty(2));
	CHECK(tcgetattr(0, &before) == 0);
	before.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
	before.c_cc[VMIN] = 3;
	before.c_cc[VTIME] = 2;
	before.c_cc[VINTR] = 7;
	CHECK(tcsetattr(0, TCSANOW, &before) == 0);
	CHECK(tcgetattr(0, &before) == 0);
	subject_ready();
	subject_wait_go();
	CHECK(isatty(0) && isatty(1) && isatty(2));
	CHECK(tcgetattr(0, &after) == 0);
	CHECK(before.c_lflag == after.c_lflag && before.c_iflag == after.c_iflag);
	CHECK(memcmp(before.c_cc, after.c_cc, sizeof(after.c_cc)) == 0);
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC); /* there is a control terminal */
	CHECK(fd >= 0);
	CHECK(tcgetsid(fd) > 0 && tcgetpgrp(fd) == getpgrp());
	CHECK(write(1, "hello from the restarted side\r\n", 31) == 31);
	subject_ok();
}
