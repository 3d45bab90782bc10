/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shadow of a frame: what was last seen in the pixel memory, byte for byte
 * (raw), and the same as XRGB8888 for viewers (pixels). Only one thread uses a
 * shadow.
 *
 * The pixel memory changes while it is read. So a changed tile is copied into
 * raw once, and pixels are made from that copy: what a viewer sees and what the
 * next comparison compares with are the same bytes, and a store that came
 * in between is found by the next pass.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scanout/scanout.h"
#include "scanout/tiles.h"

struct shadow {
	uint32_t width, height; /* 0 if nothing is allocated */
	enum scanout_format format;
	bool known; /* raw is what was seen; else the picture is black and means nothing */
	size_t raw_stride;
	uint8_t *raw;
	uint32_t *pixels; /* width x height; raw itself if the format is the host's XRGB8888 */
	struct tile_map tiles;
};

/*
 * Makes it a black picture of this size for pixels of this format, keeping the
 * memory if that fits. Returns 0 or -ENOMEM (then it is empty).
 */
int shadow_reset(struct shadow *shadow, uint32_t width, uint32_t height,
		 enum scanout_format format);

/* Frees the memory; all zero is a valid empty shadow. */
void shadow_done(struct shadow *shadow);

/*
 * Looks at the frame whose first pixel is at first_pixel and takes over what
 * changed. Returns the number of rectangles, which do not overlap and cover
 * every change; all of the frame the first time after shadow_reset().
 */
size_t shadow_update(struct shadow *shadow, const uint8_t *first_pixel, size_t stride,
		     struct scanout_rect rects[TILES_MAX_RECTS]);
