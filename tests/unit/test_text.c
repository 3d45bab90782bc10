/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "unit.h"

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "7", 0, 7 },
		{ "010", 0, 10 }, /* decimal, not octal */
		{ "0x10", 0, 16 },
		{ "0XfF", 0, 255 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "x1", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1K", -EINVAL, 0 },
		{ "12a", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 0x5a;

		assert_int_equal(text_parse_number(cases[i].text, &value), cases[i].r);
		assert_int_equal(value, cases[i].r ? 0x5a : cases[i].value);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "4k", 0, 4096 },
		{ "4K", 0, 4096 },
		{ "16M", 0, 16 << 20 },
		{ "0x10m", 0, 16 << 20 },
		{ "3G", 0, 3ULL << 30 },
		{ "17179869183G", 0, 17179869183ULL << 30 },
		{ "17179869184G", -ERANGE, 0 },
		{ "18446744073709551615K", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "M", -EINVAL, 0 },
		{ "16MB", -EINVAL, 0 },
		{ "16 M", -EINVAL, 0 },
		{ "16T", -EINVAL, 0 },
		{ "-16M", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 0x5a;

		assert_int_equal(text_parse_size(cases[i].text, &value), cases[i].r);
		assert_int_equal(value, cases[i].r ? 0x5a : cases[i].value);
	}
}

static void sizes_are_printed_as_they_are_read(void **state)
{
	static const uint64_t values[] = {
		0,	  1,	      1023,	  1024, 1025, 4096, 1 << 20, (1 << 20) + 1,
		16 << 20, 3ULL << 30, UINT64_MAX,
	};
	char buf[32];

	assert_string_equal(text_size(16 << 20, buf, sizeof(buf)), "16M");
	assert_string_equal(text_size(4096, buf, sizeof(buf)), "4K");
	assert_string_equal(text_size(1ULL << 40, buf, sizeof(buf)), "1024G");
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint64_t value;

		assert_int_equal(text_parse_size(text_size(values[i], buf, sizeof(buf)), &value),
				 0);
		assert_int_equal(value, values[i]);
	}
}

static void texts_are_formatted(void **state)
{
	char *text = text_format("%s is %d", "six", 6);

	assert_string_equal(text, "six is 6");
	free(text);
}

static void items_are_cut_off(void **state)
{
	static const struct {
		const char *text;
		const char *items[5];
	} cases[] = {
		{ "", { NULL } },
		{ "a", { "a" } },
		{ "a=1,b=2", { "a=1", "b=2" } },
		{ "a=1,,2,b=,,,c", { "a=1,2", "b=,", "c" } },
		{ ",,a", { ",a" } },
		{ "a,,", { "a," } },
		{ "a,", { "a" } },
		{ ",a", { "", "a" } },
		{ ",", { "" } },
		{ ",,,,", { ",," } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = strdup(cases[i].text);
		char *rest = text;

		for (const char *const *item = cases[i].items; *item; item++)
			assert_string_equal(text_next_item(&rest), *item);
		assert_null(text_next_item(&rest));
		assert_null(text_next_item(&rest));
	}
}

static void invalid_utf8_is_replaced(void **state)
{
	static const struct {
		const char *text, *clean;
	} cases[] = {
		{ "", "" },
		{ "plain\n\x7f", "plain\n\x7f" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf",
		  "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf" },
		{ "\xee\x80\x80\xf4\x8f\xbf\xbf", "\xee\x80\x80\xf4\x8f\xbf\xbf" },
		{ "caf\xe9", "caf?" }, /* Latin-1 */
		{ "\xe9t\xe9", "?t?" },
		{ "\x80\xbf", "??" }, /* continuations of nothing */
		{ "\xc0\xaf\xc1\x81", "????" }, /* overlong */
		{ "\xe0\x9f\xbf", "???" },
		{ "\xf0\x8f\xbf\xbf", "????" },
		{ "\xed\xa0\x80", "???" }, /* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* above U+10FFFF */
		{ "\xf5\xff", "??" },
		{ "\xc3", "?" }, /* cut off */
		{ "\xe2\x82", "??" },
		{ "\xf0\x9f\x98", "???" },
		{ "\xe2\x82\xc3\xa9", "??\xc3\xa9" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *clean = text_utf8(cases[i].text);

		assert_string_equal(clean, cases[i].clean);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(sizes_are_printed_as_they_are_read),
		cmocka_unit_test(texts_are_formatted),
		cmocka_unit_test(invalid_utf8_is_replaced),
		cmocka_unit_test(items_are_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
