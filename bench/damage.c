/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What damage detection costs: shadow_update() on frames of which nothing, 1 %
 * or all has changed, against the floor of comparing the same buffers row by
 * row with memcmp() (and, where all has changed, of copying them with
 * memcpy()). Frames are visited in turn so that all of them together are
 * several times larger than the last-level cache, as they are in the life of
 * a scanout that looks 60 times a second.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "bench.h"
#include "scanout/compare.h"
#include "scanout/shadow.h"

struct frame {
	uint8_t *mem;
	struct shadow shadow;
};

struct set {
	uint32_t width, height;
	size_t n;
	struct frame *frames;
	unsigned int percent; /* of the tiles change between two looks */
};

static volatile int sink;
static const unsigned int total_bytes = 512U << 20; /* memory and shadows together */

static uint8_t *frame_memory(size_t size)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("mmap");
	return p;
}

static void set_init(struct set *set, uint32_t width, uint32_t height)
{
	size_t size = (size_t)width * height * 4;
	struct scanout_rect rects[TILES_MAX_RECTS];

	*set = (struct set){ .width = width,
			     .height = height,
			     .n = bench_count(total_bytes / (unsigned int)size / 2, 1) };
	set->frames = calloc(set->n, sizeof(*set->frames));
	for (size_t i = 0; i < set->n; i++) {
		struct frame *f = &set->frames[i];

		f->mem = frame_memory(size);
		for (size_t j = 0; j < size; j++)
			f->mem[j] = (uint8_t)(j * 31 + i);
		if (shadow_reset(&f->shadow, width, height, SCANOUT_XRGB8888) < 0)
			bench_die("a shadow");
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
static void change(struct set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		unsigned int acc = 0;

		for (uint32_t y = 0; y < set->height; y += TILE_HEIGHT)
			for (uint32_t x = 0; x < set->width; x += TILE_WIDTH) {
				acc += set->percent;
				if (acc < 100)
					continue;
				acc -= 100;
				set->frames[i].mem[((size_t)y * set->width + x) * 4]++;
			}
	}
}

static double per_frame_us(const struct set *set, uint64_t start)
{
	return (double)(clock_ns() - start) / (double)set->n / 1e3;
}

static double scan(void *opaque)
{
	struct scanout_rect rects[TILES_MAX_RECTS];
	struct set *set = opaque;
	uint64_t start;

	change(set);
	start = clock_ns();
	for (size_t i = 0; i < set->n; i++)
		sink = (int)shadow_update(&set->frames[i].shadow, set->frames[i].mem,
					  (size_t)set->width * 4, rects);
	return per_frame_us(set, start);
}

/* All rows are equal, as nothing is pending: so it looks at every byte. */
static double compare_rows(void *opaque)
{
	struct set *set = opaque;
	size_t row = (size_t)set->width * 4;
	uint64_t start = clock_ns();

	for (size_t i = 0; i < set->n; i++)
		for (uint32_t y = 0; y < set->height; y++)
			sink = memcmp(set->frames[i].mem + y * row,
				      set->frames[i].shadow.raw + y * row, row);
	return per_frame_us(set, start);
}

static void measure(struct set *set)
{
	_cleanup_free_ char *name =
		text_format("%ux%u, %u %% changed", set->width, set->height, set->percent);
	struct bench_pair pair = bench_compare(bench_count(9, 2), scan, compare_rows, set);

	/* The bar speaks of speed, the pair of time. */
	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "us",
		.measured = pair.ours,
		.floor_is = "memcmp of every row",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = 1 / 0.80,
	});
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[][2] = { { 1920, 1080 }, { 3840, 2160 } };
	static const unsigned int percents[] = { 0, 1, 100 };

	bench_start(argc, argv, "damage");
	bench_pin(0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct set set;

		set_init(&set, sizes[i][0], sizes[i][1]);
		for (size_t j = 0; j < ARRAY_SIZE(percents); j++) {
			set.percent = percents[j];
			measure(&set);
		}
		set_done(&set);
	}
	return 0;
}
