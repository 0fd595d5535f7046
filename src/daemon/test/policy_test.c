/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which policy holds for a job, and when its automatic checkpoints are due. */
#include "daemon/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct config read_text(const char *text)
{
	char path[] = "/tmp/policy-test.XXXXXX";
	int fd = mkstemp(path);
	struct stasis_error err;
	struct config c;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	if (config_read(path, true, &c, &err) < 0)
		fail_msg("%s", err.text);
	unlink(path);
	return c;
}

static struct config for_job(const struct config *c, const char *partition, const char *qos, const char *account)
{
	struct job_traits t;
	struct config own;

	(void)snprintf(t.partition, sizeof(t.partition), "%s", partition);
	(void)snprintf(t.qos, sizeof(t.qos), "%s", qos);
	(void)snprintf(t.account, sizeof(t.account), "%s", account);
	config_for_job(c, &t, &own);
	return own;
}

static void all_that_fit_count_in_order(void **state)
{
	struct config c = read_text("keep: 3\n"
				    "directory: /all\n"
				    "policies:\n"
				    "  - keep: 4\n"
				    "    interval: 600\n"
				    "  - partition: a,b?\n"
				    "    keep: 5\n"
				    "    min-interval: 7\n"
				    "  - partition: '*'\n"
				    "    qos: high\n"
				    "    directory: /high\n"
				    "    interval: 0\n"
				    "  - account: '[pq]*'\n"
				    "    clean-after: 9\n");

	(void)state;
	assert_int_equal(c.keep, 3);
	assert_int_equal(c.scan_s, 7);
	assert_int_equal(for_job(&c, "x", "", "").keep, 4);
	assert_int_equal(for_job(&c, "x", "", "").interval_s, 600);
	assert_int_equal(for_job(&c, "a", "", "").keep, 5);
	assert_int_equal(for_job(&c, "bc", "", "").keep, 5);
	assert_int_equal(for_job(&c, "b", "", "").keep, 4);
	assert_int_equal(for_job(&c, "bc", "high", "").interval_s, 0);
	assert_string_equal(for_job(&c, "bc", "high", "").directory, "/high");
	assert_string_equal(for_job(&c, "bc", "high", "").look_in, "/all");
	assert_string_equal(for_job(&c, "bc", "higher", "").directory, "/all");
	assert_int_equal(for_job(&c, "x", "", "q1").clean_after_s, 9);
	assert_int_equal(for_job(&c, "x", "", "r").clean_after_s, CONFIG_NEVER);
	config_done(&c);
}

static void every_spelling_of_an_interval(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} spellings[] = {
		{"30", 1800},	       {"1:30", 90},	     {"2:00:00", 7200},	  {"1-0", 86400},
		{"1-2", 93600},	       {"1-0:30", 88200},    {"0-0:01:40", 100},  {"0", 0},
		{"-1", 0},	       {"INFINITE", 0},	     {"unlimited", 0},	  {"0:01", 60},
		{"0-0:0:1", 60},
	};
	struct config c = read_text("interval: 5\n");

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
		assert_int_equal(policy_interval(&c, spellings[i].text), spellings[i].want);
	assert_int_equal(policy_interval(&c, NULL), 60); /* min-interval holds for ours, too */
	c.interval_s = 0;
	assert_int_equal(policy_interval(&c, NULL), 0);
	config_done(&c);
}

static void first_ones_are_spread(void **state)
{
	struct config c = read_text("spread: 50\n");
	unsigned nr[10] = {0};

	(void)state;
	for (uint32_t job = 1; job <= 1000; job++) {
		uint64_t first = policy_first(&c, job, 1000);

		assert_in_range(first, 501, 1000);
		nr[(first - 501) / 50]++;
	}
	for (size_t i = 0; i < 10; i++)
		assert_in_range(nr[i], 80, 120); /* of a hundred, were they even */
	c.first_delay_s = 100;
	assert_in_range(policy_first(&c, 17, 1000), 60, 100); /* not before min-interval */
	c.first_delay_s = 10;
	assert_in_range(policy_first(&c, 17, 1000), 5, 10); /* but as early as he says */
	c.spread = 0;
	assert_int_equal(policy_first(&c, 17, 1000), 10);
	config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_fit_count_in_order),
		cmocka_unit_test(every_spelling_of_an_interval),
		cmocka_unit_test(first_ones_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
