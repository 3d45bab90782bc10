/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/spin.h"

#include <sched.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL(sched_yield), SYSCALL_IF(getrusage, ARG_IS(0, RUSAGE_THREAD)));

enum {
	FIRST_NS = 10000,
	/* A yield with nobody to yield to is over sooner. */
	YIELD_NS = 1500,
	PAUSE_NS = 10000000,
	PAUSE_MAX_NS = 1000000000,
};

void spin_init(struct spin *spin, int poll_us)
{
	*spin = (struct spin){ .adaptive = poll_us == SPIN_AUTO };
	if (spin->adaptive)
		spin->max_ns = SPIN_AUTO_MAX_US * 1000ULL;
	else
		spin->max_ns = spin->budget_ns = (uint64_t)poll_us * 1000;
}

/*
 * A yield also lasts long when an interrupt or the host's scheduler got in
 * between, neither of which is anybody that polling could keep from running.
 */
static bool another_thread_ran(struct spin *spin)
{
	uint64_t before = spin->switches;
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage) < 0)
		return true;
	spin->switches = (uint64_t)usage.ru_nivcsw;
	return spin->switches != before;
}

bool spin_yield(struct spin *spin)
{
	uint64_t start = clock_ns(), now;

	sched_yield();
	now = clock_ns();
	if (now - start < YIELD_NS || !another_thread_ran(spin))
		return true;
	spin_pause(spin, now);
	return false;
}

void spin_pause(struct spin *spin, uint64_t now_ns)
{
	spin->pause_ns = spin->pause_ns ? spin->pause_ns * 2 : PAUSE_NS;
	if (spin->pause_ns > PAUSE_MAX_NS)
		spin->pause_ns = PAUSE_MAX_NS;
	spin->paused_until_ns = now_ns + spin->pause_ns;
}

void spin_hit(struct spin *spin)
{
	spin->pause_ns /= 2;
	if (spin->pause_ns < PAUSE_NS)
		spin->pause_ns = 0;
}

void spin_slept(struct spin *spin, uint64_t waited_ns)
{
	if (!spin->adaptive)
		return;
	if (waited_ns > spin->max_ns)
		spin->budget_ns /= 2;
	else if (spin->budget_ns < FIRST_NS)
		spin->budget_ns = FIRST_NS;
	else
		spin->budget_ns *= 2;
	if (spin->budget_ns < FIRST_NS)
		spin->budget_ns = 0;
	if (spin->budget_ns > spin->max_ns)
		spin->budget_ns = spin->max_ns;
}
