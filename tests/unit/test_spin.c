/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/spin.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "unit.h"

enum { MS = 1000000, LIMIT = SPIN_AUTO_MAX_US * 1000 };

static void a_fixed_time_stays(void **state)
{
	struct spin spin;

	spin_init(&spin, 0);
	assert_int_equal(spin_budget(&spin, 1), 0);
	spin_slept(&spin, 1);
	assert_int_equal(spin_budget(&spin, 1), 0);

	spin_init(&spin, SPIN_MAX_US);
	assert_int_equal(spin_budget(&spin, 1), 1000000000);
	spin_slept(&spin, UINT64_MAX);
	assert_int_equal(spin_budget(&spin, 1), 1000000000);
}

static void short_sleeps_are_learnt_from(void **state)
{
	struct spin spin = { .adaptive = true, .max_ns = LIMIT };

	assert_int_equal(spin_budget(&spin, 1), 0); /* an idle vGPU costs nothing */
	spin_slept(&spin, LIMIT - 1);
	assert_int_equal(spin_budget(&spin, 1), 10000);
	spin_slept(&spin, 1000);
	assert_int_equal(spin_budget(&spin, 1), 20000);
	for (unsigned int i = 0; i < 10; i++)
		spin_slept(&spin, LIMIT);
	assert_int_equal(spin_budget(&spin, 1), LIMIT); /* never above it */
}

/* One long pause among many short ones does not make it forget. */
static void long_sleeps_are_learnt_from(void **state)
{
	struct spin spin = { .adaptive = true, .max_ns = LIMIT, .budget_ns = LIMIT };
	unsigned int n = 0;

	spin_slept(&spin, LIMIT + 1);
	assert_int_equal(spin_budget(&spin, 1), LIMIT / 2);
	for (; spin_budget(&spin, 1); n++)
		spin_slept(&spin, UINT64_MAX);
	assert_in_range(n, 2, 8);
	spin_slept(&spin, UINT64_MAX);
	assert_int_equal(spin_budget(&spin, 1), 0);
}

/* 100 accesses a second, whenever they come, cost at most 100 times the limit. */
static void a_guest_that_is_seldom_there_is_not_waited_for(void **state)
{
	struct spin spin = { .adaptive = true, .max_ns = LIMIT };
	uint64_t spun = 0, passed = 0;
	unsigned int seed = 5;

	while (passed < 100 * 1000000000ULL) {
		uint64_t gap = 1 + (uint64_t)rand_r(&seed) % (20 * MS);

		passed += gap;
		if (gap <= spin_budget(&spin, 1)) {
			spun += gap;
			spin_hit(&spin);
		} else {
			spun += spin_budget(&spin, 1);
			spin_slept(&spin, gap);
		}
	}
	assert_true(spun * 1000 < passed); /* far less than that: 0.1 % */
}

static void it_pauses_where_the_cpu_is_wanted(void **state)
{
	struct spin spin;
	uint64_t now = 1000000000;

	spin_init(&spin, 100); /* a fixed time too */
	spin_pause(&spin, now);
	assert_int_equal(spin_budget(&spin, now), 0);
	assert_int_equal(spin_budget(&spin, now + 10 * MS - 1), 0);
	assert_int_equal(spin_budget(&spin, now + 10 * MS), 100000);

	/* Longer each time, up to a second. */
	for (uint64_t pause = 20; pause < 640; pause *= 2) {
		spin_pause(&spin, now);
		assert_int_equal(spin_budget(&spin, now + pause * MS - 1), 0);
		assert_int_equal(spin_budget(&spin, now + pause * MS), 100000);
	}
	for (unsigned int i = 0; i < 5; i++)
		spin_pause(&spin, now);
	assert_int_equal(spin_budget(&spin, now + 1000 * MS), 100000);

	/* Until polling is worth its while again. */
	for (unsigned int i = 0; i < 10; i++)
		spin_hit(&spin);
	spin_pause(&spin, now);
	assert_int_equal(spin_budget(&spin, now + 10 * MS), 100000);
}

static atomic_bool stop;

static void *compute(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
	}
	return NULL;
}

static cpu_set_t all_cpus;

/* Onto the first of our CPUs, this thread and those that it starts. */
static void share_one_cpu(void)
{
	cpu_set_t one;

	assert_int_equal(sched_getaffinity(0, sizeof(all_cpus), &all_cpus), 0);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all_cpus))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static int use_all_cpus(void **state)
{
	return sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

static void another_thread_is_noticed(void **state)
{
	struct spin spin;
	pthread_t thread = 0;
	uint64_t before = clock_ns();
	bool alone = true;

	share_one_cpu();
	spin_init(&spin, 100);
	atomic_store(&stop, false);
	assert_int_equal(thread_start(&thread, "compute", compute, NULL), 0);
	while (alone && clock_ns() - before < 10 * 1000ULL * MS)
		alone = spin_yield(&spin);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_false(alone);
	assert_int_equal(spin_budget(&spin, clock_ns()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_time_stays),
		cmocka_unit_test(short_sleeps_are_learnt_from),
		cmocka_unit_test(long_sleeps_are_learnt_from),
		cmocka_unit_test(a_guest_that_is_seldom_there_is_not_waited_for),
		cmocka_unit_test(it_pauses_where_the_cpu_is_wanted),
		cmocka_unit_test_teardown(another_thread_is_noticed, use_all_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
