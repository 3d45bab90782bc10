/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparison kernels, the tile map and the shadow against plain references. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "scanout/compare.h"
#include "scanout/shadow.h"
#include "scanout/tiles.h"
#include "unit.h"

static uint32_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void kernels_agree(void **state)
{
	static uint8_t a_buffer[8192 + 64], b_buffer[8192 + 64];

	assert_ptr_equal(compare_best(), compare_nth(0));
	for (int round = 0; round < 3000; round++) {
		size_t tile = rnd(2) ? 256 : 128, bytes = 1 + rnd(8192);
		uint8_t *a = a_buffer + rnd(64), *b = b_buffer + rnd(64);
		uint64_t preset = rnd(4) ? 0 : (uint64_t)rnd(UINT32_MAX) << 8;
		uint64_t expect[1] = { preset };
		const struct compare_kernel *kernel;

		for (size_t i = 0; i < bytes; i++)
			a[i] = b[i] = (uint8_t)rnd(256);
		for (uint32_t n = rnd(6); n; n--)
			a[rnd((uint32_t)bytes)] ^= (uint8_t)(1 << rnd(8));
		for (size_t i = 0; i < bytes; i++)
			if (a[i] != b[i])
				expect[0] |= (uint64_t)1 << (i / tile);
		for (size_t k = 0; (kernel = compare_nth(k)); k++) {
			uint64_t got[1] = { preset };

			kernel->row(a, b, bytes, tile, got);
			assert_true(got[0] == expect[0]);
		}
	}
}

/* Every single byte of a tile counts, for every kernel. */
static void kernels_see_every_byte(void **state)
{
	static uint8_t a[700], b[700];
	const struct compare_kernel *kernel;

	for (size_t k = 0; (kernel = compare_nth(k)); k++)
		for (size_t i = 0; i < sizeof(a); i++) {
			uint64_t tiles = 0;

			a[i] = 1;
			kernel->row(a, b, sizeof(a), 256, &tiles);
			assert_int_equal(tiles, 1 << (i / 256));
			a[i] = 0;
		}
}

/* Checks that rects cover the set tiles, do not overlap, and returns what they cover. */
static size_t check_rects(const struct tile_map *map, const struct scanout_rect *rects, size_t n)
{
	_cleanup_free_ uint8_t *covered = calloc(map->columns, map->bands);
	size_t tiles = 0;

	assert_true(n <= TILES_MAX_RECTS);
	for (size_t i = 0; i < n; i++) {
		const struct scanout_rect *r = &rects[i];

		assert_true(r->width && r->height);
		assert_true(r->x + r->width <= map->width && r->y + r->height <= map->height);
		for (uint32_t y = r->y / TILE_HEIGHT; y * TILE_HEIGHT < r->y + r->height; y++)
			for (uint32_t x = r->x / TILE_WIDTH; x * TILE_WIDTH < r->x + r->width;
			     x++) {
				assert_int_equal(covered[y * map->columns + x]++, 0);
				tiles++;
			}
	}
	for (uint32_t y = 0; y < map->bands; y++)
		for (uint32_t x = 0; x < map->columns; x++)
			if (tile_map_band(map, y)[x / 64] >> (x % 64) & 1)
				assert_int_equal(covered[y * map->columns + x], 1);
	return tiles;
}

static void rects_cover_exactly(void **state)
{
	struct scanout_rect rects[TILES_MAX_RECTS];

	for (int round = 0; round < 500; round++) {
		struct tile_map map;
		uint32_t n = rnd(40);
		size_t set = 0;

		assert_int_equal(tile_map_init(&map, 1 + rnd(9000), 1 + rnd(2000)), 0);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t x = rnd(map.columns), y = rnd(map.bands);

			tile_map_band(&map, y)[x / 64] |= (uint64_t)1 << (x % 64);
		}
		for (uint32_t y = 0; y < map.bands; y++)
			for (uint32_t w = 0; w < map.words; w++)
				set += (size_t)__builtin_popcountll(tile_map_band(&map, y)[w]);
		/* So few tiles always fit the bound: nothing more than them is covered. */
		assert_int_equal(check_rects(&map, rects, tile_map_rects(&map, rects)), set);
		tile_map_done(&map);
	}
}

static void rects_merge(void **state)
{
	struct scanout_rect rects[TILES_MAX_RECTS];
	struct tile_map map;

	assert_int_equal(tile_map_init(&map, 16384, 16384), 0);
	assert_int_equal(tile_map_rects(&map, rects), 0);
	tile_map_fill(&map);
	assert_int_equal(tile_map_rects(&map, rects), 1);
	assert_int_equal(rects[0].width, 16384);
	assert_int_equal(rects[0].height, 16384);
	tile_map_done(&map);

	assert_int_equal(tile_map_init(&map, 1366, 768), 0);
	tile_map_fill(&map);
	assert_int_equal(tile_map_rects(&map, rects), 1);
	assert_int_equal(rects[0].width, 1366);
	assert_int_equal(rects[0].height, 768);
	tile_map_clear(&map);
	for (uint32_t y = 3; y < 9; y++)
		tile_map_band(&map, y)[0] = 0x1c0e;
	assert_int_equal(tile_map_rects(&map, rects), 2);
	assert_int_equal(check_rects(&map, rects, 2), 6 * 6);
	tile_map_done(&map);
}

static void rects_are_bounded(void **state)
{
	struct scanout_rect rects[TILES_MAX_RECTS];
	struct tile_map map;
	size_t n;

	/* A chess board: too many rectangles, so each band becomes one. */
	assert_int_equal(tile_map_init(&map, 1920, 1080), 0);
	for (uint32_t y = 0; y < map.bands; y++)
		tile_map_band(&map, y)[0] = y & 1 ? 0x15555555 : 0x2aaaaaaa;
	n = tile_map_rects(&map, rects);
	assert_int_equal(n, map.bands);
	check_rects(&map, rects, n);
	tile_map_done(&map);

	/* More bands than rectangles: one around all. */
	assert_int_equal(tile_map_init(&map, 16384, 16384), 0);
	for (uint32_t y = 5; y < map.bands; y++)
		tile_map_band(&map, y)[y & 3] = (uint64_t)1 << (y % 63);
	n = tile_map_rects(&map, rects);
	assert_int_equal(n, 1);
	check_rects(&map, rects, n);
	assert_int_equal(rects[0].y, 5 * TILE_HEIGHT);
	tile_map_done(&map);
}

static uint32_t reference_pixel(const uint8_t *p, enum scanout_format format)
{
	uint32_t v = format == SCANOUT_RGB565 ? get_le16(p) : (uint32_t)p[0] << 8 | p[1];
	uint32_t r = v >> 11, g = v >> 5 & 63, b = v & 31;

	if (format == SCANOUT_XRGB8888)
		return get_le32(p) & 0xffffff;
	if (format == SCANOUT_BGRX8888)
		return (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	return (r * 33 >> 2) << 16 | (g * 65 >> 4) << 8 | b * 33 >> 2;
}

struct frame {
	uint32_t width, height;
	size_t stride, size;
	enum scanout_format format;
	uint8_t *mem, *before;
};

static void frame_random(struct frame *f)
{
	f->width = 1 + rnd(600);
	f->height = 1 + rnd(120);
	f->format = (enum scanout_format)rnd(4);
	f->stride = f->width * scanout_format_bytes(f->format) + rnd(70);
	f->size = f->stride * f->height;
	f->mem = malloc(f->size);
	f->before = malloc(f->size);
	for (size_t i = 0; i < f->size; i++)
		f->mem[i] = (uint8_t)rnd(256);
}

static bool tile_changed(const struct frame *f, uint32_t column, uint32_t band)
{
	unsigned int bytes = scanout_format_bytes(f->format);

	for (uint32_t y = band * TILE_HEIGHT; y < (band + 1) * TILE_HEIGHT && y < f->height; y++)
		for (uint32_t x = column * TILE_WIDTH;
		     x < (column + 1) * TILE_WIDTH && x < f->width; x++)
			if (memcmp(f->mem + y * f->stride + x * bytes,
				   f->before + y * f->stride + x * bytes, bytes))
				return true;
	return false;
}

/* The pixels are right everywhere, and the damage is the tiles that changed and no more. */
static void check_shadow(const struct frame *f, const struct shadow *s,
			 const struct scanout_rect *rects, size_t n)
{
	size_t changed = 0;

	for (uint32_t y = 0; y < f->height; y++)
		for (uint32_t x = 0; x < f->width; x++)
			assert_int_equal(
				s->pixels[(size_t)y * f->width + x] & 0xffffff,
				reference_pixel(f->mem + y * f->stride +
							x * scanout_format_bytes(f->format),
						f->format));
	for (uint32_t band = 0; band < s->tiles.bands; band++)
		for (uint32_t column = 0; column < s->tiles.columns; column++)
			changed += tile_changed(f, column, band);
	assert_int_equal(check_rects(&s->tiles, rects, n), changed);
}

static void shadow_is_exact(void **state)
{
	struct scanout_rect rects[TILES_MAX_RECTS];
	struct shadow shadow = { 0 };

	for (int round = 0; round < 60; round++) {
		struct frame f;
		size_t n;

		frame_random(&f);
		assert_int_equal(shadow_reset(&shadow, f.width, f.height, f.format), 0);
		n = shadow_update(&shadow, f.mem, f.stride, rects);
		assert_int_equal(n, 1);
		assert_int_equal(rects[0].width, f.width);
		assert_int_equal(rects[0].height, f.height);
		for (int pass = 0; pass < 6; pass++) {
			memcpy(f.before, f.mem, f.size);
			for (uint32_t i = rnd(5); i; i--)
				f.mem[rnd((uint32_t)f.size)] ^= (uint8_t)(1 + rnd(255));
			n = shadow_update(&shadow, f.mem, f.stride, rects);
			check_shadow(&f, &shadow, rects, n);
		}
		free(f.mem);
		free(f.before);
	}
	shadow_done(&shadow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_agree),       cmocka_unit_test(kernels_see_every_byte),
		cmocka_unit_test(rects_cover_exactly), cmocka_unit_test(rects_merge),
		cmocka_unit_test(rects_are_bounded),   cmocka_unit_test(shadow_is_exact),
	};

	return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
