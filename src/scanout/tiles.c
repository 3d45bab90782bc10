/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/tiles.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int tile_map_init(struct tile_map *map, uint32_t width, uint32_t height)
{
	uint32_t columns = (width + TILE_WIDTH - 1) / TILE_WIDTH;
	uint32_t bands = (height + TILE_HEIGHT - 1) / TILE_HEIGHT;
	size_t words = (columns + 63) / 64;
	uint64_t *bits = calloc(bands * words, sizeof(*bits));

	if (!bits)
		return -ENOMEM;
	*map = (struct tile_map){
		.width = width,
		.height = height,
		.columns = columns,
		.bands = bands,
		.words = words,
		.bits = bits,
	};
	return 0;
}

void tile_map_done(struct tile_map *map)
{
	free(map->bits);
	*map = (struct tile_map){ 0 };
}

void tile_map_clear(struct tile_map *map)
{
	memset(map->bits, 0, map->bands * map->words * sizeof(*map->bits));
}

void tile_map_fill(struct tile_map *map)
{
	uint32_t rest = map->columns & 63;

	memset(map->bits, 0xff, map->bands * map->words * sizeof(*map->bits));
	if (!rest)
		return;
	for (uint32_t band = 0; band < map->bands; band++)
		tile_map_band(map, band)[map->words - 1] = ((uint64_t)1 << rest) - 1;
}

/* The first column at or after `from` whose bit is `set`; map->columns if there is none. */
static uint32_t find(const struct tile_map *map, uint32_t band, uint32_t from, bool set)
{
	const uint64_t *bits = tile_map_band(map, band);

	while (from < map->columns) {
		uint64_t word = (set ? bits[from >> 6] : ~bits[from >> 6]) >> (from & 63);

		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			return from < map->columns ? from : map->columns;
		}
		from = (from | 63) + 1;
	}
	return map->columns;
}

uint32_t tile_map_run(const struct tile_map *map, uint32_t band, uint32_t *first)
{
	uint32_t start = find(map, band, *first, true);

	if (start == map->columns)
		return 0;
	*first = start;
	return find(map, band, start, false) - start;
}

/* From the first set tile of a band to the last one; false if there is none. */
static bool band_span(const struct tile_map *map, uint32_t band, uint32_t *ret_first,
		      uint32_t *ret_n)
{
	uint32_t first = 0, n, end = 0, at = 0;
	bool any = false;

	while ((n = tile_map_run(map, band, &at))) {
		if (!any)
			first = at;
		any = true;
		end = at + n;
		at = end;
	}
	if (any) {
		*ret_first = first;
		*ret_n = end - first;
	}
	return any;
}

struct builder {
	const struct tile_map *map;
	struct scanout_rect *rects; /* in tiles until the end */
	size_t n;
};

/*
 * Adds a run of a band: makes a rectangle that ended just above and is as wide
 * one band taller, or opens another. False if there is no room. Rectangles are
 * few, so they are simply searched, newest first.
 */
static bool add_run(struct builder *b, uint32_t band, uint32_t first, uint32_t n)
{
	for (size_t i = b->n; i-- > 0;) {
		struct scanout_rect *r = &b->rects[i];

		if (r->x == first && r->width == n && r->y + r->height == band) {
			r->height++;
			return true;
		}
	}
	if (b->n == TILES_MAX_RECTS)
		return false;
	b->rects[b->n++] = (struct scanout_rect){ .x = first, .y = band, .width = n, .height = 1 };
	return true;
}

static bool build_exact(struct builder *b)
{
	b->n = 0;
	for (uint32_t band = 0; band < b->map->bands; band++)
		for (uint32_t at = 0, n; (n = tile_map_run(b->map, band, &at)); at += n)
			if (!add_run(b, band, at, n))
				return false;
	return true;
}

static bool build_spans(struct builder *b)
{
	b->n = 0;
	for (uint32_t band = 0; band < b->map->bands; band++) {
		uint32_t first, n;

		if (band_span(b->map, band, &first, &n) && !add_run(b, band, first, n))
			return false;
	}
	return true;
}

static void build_extents(struct builder *b)
{
	uint32_t x1 = b->map->columns, x2 = 0, y1 = b->map->bands, y2 = 0;

	for (uint32_t band = 0; band < b->map->bands; band++) {
		uint32_t first, n;

		if (!band_span(b->map, band, &first, &n))
			continue;
		if (y1 > band)
			y1 = band;
		y2 = band + 1;
		if (x1 > first)
			x1 = first;
		if (x2 < first + n)
			x2 = first + n;
	}
	b->rects[0] = (struct scanout_rect){ x1, y1, x2 - x1, y2 - y1 };
	b->n = 1;
}

static void tiles_to_pixels(const struct tile_map *map, struct scanout_rect *r)
{
	r->x *= TILE_WIDTH;
	r->y *= TILE_HEIGHT;
	r->width *= TILE_WIDTH;
	r->height *= TILE_HEIGHT;
	if (r->width > map->width - r->x)
		r->width = map->width - r->x;
	if (r->height > map->height - r->y)
		r->height = map->height - r->y;
}

size_t tile_map_rects(const struct tile_map *map, struct scanout_rect rects[TILES_MAX_RECTS])
{
	struct builder b = { .map = map, .rects = rects };

	if (!build_exact(&b) && !build_spans(&b))
		build_extents(&b);
	for (size_t i = 0; i < b.n; i++)
		tiles_to_pixels(map, &rects[i]);
	return b.n;
}
