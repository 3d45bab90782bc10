/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "scanout/compare.h"
#include "scanout/pixels.h"

enum {
	HUGE_PAGE = 2 << 20,
};

/*
 * Zeroed memory for a picture. Large ones are aligned for huge pages: two
 * streams of 4 KiB pages are bounded by TLB misses rather than by memory.
 */
static void *picture_alloc(size_t size)
{
	void *p = NULL;

	if (size < HUGE_PAGE)
		return calloc(1, size);
	if (posix_memalign(&p, HUGE_PAGE, size))
		return NULL;
	madvise(p, size, MADV_HUGEPAGE); /* an advice; fails where the kernel has none */
	memset(p, 0, size);
	return p;
}

void shadow_done(struct shadow *shadow)
{
	if ((uint8_t *)shadow->pixels != shadow->raw)
		free(shadow->pixels);
	free(shadow->raw);
	tile_map_done(&shadow->tiles);
	*shadow = (struct shadow){ 0 };
}

static int shadow_alloc(struct shadow *shadow, uint32_t width, uint32_t height,
			enum scanout_format format)
{
	int r;

	*shadow = (struct shadow){
		.width = width,
		.height = height,
		.format = format,
		.raw_stride = ((size_t)width * scanout_format_bytes(format) + 3) & ~(size_t)3,
	};
	r = tile_map_init(&shadow->tiles, width, height);
	if (r < 0)
		goto fail;
	r = -ENOMEM;
	shadow->raw = picture_alloc(shadow->raw_stride * height);
	if (!shadow->raw)
		goto fail;
	shadow->pixels = pixels_native(format) ? (uint32_t *)shadow->raw
					       : picture_alloc((size_t)width * height * 4);
	if (!shadow->pixels)
		goto fail;
	return 0;

fail:
	shadow_done(shadow);
	return r;
}

int shadow_reset(struct shadow *shadow, uint32_t width, uint32_t height, enum scanout_format format)
{
	if (shadow->width != width || shadow->height != height || shadow->format != format) {
		shadow_done(shadow);
		return shadow_alloc(shadow, width, height, format);
	}
	memset(shadow->pixels, 0, (size_t)width * height * 4);
	if ((uint8_t *)shadow->pixels != shadow->raw)
		memset(shadow->raw, 0, shadow->raw_stride * height);
	shadow->known = false;
	return 0;
}

/* Copies the rows [y, y + rows) of a run of tiles into raw, and from there into pixels. */
static void take_run(struct shadow *shadow, const uint8_t *first_pixel, size_t stride, uint32_t y,
		     uint32_t rows, uint32_t x, uint32_t width)
{
	size_t bytes = scanout_format_bytes(shadow->format);
	uint8_t *raw = shadow->raw + y * shadow->raw_stride + x * bytes;
	const uint8_t *mem = first_pixel + y * stride + x * bytes;

	for (uint32_t i = 0; i < rows; i++)
		memcpy(raw + i * shadow->raw_stride, mem + i * stride, width * bytes);

	if ((uint8_t *)shadow->pixels != shadow->raw)
		pixels_convert(shadow->format, raw, shadow->raw_stride,
			       shadow->pixels + (size_t)y * shadow->width + x,
			       (size_t)shadow->width * 4, width, rows);
}

static bool take_band(struct shadow *shadow, const uint8_t *first_pixel, size_t stride,
		      uint32_t band, uint32_t rows)
{
	bool any = false;

	for (uint32_t at = 0, n; (n = tile_map_run(&shadow->tiles, band, &at)); at += n) {
		uint32_t x = at * TILE_WIDTH;
		uint32_t width = n * TILE_WIDTH;

		if (width > shadow->width - x)
			width = shadow->width - x;
		take_run(shadow, first_pixel, stride, band * TILE_HEIGHT, rows, x, width);
		any = true;
	}
	return any;
}

size_t shadow_update(struct shadow *shadow, const uint8_t *first_pixel, size_t stride,
		     struct scanout_rect rects[TILES_MAX_RECTS])
{
	size_t bytes = scanout_format_bytes(shadow->format);
	compare_row_fn compare_row = compare_best()->row;
	bool any = false;

	if (shadow->known)
		tile_map_clear(&shadow->tiles);
	else
		tile_map_fill(&shadow->tiles);

	/* Band by band, so that what the comparison brought into the cache is copied from there. */
	for (uint32_t band = 0; band < shadow->tiles.bands; band++) {
		uint64_t *bits = tile_map_band(&shadow->tiles, band);
		uint32_t y = band * TILE_HEIGHT;
		uint32_t rows = shadow->height - y < TILE_HEIGHT ? shadow->height - y : TILE_HEIGHT;

		for (uint32_t i = 0; shadow->known && i < rows; i++)
			compare_row(first_pixel + (y + i) * stride,
				    shadow->raw + (y + i) * shadow->raw_stride,
				    shadow->width * bytes, TILE_WIDTH * bytes, bits);
		any |= take_band(shadow, first_pixel, stride, band, rows);
	}
	shadow->known = true;
	return any ? tile_map_rects(&shadow->tiles, rects) : 0;
}
