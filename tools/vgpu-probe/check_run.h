/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the table and a check: private to the suite. */
#pragma once

#include "check.h"

enum { CHECK_REASON_SIZE = 1024 };

enum result { RESULT_OK, RESULT_ADVICE, RESULT_FAIL, RESULT_SKIP };

/* Looks at the device once. 0, or a negative number and the reason in error. */
int check_find_facts(const struct probe_options *options, struct check_facts *ret, char *error);

/*
 * Runs a check whose needs are met; reason is empty for RESULT_OK. *ret_served:
 * false if the server did not let us in.
 */
enum result check_run(const struct check *check, const struct probe_options *options,
		      const struct check_facts *facts, char *reason, bool *ret_served);
