/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test pictures. The arithmetic is kept to what pattern.py can repeat quickly without a numeric library:
 * rows that are slices of a few short tables. The unused byte of XRGB is filled with junk on purpose,
 * since nobody may look at it.
 */
#include <errno.h>
#include <string.h>

#include "agent.h"

#define JUNK 0xa5000000u

static void bars_row(const struct pattern *p, uint32_t y, uint32_t *xrgb)
{
	static const uint32_t colours[8] = {
		0xffffff, 0xffff00, 0x00ffff, 0x00ff00, 0xff00ff, 0xff0000, 0x0000ff, 0x000000,
	};

	/* Every other band of 64 lines runs backwards, so that up, down, left and right differ. */
	for (uint32_t x = 0; x < p->width; x++) {
		uint32_t bar = x * 8 / p->width;

		if (y / 64 % 2)
			bar = 7 - bar;
		xrgb[x] = colours[(bar + p->seed) % 8];
	}
}

static void gradient_row(const struct pattern *p, uint32_t y, uint32_t *xrgb)
{
	uint32_t green = p->height > 1 ? y * 255 / (p->height - 1) : 0;

	for (uint32_t x = 0; x < p->width; x++) {
		uint32_t red = p->width > 1 ? x * 255 / (p->width - 1) : 0;

		xrgb[x] = red << 16 | green << 8 | (p->seed & 0xff);
	}
}

static void checker_row(const struct pattern *p, uint32_t y, uint32_t *xrgb)
{
	uint32_t colour = p->seed * 0x9e3779b1u & 0xffffff;

	for (uint32_t x = 0; x < p->width; x++)
		xrgb[x] = (x / 16 + y / 16) % 2 ? colour : ~colour & 0xffffff;
}

/* A prime number of random dots; each row starts a little further on, so that none equals its neighbour. */
static void noise_row(const struct pattern *p, uint32_t y, uint32_t *xrgb)
{
	uint32_t at = y * 37 % ARRAY_SIZE(p->noise);

	for (uint32_t x = 0; x < p->width; x++) {
		xrgb[x] = p->noise[at];
		if (++at == ARRAY_SIZE(p->noise))
			at = 0;
	}
}

int pattern_init(struct pattern *p, const char *name, uint32_t width, uint32_t height,
		 uint32_t seed)
{
	static const struct {
		const char *name;
		void (*row)(const struct pattern *p, uint32_t y, uint32_t *xrgb);
	} kinds[] = {
		{ "bars", bars_row },
		{ "gradient", gradient_row },
		{ "checker", checker_row },
		{ "noise", noise_row },
	};

	if (width == 0 || width > MAX_WIDTH || height == 0)
		return -EINVAL;

	*p = (struct pattern){ .width = width, .height = height, .seed = seed };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			p->row = kinds[i].row;
	if (!p->row)
		return -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(p->noise); i++) {
		seed = seed * 1664525 + 1013904223;
		p->noise[i] = seed >> 8;
	}
	return 0;
}

void pattern_draw(const struct pattern *p, volatile void *dst, size_t pitch, enum dots dots)
{
	static uint32_t row[MAX_WIDTH];

	for (uint32_t y = 0; y < p->height; y++) {
		volatile uint8_t *line = (volatile uint8_t *)dst + y * pitch;

		p->row(p, y, row);
		if (dots == DOTS_RGB565) {
			volatile uint16_t *to = (volatile uint16_t *)line;

			for (uint32_t x = 0; x < p->width; x++)
				to[x] = (row[x] >> 8 & 0xf800) | (row[x] >> 5 & 0x07e0) |
					(row[x] >> 3 & 0x001f);
		} else {
			volatile uint32_t *to = (volatile uint32_t *)line;

			for (uint32_t x = 0; x < p->width; x++)
				to[x] = dots == DOTS_BGRX8888 ? __builtin_bswap32(row[x] | JUNK)
							      : row[x] | JUNK;
		}
	}
}
