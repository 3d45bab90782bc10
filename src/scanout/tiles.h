/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The map of changed tiles of a frame, and the rectangles that it amounts to. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "scanout/scanout.h"

enum {
	/*
	 * Measured: the scan is bound by memory and takes the same time with
	 * tiles from 32x16 to 64x32; at 128 it loses a tenth where 1 % of them
	 * change. So these are small for the sake of what viewers are sent, but
	 * not so small that rectangles become many.
	 */
	TILE_WIDTH = 64,
	TILE_HEIGHT = 16,
	TILES_MAX_RECTS = 128, /* more than a viewer gains from being told apart */
};

struct tile_map {
	uint32_t width, height; /* of the frame, pixels */
	uint32_t columns, bands; /* of tiles */
	size_t words; /* 64-bit words a band */
	uint64_t *bits; /* bands x words */
};

/* Returns 0 or -ENOMEM. All tiles are clear. */
int tile_map_init(struct tile_map *map, uint32_t width, uint32_t height);
void tile_map_done(struct tile_map *map);

void tile_map_clear(struct tile_map *map);
void tile_map_fill(struct tile_map *map);

static inline uint64_t *tile_map_band(const struct tile_map *map, uint32_t band)
{
	return map->bits + band * map->words;
}

/*
 * Finds the next run of set tiles in a band from column *first on. Returns its
 * length in tiles with *first at its start, or 0.
 */
uint32_t tile_map_run(const struct tile_map *map, uint32_t band, uint32_t *first);

/*
 * The set tiles as at most TILES_MAX_RECTS rectangles in pixels that do not
 * overlap: exactly them, or, where that takes too many, the span from the first
 * to the last in every band, or at last one rectangle around all. Returns
 * their number.
 */
size_t tile_map_rects(const struct tile_map *map, struct scanout_rect rects[TILES_MAX_RECTS]);
