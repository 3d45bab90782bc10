/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running checks: what each is given, how each ends, what is printed. */
#include "check.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "check_run.h"
#include "common/output.h"
#include "control/json_text.h"
#include "watchdog.h"

enum {
	/* A check does some tens of things that may each take the timeout. */
	PATIENCE = 60,
	/* After so many checks in a row that it did not serve, a server is given up. */
	MAX_UNSERVED = 3,
};

static const struct check *const tables[] = {
	checks_version,
	checks_header,
	checks_info,
	checks_region,
	checks_dma,
	checks_irq,
	checks_reset,
	checks_config,
	checks_mmap,
	checks_session,
	checks_selftest,
	checks_selftest_dma,
	checks_selftest_message,
	checks_selftest_irq,
};

static const struct {
	unsigned int need;
	const char *what;
} needs[] = {
	{ NEED_PCI, "a PCI device" },
	{ NEED_RESET, "a device that can be reset" },
	{ NEED_IRQ, "an interrupt" },
	{ NEED_INTX, "INTx" },
	{ NEED_MSI, "MSI" },
	{ NEED_MSIX, "MSI-X" },
	{ NEED_MMAP, "a region that can be mapped" },
	{ NEED_SPARSE, "a region that can be mapped in part" },
	{ NEED_ROM, "a ROM" },
	{ NEED_IO_FDS, "region I/O descriptors" },
	{ NEED_SELFTEST, "the selftest device" },
	{ NEED_WRITE_MULTI, "write_multiple" },
	{ NEED_TWIN, "a twin socket" },
	{ NEED_EXPRESS, "extended config space" },
};

static const char *const result_names[] = {
	[RESULT_OK] = "ok",
	[RESULT_ADVICE] = "advice",
	[RESULT_FAIL] = "FAIL",
	[RESULT_SKIP] = "skip",
};

struct suite {
	const struct probe_options *options;
	struct check_facts facts;
	unsigned int counts[ARRAY_SIZE(result_names)];
	unsigned int unserved; /* checks in a row */
	unsigned int not_made; /* since the server was given up */
	json_t *results;
};

static const char *missing(const struct check *check, unsigned int have)
{
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
		if (check->needs & needs[i].need && !(have & needs[i].need))
			return needs[i].what;
	return NULL;
}

static bool is_wanted(const struct probe_options *options, const struct check *check)
{
	return !options->only || fnmatch(options->only, check->name, 0) == 0;
}

static void print_result(struct suite *suite, const struct check *check, enum result result,
			 const char *reason)
{
	suite->counts[result]++;
	if (output_is_json()) {
		json_array_append_new(suite->results,
				      json_pack("{s:s, s:s, s:s, s:s, s:o?}", "name", check->name,
						"result", result_names[result], "what", check->what,
						"clause", check->clause, "reason",
						*reason ? json_text(reason) : NULL));
		return;
	}
	say("%-6s %-28s %s (%s)", result_names[result], check->name, check->what, check->clause);
	if (*reason)
		say("       %s", reason);
	fflush(stdout);
}

/* The rest of the checks for a server that is not there: one by one only to programs. */
static void pass_over(struct suite *suite, const struct check *check)
{
	suite->not_made++;
	if (output_is_json())
		print_result(suite, check, RESULT_SKIP, "the server serves nobody any more");
	else
		suite->counts[RESULT_SKIP]++;
}

static bool is_given_up(const struct suite *suite)
{
	return suite->options->server->gone || suite->unserved == MAX_UNSERVED;
}

static struct server *watched;

static void kill_server(void)
{
	server_done(watched);
}

static void run_one(struct suite *suite, const struct check *check)
{
	const char *need = missing(check, suite->facts.have);
	char reason[CHECK_REASON_SIZE];
	enum result result;
	bool served;

	if (is_given_up(suite)) {
		pass_over(suite, check);
		return;
	}
	if (need) {
		snprintf(reason, sizeof(reason), "it needs %s", need);
		print_result(suite, check, RESULT_SKIP, reason);
		return;
	}
	watchdog_arm(suite->options->timeout_ms * PATIENCE, check->name, kill_server);
	result = check_run(check, suite->options, &suite->facts, reason, &served);
	watchdog_disarm();
	suite->unserved = served ? 0 : suite->unserved + 1;
	print_result(suite, check, result, reason);
}

static int print_list(const struct probe_options *options)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct check *check = tables[i]; check->name; check++) {
			if (!is_wanted(options, check))
				continue;
			json_array_append_new(array, json_pack("{s:s, s:s, s:s}", "name",
							       check->name, "what", check->what,
							       "clause", check->clause));
			if (!output_is_json())
				say("%-28s %s (%s)", check->name, check->what, check->clause);
		}
	if (output_is_json())
		print_json(json_pack("{s:i, s:O}", "version", 1, "checks", array));
	json_decref(array);
	return EXIT_OK;
}

static void say_counts(const struct suite *suite)
{
	const unsigned int *counts = suite->counts;

	if (suite->not_made)
		say("The server serves nobody any more: %u checks were not made.", suite->not_made);
	if (suite->options->server->gone)
		say("If it is made for one client, let it be run for each check: vgpu-probe check "
		    "--spawn -- SERVER ARGUMENT...");
	say("%u ok, %u failed, %u with advice, %u skipped", counts[RESULT_OK], counts[RESULT_FAIL],
	    counts[RESULT_ADVICE], counts[RESULT_SKIP]);
}

static int finish(struct suite *suite)
{
	const unsigned int *counts = suite->counts;
	bool failed = counts[RESULT_FAIL] || suite->not_made ||
		      (suite->options->strict && counts[RESULT_ADVICE]);

	if (output_is_json())
		print_json(json_pack("{s:i, s:b, s:i, s:i, s:i, s:i, s:O}", "version", 1, "ok",
				     !failed, "passed", (int)counts[RESULT_OK], "failed",
				     (int)counts[RESULT_FAIL], "advice", (int)counts[RESULT_ADVICE],
				     "skipped", (int)counts[RESULT_SKIP], "checks",
				     suite->results));
	else
		say_counts(suite);
	json_decref(suite->results);
	return failed ? EXIT_FAILED : EXIT_OK;
}

int run_check(const struct probe_options *options)
{
	char error[CHECK_REASON_SIZE] = "";
	struct suite *suite;
	unsigned int n = 0;
	int status;

	if (options->list)
		return print_list(options);
	suite = calloc(1, sizeof(*suite));
	if (!suite)
		return fail("memory", "no memory");
	suite->options = options;
	watched = options->server;
	watchdog_arm(options->timeout_ms * PATIENCE, "looking at the device", kill_server);
	if (check_find_facts(options, &suite->facts, error) < 0) {
		watchdog_disarm();
		free(suite);
		return fail("device", "the device cannot be looked at: %s", error);
	}
	suite->results = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct check *check = tables[i]; check->name; check++)
			if (is_wanted(options, check)) {
				run_one(suite, check);
				n++;
			}
	watchdog_disarm();
	status = finish(suite);
	free(suite);
	return n ? status : fail("only", "no check is called like '%s'", options->only);
}
