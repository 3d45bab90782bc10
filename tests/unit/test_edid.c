/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "device/edid.h"
#include "unit.h"

#define MIB ((uint64_t)1 << 20)

enum { CANARY = 0x5a };

struct size {
	uint32_t width, height;
};

struct list {
	struct size sizes[64];
	size_t n;
};

static const struct size preferred[] = {
	{ 640, 480 },	{ 1024, 768 },	{ 1280, 800 },	{ 1920, 1080 },
	{ 2560, 1440 }, { 3840, 2160 }, { 4095, 4095 },
};

static const uint64_t budgets[] = { 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB };

static struct edid_config config_of(uint32_t width, uint32_t height, uint64_t max_frame_size)
{
	return (struct edid_config){ "vgpud", 0x01020304, width, height, max_frame_size };
}

static void add(struct list *list, uint32_t width, uint32_t height)
{
	assert_true(list->n < ARRAY_SIZE(list->sizes));
	list->sizes[list->n++] = (struct size){ width, height };
}

static bool has(const struct list *list, uint32_t width, uint32_t height)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->sizes[i].width == width && list->sizes[i].height == height)
			return true;
	return false;
}

static struct size dtd_size(const uint8_t *p)
{
	return (struct size){ p[2] | p[4] >> 4 << 8, p[5] | p[7] >> 4 << 8 };
}

static double dtd_hz(const uint8_t *p)
{
	struct size s = dtd_size(p);
	uint32_t hblank = p[3] | (p[4] & 0xf) << 8, vblank = p[6] | (p[7] & 0xf) << 8;

	return get_le16(p) * 10000.0 / ((s.width + hblank) * (s.height + vblank));
}

static void read_dtd(struct list *list, const uint8_t *p)
{
	struct size s = dtd_size(p);

	assert_true(dtd_hz(p) > 29.9 && dtd_hz(p) < 60.5);
	add(list, s.width, s.height);
}

static void read_standard(struct list *list, const uint8_t *p, size_t n)
{
	static const uint32_t ratio[][2] = { { 16, 10 }, { 4, 3 }, { 5, 4 }, { 16, 9 } };

	for (; n--; p += 2) {
		uint32_t width = (p[0] + 31) * 8;

		if (p[0] == 1 && p[1] == 1)
			continue;
		assert_int_equal(p[1] & 0x3f, 0); /* 60 Hz */
		add(list, width, width * ratio[p[1] >> 6][1] / ratio[p[1] >> 6][0]);
	}
}

static void read_base(struct list *list, const uint8_t *b)
{
	if (b[35] & 0x20)
		add(list, 640, 480);
	if (b[35] & 0x01)
		add(list, 800, 600);
	if (b[36] & 0x08)
		add(list, 1024, 768);
	assert_int_equal(b[35] & ~0x21, 0);
	assert_int_equal(b[36] & ~0x08, 0);
	read_standard(list, b + 38, 8);
	for (const uint8_t *p = b + 54; p < b + 126; p += 18)
		if (get_le16(p))
			read_dtd(list, p);
		else if (p[3] == 0xfa)
			read_standard(list, p + 5, 6);
}

static void read_vic(struct list *list, uint8_t vic)
{
	switch (vic) {
	case 1:
		return add(list, 640, 480);
	case 4:
		return add(list, 1280, 720);
	case 16:
		return add(list, 1920, 1080);
	case 90:
		return add(list, 2560, 1080);
	case 97:
		return add(list, 3840, 2160);
	default:
		fail_msg("VIC %u", vic);
	}
}

static void read_cta(struct list *list, const uint8_t *b)
{
	const uint8_t *p = b + 4;

	assert_int_equal(b[0], 2);
	assert_int_equal(b[1], 3);
	assert_in_range(b[2], 4, 127);
	for (; p < b + b[2]; p += 1 + (*p & 0x1f))
		for (size_t i = 1; *p >> 5 == 2 && i <= (*p & 0x1f); i++)
			read_vic(list, p[i]);
	assert_ptr_equal(p, b + b[2]);
	for (; p + 18 <= b + 127 && get_le16(p); p += 18)
		read_dtd(list, p);
	for (; p < b + 127; p++)
		assert_int_equal(*p, 0);
}

static void check_checksum(const uint8_t *block)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < EDID_BLOCK_SIZE; i++)
		sum = (uint8_t)(sum + block[i]);
	assert_int_equal(sum, 0);
}

/* Makes it, checks what holds for every EDID of ours, and lists its modes. */
static void make(const struct edid_config *config, uint8_t edid[EDID_MAX_SIZE], size_t *ret_length,
		 struct list *ret_list)
{
	static const uint8_t header[] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
	struct list list = { .n = 0 };
	int length;

	memset(edid, CANARY, EDID_MAX_SIZE);
	length = edid_make(config, edid);
	assert_in_range(length, EDID_BLOCK_SIZE, EDID_MAX_SIZE);
	assert_int_equal(length % EDID_BLOCK_SIZE, 0);
	for (int i = length; i < EDID_MAX_SIZE; i++)
		assert_int_equal(edid[i], CANARY);

	assert_memory_equal(edid, header, sizeof(header));
	assert_int_equal(edid[126], length / EDID_BLOCK_SIZE - 1);
	for (int i = 0; i < length; i += EDID_BLOCK_SIZE)
		check_checksum(edid + i);
	read_base(&list, edid);
	for (int i = EDID_BLOCK_SIZE; i < length; i += EDID_BLOCK_SIZE)
		read_cta(&list, edid + i);
	for (size_t i = 0; i < list.n; i++)
		assert_true((uint64_t)list.sizes[i].width * list.sizes[i].height * 4 <=
			    config->max_frame_size);
	*ret_length = (size_t)length;
	*ret_list = list;
}

static void fields(void **state)
{
	struct edid_config config = config_of(1280, 800, 16 * MIB);
	uint8_t edid[EDID_MAX_SIZE];
	struct list list;
	size_t length;

	make(&config, edid, &length, &list);
	assert_int_equal(edid[8] << 8 | edid[9], 'V' % 32 << 10 | 'G' % 32 << 5 | 'P' % 32);
	assert_int_equal(get_le32(edid + 12), 0x01020304);
	assert_int_equal(edid[18], 1);
	assert_int_equal(edid[19], 4);
	assert_int_equal(edid[21], 34); /* cm */
	assert_int_equal(edid[22], 21);
	assert_int_equal(get_le16(edid + 54), 7100); /* DMT 0x1b */
	assert_memory_equal(edid + 72, "\0\0\0\xfc\0vgpud\n       ", 18);
}

static void preferred_comes_first(void **state)
{
	for (uint32_t width = EDID_MIN_WIDTH; width <= EDID_MAX_WIDTH; width += 47)
		for (uint32_t height = EDID_MIN_HEIGHT; height <= EDID_MAX_HEIGHT; height += 31) {
			struct edid_config config = config_of(width, height, width * height * 4);
			uint8_t edid[EDID_MAX_SIZE];
			struct list list;
			size_t length;

			make(&config, edid, &length, &list);
			assert_int_equal(dtd_size(edid + 54).width, width);
			assert_int_equal(dtd_size(edid + 54).height, height);
		}
}

static void large_modes_are_slower(void **state)
{
	static const struct {
		struct size size;
		double hz;
	} cases[] = {
		{ { 3840, 2160 }, 60 }, { { 3840, 2400 }, 60 }, { { 4095, 2304 }, 60 },
		{ { 4095, 2560 }, 50 }, { { 4095, 4095 }, 30 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct edid_config config =
			config_of(cases[i].size.width, cases[i].size.height, 256 * MIB);
		uint8_t edid[EDID_MAX_SIZE];

		assert_true(edid_make(&config, edid) > 0);
		assert_true(dtd_hz(edid + 54) > cases[i].hz - 0.2);
		assert_true(dtd_hz(edid + 54) < cases[i].hz + 0.2);
	}
}

static void budget_filters(void **state)
{
	struct edid_config config = config_of(640, 480, 640 * 480 * 4);
	uint8_t edid[EDID_MAX_SIZE];
	struct list list;
	size_t length;

	make(&config, edid, &length, &list);
	for (size_t i = 0; i < list.n; i++)
		assert_int_equal(list.sizes[i].width, 640);

	config.max_frame_size = 1920 * 1080 * 4;
	make(&config, edid, &length, &list);
	assert_true(has(&list, 1920, 1080));
	assert_false(has(&list, 1920, 1200));
	config.max_frame_size--;
	make(&config, edid, &length, &list);
	assert_false(has(&list, 1920, 1080));
	assert_true(has(&list, 1680, 1050));

	config.max_frame_size = UINT64_MAX;
	make(&config, edid, &length, &list);
	assert_true(has(&list, 800, 600));
	assert_true(has(&list, 1024, 768));
	assert_true(has(&list, 3840, 2160));
}

static void check_refused(const struct edid_config *config)
{
	uint8_t edid[EDID_MAX_SIZE];

	memset(edid, CANARY, sizeof(edid));
	assert_int_equal(edid_make(config, edid), -EINVAL);
	for (size_t i = 0; i < sizeof(edid); i++)
		assert_int_equal(edid[i], CANARY);
}

static void names(void **state)
{
	static const char *const good[] = { "v", "1234567890123", " a b", "!~" };
	static const char *const bad[] = { NULL,      "",     "12345678901234", "tab\t",
					   "line\nd", "\x7f", "\xc3\xa9",	"space " };
	struct edid_config config = config_of(1280, 800, 16 * MIB);
	uint8_t edid[EDID_MAX_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		config.name = good[i];
		assert_true(edid_make(&config, edid) > 0);
		assert_memory_equal(edid + 77, good[i], strlen(good[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config.name = bad[i];
		check_refused(&config);
	}
}

static void sizes(void **state)
{
	static const struct size bad[] = {
		{ 0, 0 },	{ 639, 480 },  { 640, 479 },
		{ 4096, 2160 }, { 640, 4096 }, { UINT32_MAX, UINT32_MAX },
	};
	struct edid_config config;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config = config_of(bad[i].width, bad[i].height, UINT64_MAX);
		check_refused(&config);
	}
	config = config_of(1280, 800, 1280 * 800 * 4 - 1);
	check_refused(&config);
}

/* Fails with edid-decode's report unless it has nothing to complain about. */
static void check_with(const char *program, const struct edid_config *config)
{
	_cleanup_free_ char *command = NULL;
	char path[] = "/tmp/test-edid-XXXXXX", report[16384];
	_cleanup_close_ int fd = mkstemp(path);
	uint8_t edid[EDID_MAX_SIZE];
	struct list list;
	size_t length;
	FILE *output;

	make(config, edid, &length, &list);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, edid, length), length);
	assert_true(asprintf(&command, "'%s' --check %s", program, path) > 0);
	output = popen(command, "r");
	assert_non_null(output);
	report[fread(report, 1, sizeof(report) - 1, output)] = '\0';
	assert_int_equal(unlink(path), 0);
	if (pclose(output) || !strstr(report, "EDID conformity: PASS") ||
	    strstr(report, "Warnings") || strstr(report, "Failures"))
		fail_msg("%ux%u in %llu bytes:\n%s", config->width, config->height,
			 (unsigned long long)config->max_frame_size, report);
}

static void edid_decode_agrees(void **state)
{
	const char *program = getenv("EDID_DECODE");

	if (!program || !*program) {
		SKIP_BECAUSE("edid-decode is not installed, or was not when meson ran");
	}
	for (size_t i = 0; i < ARRAY_SIZE(preferred); i++)
		for (size_t j = 0; j < ARRAY_SIZE(budgets); j++) {
			struct edid_config config =
				config_of(preferred[i].width, preferred[i].height, budgets[j]);

			if ((uint64_t)config.width * config.height * 4 > budgets[j])
				check_refused(&config);
			else
				check_with(program, &config);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(preferred_comes_first),
		cmocka_unit_test(large_modes_are_slower),
		cmocka_unit_test(budget_filters),
		cmocka_unit_test(names),
		cmocka_unit_test(sizes),
		cmocka_unit_test(edid_decode_agrees),
	};

	return cmocka_run_group_tests_name("edid", tests, NULL, NULL);
}
