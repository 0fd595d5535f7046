/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasisd: options and configuration, then server.c. */
#include "daemon/config.h"
#include "daemon/server.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define DEFAULT_CONFIG SYSCONFDIR "/stasis.yaml"

enum { OPT_VERSION = 256 };

static const char help[] =
	"Usage: stasisd [OPTION]...\n"
	"Checkpoint the jobs that Slurm runs on this node, when scheckpoint(1) or a program asks.\n"
	"\n"
	"  -c, --config=FILE  configuration instead of " DEFAULT_CONFIG "\n"
	"  -t, --test         check the configuration and end\n"
	"  -h, --help         print this and end\n"
	"      --version      print the version and end\n"
	"\n"
	"It stays in the foreground. See stasisd(8) and stasis.yaml(5).\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"test", no_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static int usage(void)
{
	fprintf(stderr, "Try 'stasisd --help' for more information.\n");
	return 2;
}

static int serve(struct config *c, const char *path, bool is_named)
{
	if (geteuid() == 0)
		return server_run(c, path, is_named);
	fprintf(stderr, "stasisd: must be started by root\n");
	return 4;
}

int main(int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	bool is_test = false, is_named = false;
	struct stasis_error err;
	struct config c;
	int opt, rc;

	argv[0] = program_invocation_short_name;
	while ((opt = getopt_long(argc, argv, "c:th", options, NULL)) >= 0) {
		switch (opt) {
		case 'c':
			path = optarg;
			is_named = true;
			break;
		case 't':
			is_test = true;
			break;
		case 'h':
			return fputs(help, stdout) < 0 || fflush(stdout) ? 1 : 0;
		case OPT_VERSION:
			return printf("stasisd (stasis) %s\n", PACKAGE_VERSION) < 0 || fflush(stdout) ? 1 : 0;
		default:
			return usage();
		}
	}
	if (optind < argc)
		return usage();
	if (config_read(path, is_named, &c, &err) < 0) {
		fprintf(stderr, "stasisd: %s\n", err.text);
		return err.cls == STASIS_E_USAGE ? 2 : 1;
	}
	rc = is_test ? 0 : serve(&c, path, is_named);
	config_done(&c);
	return rc;
}
