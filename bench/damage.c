/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What damage detection costs: shadow_update() on frames of which nothing, 1 %
 * or all has changed, against the floor of comparing the same buffers row by
 * row with memcmp() (and, where all has changed, of copying them with
 * memcpy()). Frames are visited in turn so that all of them together are
 * several times larger than the last-level cache, as they are in the life of
 * a scanout that looks 60 times a second.
 *
 * Prints one JSON object. "ratio" is floor time / our time: 1 is as fast as
 * the floor, and more is better.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "scanout/compare.h"
#include "scanout/shadow.h"

enum {
	ROUNDS = 7,
};

struct frame {
	uint8_t *mem;
	struct shadow shadow;
};

struct set {
	uint32_t width, height;
	size_t n;
	struct frame *frames;
};

static volatile int sink;
static const size_t total_bytes = (size_t)512 << 20; /* memory and shadows together */

static uint8_t *frame_memory(size_t size)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void set_init(struct set *set, uint32_t width, uint32_t height)
{
	size_t size = (size_t)width * height * 4;
	struct scanout_rect rects[TILES_MAX_RECTS];

	*set = (struct set){ .width = width, .height = height, .n = total_bytes / size / 2 };
	set->frames = calloc(set->n, sizeof(*set->frames));
	for (size_t i = 0; i < set->n; i++) {
		struct frame *f = &set->frames[i];

		f->mem = frame_memory(size);
		for (size_t j = 0; j < size; j++)
			f->mem[j] = (uint8_t)(j * 31 + i);
		if (shadow_reset(&f->shadow, width, height, SCANOUT_XRGB8888) < 0)
			exit(1);
		shadow_update(&f->shadow, f->mem, (size_t)width * 4, rects);
	}
}

static void set_done(struct set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		munmap(set->frames[i].mem, (size_t)set->width * set->height * 4);
		shadow_done(&set->frames[i].shadow);
	}
	free(set->frames);
}

/* Changes one pixel in each of percent % of the tiles, spread evenly. */
static void change(struct set *set, unsigned int percent)
{
	for (size_t i = 0; i < set->n; i++) {
		unsigned int acc = 0;

		for (uint32_t y = 0; y < set->height; y += TILE_HEIGHT)
			for (uint32_t x = 0; x < set->width; x += TILE_WIDTH) {
				acc += percent;
				if (acc < 100)
					continue;
				acc -= 100;
				set->frames[i].mem[((size_t)y * set->width + x) * 4]++;
			}
	}
}

static uint64_t time_update(struct set *set)
{
	struct scanout_rect rects[TILES_MAX_RECTS];
	uint64_t start = clock_ns();

	for (size_t i = 0; i < set->n; i++)
		sink = (int)shadow_update(&set->frames[i].shadow, set->frames[i].mem,
					  (size_t)set->width * 4, rects);
	return set->n ? (clock_ns() - start) / set->n : 0;
}

static uint64_t time_memcmp(struct set *set)
{
	size_t row = (size_t)set->width * 4;
	uint64_t start = clock_ns();

	for (size_t i = 0; i < set->n; i++)
		for (uint32_t y = 0; y < set->height; y++)
			sink = memcmp(set->frames[i].mem + y * row,
				      set->frames[i].shadow.raw + y * row, row);
	return set->n ? (clock_ns() - start) / set->n : 0;
}

static uint64_t time_memcpy(struct set *set)
{
	size_t row = (size_t)set->width * 4;
	uint64_t start = clock_ns();

	for (size_t i = 0; i < set->n; i++)
		for (uint32_t y = 0; y < set->height; y++)
			memcpy(set->frames[i].shadow.raw + y * row, set->frames[i].mem + y * row,
			       row);
	return set->n ? (clock_ns() - start) / set->n : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

/* Ours and the floor in turn, so that what else runs on the machine meets both. */
static void measure(struct set *set, const char *size, unsigned int percent, bool last)
{
	uint64_t ours[ROUNDS], floor_cmp[ROUNDS], floor_cpy[ROUNDS], u, c, m;

	for (int i = 0; i < ROUNDS; i++) {
		floor_cmp[i] = time_memcmp(set); /* all rows equal, as nothing is pending */
		floor_cpy[i] = time_memcpy(set);
		change(set, percent);
		ours[i] = time_update(set);
	}
	u = median(ours);
	c = median(floor_cmp);
	m = median(floor_cpy);
	printf("  {\"frame\": \"%s\", \"changed_percent\": %u, \"scan_us\": %.1f, "
	       "\"memcmp_us\": %.1f, \"memcpy_us\": %.1f, \"ratio_memcmp\": %.2f, "
	       "\"ratio_memcmp_plus_memcpy\": %.2f}%s\n",
	       size, percent, (double)u / 1e3, (double)c / 1e3, (double)m / 1e3,
	       (double)c / (double)u, (double)(c + m) / (double)u, last ? "" : ",");
}

int main(void)
{
	static const struct {
		const char *name;
		uint32_t width, height;
	} sizes[] = { { "1920x1080", 1920, 1080 }, { "3840x2160", 3840, 2160 } };
	static const unsigned int percents[] = { 0, 1, 100 };

	printf("{\"benchmark\": \"damage\", \"kernel\": \"%s\", \"tile\": \"%dx%d\", "
	       "\"working_set_mib\": %zu, \"results\": [\n",
	       compare_best()->name, TILE_WIDTH, TILE_HEIGHT, total_bytes >> 20);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct set set;

		set_init(&set, sizes[i].width, sizes[i].height);
		for (size_t j = 0; j < ARRAY_SIZE(percents); j++)
			measure(&set, sizes[i].name, percents[j],
				i + 1 == ARRAY_SIZE(sizes) && j + 1 == ARRAY_SIZE(percents));
		set_done(&set);
	}
	printf("]}\n");
	return 0;
}
