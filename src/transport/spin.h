/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long to poll for the next request before going to sleep. A wake-up costs
 * more than ten times what a poll does, so it pays to wait awake for a guest
 * that is likely to be back at once, and for no other. Two rules:
 *
 * Likely to be back. As KVM's halt polling: a sleep that turned out shorter
 * than the limit would have been worth polling through, so the budget doubles;
 * one that lasted longer was not, and the budget halves, to nothing in the end.
 * At the worst an access costs the limit in CPU time. A fixed time (poll_us) is
 * not touched by this rule.
 *
 * Alone. Who polls now and then yields the CPU. If another thread took it,
 * the CPU is wanted: perhaps by the very client that we wait for. Then nothing
 * is polled for a while, a fixed time or not: 10 ms, and twice as long each
 * time that somebody is still there, up to a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	SPIN_AUTO = -1,
	SPIN_AUTO_MAX_US = 200, /* what KVM has */
	SPIN_MAX_US = 1000000,
};

struct spin {
	bool adaptive;
	uint64_t max_ns;
	uint64_t budget_ns; /* now, if alone */
	uint64_t pause_ns; /* the last pause; 0: none lately */
	uint64_t paused_until_ns;
	uint64_t switches; /* times that this thread has lost its CPU, when last seen */
};

/* poll_us is SPIN_AUTO, or a fixed time of 0 to SPIN_MAX_US microseconds. */
void spin_init(struct spin *spin, int poll_us);

/* Nanoseconds to poll before sleeping. */
static inline uint64_t spin_budget(const struct spin *spin, uint64_t now_ns)
{
	return now_ns < spin->paused_until_ns ? 0 : spin->budget_ns;
}

/*
 * While polling: lets others have the CPU. False if another thread took it,
 * which spin_pause() has been told: stop polling.
 */
bool spin_yield(struct spin *spin);

/* Somebody else wants this CPU. */
void spin_pause(struct spin *spin, uint64_t now_ns);

/* The request came while we polled. */
void spin_hit(struct spin *spin);

/* The request came waited_ns after the last answer, and we had gone to sleep. */
void spin_slept(struct spin *spin, uint64_t waited_ns);
