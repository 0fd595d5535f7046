/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the test script the parent of orphans below it, so that they are reaped even where process 1
 * reaps nobody (in many containers), then runs it. */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		perror("PR_SET_CHILD_SUBREAPER");
	(void)execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 126;
}
