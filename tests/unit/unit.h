/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmocka, with the headers that it wants in front of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Skips the test; tests/run repeats the reason. */
#define SKIP_BECAUSE(reason)                                                                       \
	do {                                                                                       \
		print_message("SKIPPED BECAUSE %s\n", reason);                                     \
		skip();                                                                            \
	} while (0)
