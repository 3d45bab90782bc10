/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * EDID: what a display tells a guest about itself (VESA E-EDID 1.4 with one
 * CTA-861 extension block).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
	EDID_BLOCK_SIZE = 128,
	EDID_MAX_SIZE = 8 * EDID_BLOCK_SIZE,
	EDID_MAX_NAME = 13, /* bytes of a display's name */
	EDID_MIN_WIDTH = 640,
	EDID_MIN_HEIGHT = 480,
	EDID_MAX_WIDTH = 4095, /* a detailed timing has 12 bits for either */
	EDID_MAX_HEIGHT = 4095,
};

struct edid_config {
	/* 1 to EDID_MAX_NAME printable ASCII characters, the last one no space. */
	const char *name;
	uint32_t serial; /* 0: none */
	/*
	 * The preferred mode in pixels, EDID_MIN_… to EDID_MAX_…. It is announced at
	 * 60 Hz; or at 50 or 30 Hz where a detailed timing has no room for the pixel
	 * clock (655.35 MHz: from about 4000x2500 up).
	 */
	uint32_t width, height;
	/* Modes whose 32-bit frame is longer than this many bytes are left out. */
	uint64_t max_frame_size;
};

/*
 * Writes the blocks into ret_edid and leaves what follows them alone. Returns
 * their length, a multiple of EDID_BLOCK_SIZE; or -EINVAL, with ret_edid
 * untouched, if the name or the preferred mode is not as above, or the preferred
 * mode does not fit max_frame_size.
 */
int edid_make(const struct edid_config *config, uint8_t ret_edid[EDID_MAX_SIZE]);
