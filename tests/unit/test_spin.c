/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/spin.h"

#include <sched.h>

#include "unit.h"

static void a_fixed_time_stays(void **state)
{
	struct spin spin;

	spin_init(&spin, 0);
	assert_int_equal(spin_budget(&spin), 0);
	spin_slept(&spin, 1);
	assert_int_equal(spin_budget(&spin), 0);

	spin_init(&spin, SPIN_MAX_US);
	assert_int_equal(spin_budget(&spin), 1000000000);
	spin_slept(&spin, UINT64_MAX);
	assert_int_equal(spin_budget(&spin), 1000000000);
}

static void short_sleeps_are_learnt_from(void **state)
{
	struct spin spin = { .adaptive = true, .max_ns = 50000 };

	assert_int_equal(spin_budget(&spin), 0); /* an idle vGPU costs nothing */
	spin_slept(&spin, 49999);
	assert_int_equal(spin_budget(&spin), 10000);
	spin_slept(&spin, 1000);
	assert_int_equal(spin_budget(&spin), 20000);
	spin_slept(&spin, 50000);
	spin_slept(&spin, 50000);
	assert_int_equal(spin_budget(&spin), 50000); /* never above the limit */
	spin_slept(&spin, 50001);
	assert_int_equal(spin_budget(&spin), 0);
	spin_slept(&spin, UINT64_MAX);
	assert_int_equal(spin_budget(&spin), 0);
}

/* With one CPU, polling only keeps the client from running. */
static void one_cpu_does_not_spin(void **state)
{
	cpu_set_t all, one;
	struct spin spin;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	spin_init(&spin, SPIN_AUTO);
	assert_int_equal(spin.max_ns, CPU_COUNT(&all) > 1 ? SPIN_AUTO_MAX_US * 1000 : 0);

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	spin_init(&spin, SPIN_AUTO);
	spin_slept(&spin, 1);
	assert_int_equal(spin_budget(&spin), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_time_stays),
		cmocka_unit_test(short_sleeps_are_learnt_from),
		cmocka_unit_test(one_cpu_does_not_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
