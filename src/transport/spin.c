/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/spin.h"

#include <sched.h>

enum { FIRST_NS = 10000 };

/* On a single CPU, polling only keeps the client from running. */
static bool one_cpu(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
}

void spin_init(struct spin *spin, int poll_us)
{
	*spin = (struct spin){ .adaptive = poll_us == SPIN_AUTO };
	if (spin->adaptive)
		spin->max_ns = one_cpu() ? 0 : SPIN_AUTO_MAX_US * 1000ULL;
	else
		spin->max_ns = spin->budget_ns = (uint64_t)poll_us * 1000;
}

void spin_slept(struct spin *spin, uint64_t waited_ns)
{
	if (!spin->adaptive)
		return;
	if (waited_ns > spin->max_ns)
		spin->budget_ns = 0;
	else if (spin->budget_ns < FIRST_NS)
		spin->budget_ns = FIRST_NS;
	else
		spin->budget_ns *= 2;
	if (spin->budget_ns > spin->max_ns)
		spin->budget_ns = spin->max_ns;
}
