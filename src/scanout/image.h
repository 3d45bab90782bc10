/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A picture as a file, and as a number. */
#pragma once

#include <stdint.h>

#include "scanout/scanout.h"

/*
 * XXH3 (64 bits) over width and height (u32 little-endian each) and then
 * every pixel as three bytes R, G, B, row by row: the same for two pictures
 * exactly if a person could not tell them apart, whatever the format in the
 * guest was.
 */
uint64_t scanout_image_hash(const struct scanout_image *image);

/*
 * Writes the picture as an 8-bit RGB PNG to fd at its current position.
 * Returns 0 or a negative errno; fd stays the caller's.
 */
int scanout_image_write_png(const struct scanout_image *image, int fd);
