/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the guest's pixel formats to XRGB8888 in host order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scanout/scanout.h"

/* True if a pixel of this format is a XRGB8888 pixel of this host as it is. */
bool pixels_native(enum scanout_format format);

/*
 * Converts width x height pixels; strides in bytes. src, dst and both strides
 * are multiples of 4. The X byte of dst is undefined.
 */
void pixels_convert(enum scanout_format format, const void *src, size_t src_stride, uint32_t *dst,
		    size_t dst_stride, uint32_t width, uint32_t height);
