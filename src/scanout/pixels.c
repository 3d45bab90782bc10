/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/pixels.h"

#include <byteswap.h>
#include <endian.h>
#include <pixman.h>
#include <string.h>

static bool byte_order_is_ours(enum scanout_format format)
{
	bool big = format == SCANOUT_BGRX8888 || format == SCANOUT_RGB565_BE;

	return big == (__BYTE_ORDER == __BIG_ENDIAN);
}

unsigned int scanout_format_bytes(enum scanout_format format)
{
	return format == SCANOUT_RGB565 || format == SCANOUT_RGB565_BE ? 2 : 4;
}

bool pixels_native(enum scanout_format format)
{
	return scanout_format_bytes(format) == 4 && byte_order_is_ours(format);
}

static void swap_row_32(const uint32_t *src, uint32_t *dst, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		dst[i] = bswap_32(src[i]);
}

/* Pixman has no 16-bit format of the other byte order. */
static void swap_row_565(const uint16_t *src, uint32_t *dst, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = bswap_16(src[i]);
		uint32_t r = p >> 11, g = p >> 5 & 0x3f, b = p & 0x1f;

		/* The high bits again in the low ones, as pixman does it: white stays white. */
		dst[i] = (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
	}
}

/* False if there is no memory for pixman's two headers. */
static bool convert_565(const void *src, size_t src_stride, uint32_t *dst, size_t dst_stride,
			uint32_t width, uint32_t height)
{
	/* Pixman's type for a source is not const; it only reads it. */
	pixman_image_t *from = pixman_image_create_bits_no_clear(
		PIXMAN_r5g6b5, (int)width, (int)height, (uint32_t *)src, (int)src_stride);
	pixman_image_t *to = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, (int)width,
							       (int)height, dst, (int)dst_stride);
	bool ok = from && to;

	if (ok)
		pixman_image_composite32(PIXMAN_OP_SRC, from, NULL, to, 0, 0, 0, 0, 0, 0,
					 (int)width, (int)height);
	if (from)
		pixman_image_unref(from);
	if (to)
		pixman_image_unref(to);
	return ok;
}

static void convert_row(enum scanout_format format, const void *src, uint32_t *dst, uint32_t width)
{
	if (pixels_native(format))
		memcpy(dst, src, (size_t)width * 4);
	else if (scanout_format_bytes(format) == 4)
		swap_row_32(src, dst, width);
	else
		swap_row_565(src, dst, width);
}

void pixels_convert(enum scanout_format format, const void *src, size_t src_stride, uint32_t *dst,
		    size_t dst_stride, uint32_t width, uint32_t height)
{
	if (scanout_format_bytes(format) == 2 && byte_order_is_ours(format)) {
		if (convert_565(src, src_stride, dst, dst_stride, width, height))
			return;
		/* Without memory for that: grey-free black is better than what was there. */
		for (uint32_t y = 0; y < height; y++)
			memset((uint8_t *)dst + y * dst_stride, 0, (size_t)width * 4);
		return;
	}

	for (uint32_t y = 0; y < height; y++)
		convert_row(format, (const uint8_t *)src + y * src_stride,
			    (uint32_t *)((uint8_t *)dst + y * dst_stride), width);
}
