/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmocka, with the headers that it wants in front of it. */
#pragma once

#include <pthread.h>
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

static inline void *unit_nothing(void *arg)
{
	return arg;
}

/*
 * For tests that look for threads by name: TSan starts one of its own with the
 * first that a program starts, and it is called as that is.
 */
static inline void unit_name_no_foreign_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, unit_nothing, NULL) == 0)
		pthread_join(thread, NULL);
}
