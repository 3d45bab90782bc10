/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long to poll for the next request before going to sleep. A wake-up costs
 * more than ten times what a poll does, so it pays to wait awake for a guest
 * that is likely to be back at once, and for no other.
 *
 * The rule is that of KVM's halt polling: a sleep that turned out shorter than
 * the limit would have been worth polling through, so the budget grows; one
 * that lasted longer was not, and the budget falls to nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	SPIN_AUTO = -1,
	SPIN_AUTO_MAX_US = 50,
	SPIN_MAX_US = 1000000,
};

struct spin {
	bool adaptive;
	uint64_t max_ns;
	uint64_t budget_ns; /* now */
};

/* poll_us is SPIN_AUTO, or a fixed time of 0 to SPIN_MAX_US microseconds. */
void spin_init(struct spin *spin, int poll_us);

/* Nanoseconds to poll before sleeping. */
static inline uint64_t spin_budget(const struct spin *spin)
{
	return spin->budget_ns;
}

/* The request came waited_ns after the last answer, and we had gone to sleep. */
void spin_slept(struct spin *spin, uint64_t waited_ns);
