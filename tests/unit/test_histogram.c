/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/histogram.h"
#include "unit.h"

static void empty(void **state)
{
	static struct histogram h;
	struct histogram_summary s;

	histogram_summarize(&h, &s);
	assert_int_equal(s.count, 0);
	assert_int_equal(s.p50, 0);
	assert_int_equal(s.max, 0);
}

static void small_values_are_exact(void **state)
{
	static struct histogram h;
	struct histogram_summary s;

	for (unsigned int i = 1; i <= 10; i++)
		histogram_record(&h, i);
	histogram_summarize(&h, &s);
	assert_int_equal(s.count, 10);
	assert_int_equal(s.p50, 5);
	assert_int_equal(s.p90, 9);
	assert_int_equal(s.p99, 10);
	assert_int_equal(s.max, 10);
}

static void error_is_bounded(void **state)
{
	for (uint64_t v = 1; v < (uint64_t)1 << 39; v = v * 3 / 2 + 1) {
		static struct histogram h;
		struct histogram_summary s;

		h = (struct histogram){ 0 };
		histogram_record(&h, v);
		histogram_record(&h, v * 2); /* so that max does not clamp the answer */
		histogram_summarize(&h, &s);
		assert_true(s.p50 >= v - v / 8);
		assert_true(s.p50 <= v + v / 8);
		assert_int_equal(s.max, v * 2);
	}
}

static void longer_than_the_range(void **state)
{
	static struct histogram h;
	struct histogram_summary s;

	histogram_record(&h, UINT64_MAX);
	histogram_summarize(&h, &s);
	assert_int_equal(s.count, 1);
	assert_true(s.max == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(error_is_bounded),
		cmocka_unit_test(longer_than_the_range),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
