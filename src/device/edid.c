/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two blocks: the base block names the display, its preferred mode and the VESA
 * modes; the CTA-861 block adds the television sizes and the large ones. The
 * display is not continuous-frequency: it shows the listed modes, and a guest must
 * not infer others from the range limits, for those know nothing of the frame
 * budget.
 *
 * Offsets are those of VESA E-EDID 1.4 (release A, revision 2), section 3, and of
 * CTA-861-G, section 7. Timings come from VESA DMT 1.13, CTA-861-G, or the formula
 * of VESA CVT 1.1 for reduced blanking.
 */
#include "device/edid.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

enum {
	DESCRIPTOR_SIZE = 18,
	DESCRIPTOR_TEXT = 5, /* where a display descriptor's payload starts */
	DESCRIPTORS = 54,
	CHECKSUM = EDID_BLOCK_SIZE - 1,
	STANDARD_SIZE = 2,
	STANDARD_IN_BASE = 8,
	STANDARD_IN_DESCRIPTOR = 6,
	STANDARD_SLOTS = STANDARD_IN_BASE + STANDARD_IN_DESCRIPTOR,
	TAG_NAME = 0xfc,
	TAG_RANGE = 0xfd,
	TAG_STANDARD = 0xfa,
	TAG_DUMMY = 0x10,
	VENDOR = ('V' - '@') << 10 | ('G' - '@') << 5 | ('P' - '@'),
	PRODUCT = 1,
	MODEL_YEAR = 2025,
	CTA_DATA = 4, /* where the data blocks start */
	CTA_TAG_VIDEO = 2,
	CTA_TAG_EXTENDED = 7,
};

/* In pixels, lines and units of 10 kHz, as a detailed timing has them. */
struct timing {
	uint32_t width, hblank, hfront, hsync;
	uint32_t height, vblank, vfront, vsync;
	uint32_t clock;
	bool hpositive, vpositive;
};

/* A size and what names it: an established bit, an aspect ratio, or a VIC. */
struct offer {
	uint32_t width, height;
	uint16_t code; /* 0 where nothing but a detailed timing does */
};

/* The standard timings that CVT with reduced blanking would not give. */
static const struct timing exact_timings[] = {
	{ 640, 160, 16, 96, 480, 45, 10, 2, 2518, false, false },
	{ 800, 256, 40, 128, 600, 28, 1, 4, 4000, true, true },
	{ 848, 240, 16, 112, 480, 37, 6, 8, 3375, true, true },
	{ 1024, 320, 24, 136, 768, 38, 3, 6, 6500, false, false },
	{ 1280, 370, 110, 40, 720, 30, 5, 5, 7425, true, true },
	{ 1280, 520, 96, 112, 960, 40, 1, 3, 10800, true, true },
	{ 1280, 408, 48, 112, 1024, 42, 1, 3, 10800, true, true },
	{ 1360, 432, 64, 112, 768, 27, 3, 6, 8550, true, true },
	{ 1366, 426, 70, 143, 768, 30, 3, 3, 8550, true, true },
	{ 1600, 200, 24, 80, 900, 100, 1, 3, 10800, true, true },
	{ 1600, 560, 64, 192, 1200, 50, 1, 3, 16200, true, true },
	{ 1920, 280, 88, 44, 1080, 45, 4, 5, 14850, true, true },
	{ 2048, 202, 26, 80, 1152, 48, 1, 3, 16200, true, true },
	{ 2560, 440, 248, 44, 1080, 20, 4, 5, 19800, true, true },
	{ 3840, 560, 176, 88, 2160, 90, 8, 10, 59400, true, true },
};

/* Bits of the little-endian word at 35. */
static const struct offer established[] = {
	{ 640, 480, 1 << 5 },
	{ 800, 600, 1 << 0 },
	{ 1024, 768, 1 << 11 },
};

enum { RATIO_16_10, RATIO_4_3, RATIO_5_4, RATIO_16_9 };

/* The first ones have the better places. */
static const struct offer standard[] = {
	{ 1280, 720, RATIO_16_9 },  { 1280, 800, RATIO_16_10 },	 { 1280, 1024, RATIO_5_4 },
	{ 1440, 900, RATIO_16_10 }, { 1600, 900, RATIO_16_9 },	 { 1680, 1050, RATIO_16_10 },
	{ 1920, 1080, RATIO_16_9 }, { 1920, 1200, RATIO_16_10 }, { 1280, 960, RATIO_4_3 },
	{ 1400, 1050, RATIO_4_3 },  { 1600, 1200, RATIO_4_3 },	 { 1920, 1440, RATIO_4_3 },
	{ 2048, 1152, RATIO_16_9 },
};

static const struct offer vics[] = {
	{ 640, 480, 1 },    { 1280, 720, 4 },	{ 1920, 1080, 16 },
	{ 2560, 1080, 90 }, { 3840, 2160, 97 },
};

static const struct offer detailed[] = {
	{ 1360, 768 },	{ 2560, 1440 }, { 2560, 1600 },
	{ 2880, 1800 }, { 3200, 1800 }, { 3440, 1440 },
};

_Static_assert(ARRAY_SIZE(standard) <= STANDARD_SLOTS, "standard timings have no other room");
_Static_assert(CTA_DATA + 1 + ARRAY_SIZE(vics) + 3 + ARRAY_SIZE(detailed) * DESCRIPTOR_SIZE <=
		       CHECKSUM,
	       "the CTA block holds them all");

static bool fits(const struct edid_config *config, uint32_t width, uint32_t height)
{
	return (uint64_t)width * height * 4 <= config->max_frame_size;
}

static bool is_preferred(const struct edid_config *config, const struct offer *offer)
{
	return offer->width == config->width && offer->height == config->height;
}

/* CVT tells a guest the shape by the length of the vertical sync. */
static uint32_t cvt_vsync(uint32_t width, uint32_t height)
{
	static const struct {
		uint32_t x, y, lines;
	} shapes[] = {
		{ 4, 3, 4 }, { 16, 9, 5 }, { 16, 10, 6 }, { 5, 4, 7 }, { 15, 9, 7 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (height * shapes[i].x == width * shapes[i].y)
			return shapes[i].lines;
	return 10;
}

/*
 * VESA CVT 1.1, reduced blanking; but for any width, where CVT rounds it down to a
 * multiple of 8.
 */
static struct timing cvt_reduced(uint32_t width, uint32_t height, uint32_t hz)
{
	const uint32_t min_vblank_us = 460, vback_min = 6, clock_step = 25;
	struct timing t = {
		.width = width,
		.hblank = 160,
		.hfront = 48,
		.hsync = 32,
		.height = height,
		.vfront = 3,
		.vsync = cvt_vsync(width, height),
		.hpositive = true,
	};
	uint64_t pixels;

	t.vblank = min_vblank_us * hz * height / (1000000 - min_vblank_us * hz) + 1;
	if (t.vblank < t.vfront + t.vsync + vback_min)
		t.vblank = t.vfront + t.vsync + vback_min;
	pixels = (uint64_t)(t.width + t.hblank) * (t.height + t.vblank) * hz;
	t.clock = (uint32_t)(pixels / 10000 / clock_step * clock_step);
	return t;
}

/* The fastest timing of a size whose clock a detailed timing can name. */
static struct timing timing_of(uint32_t width, uint32_t height)
{
	static const uint32_t slower[] = { 50, 30 };
	struct timing t;

	for (size_t i = 0; i < ARRAY_SIZE(exact_timings); i++)
		if (exact_timings[i].width == width && exact_timings[i].height == height)
			return exact_timings[i];
	t = cvt_reduced(width, height, 60);
	for (size_t i = 0; t.clock > UINT16_MAX && i < ARRAY_SIZE(slower); i++)
		t = cvt_reduced(width, height, slower[i]);
	return t;
}

/* 96 dots per inch. */
static uint32_t millimetres(uint32_t pixels)
{
	return (pixels * 254 + 480) / 960;
}

static uint8_t centimetres(uint32_t pixels)
{
	return (uint8_t)((millimetres(pixels) + 5) / 10);
}

/* Two 12-bit numbers: low bytes in p[0] and p[1], the rest in *high. */
static void put_pair(uint8_t *p, uint8_t *high, uint32_t a, uint32_t b)
{
	p[0] = (uint8_t)a;
	p[1] = (uint8_t)b;
	*high = (uint8_t)(a >> 8 << 4 | b >> 8);
}

/* Section 3.10.2. Every mode fills the whole display. */
static void put_timing(const struct edid_config *config, uint8_t *p, uint32_t width,
		       uint32_t height)
{
	struct timing t = timing_of(width, height);

	put_le16(p, (uint16_t)t.clock);
	put_pair(p + 2, p + 4, t.width, t.hblank);
	put_pair(p + 5, p + 7, t.height, t.vblank);
	p[8] = (uint8_t)t.hfront;
	p[9] = (uint8_t)t.hsync;
	p[10] = (uint8_t)(t.vfront << 4 | (t.vsync & 0xf));
	p[11] = (uint8_t)(t.hfront >> 8 << 6 | t.hsync >> 8 << 4 | t.vfront >> 4 << 2 |
			  t.vsync >> 4);
	put_pair(p + 12, p + 14, millimetres(config->width), millimetres(config->height));
	p[17] = (uint8_t)(0x18 | t.vpositive << 2 | t.hpositive << 1); /* digital separate sync */
}

/* Section 3.10.3. */
static uint8_t *start_descriptor(uint8_t *p, uint8_t tag)
{
	p[3] = tag;
	return p + DESCRIPTOR_TEXT;
}

static void put_name(uint8_t *p, const char *name)
{
	size_t length = strlen(name);
	uint8_t *text = start_descriptor(p, TAG_NAME);

	memset(text, ' ', EDID_MAX_NAME);
	if (length < EDID_MAX_NAME)
		text[length] = '\n';
	memcpy(text, name, length);
}

/* Covers all that edid_make() may list; limits alone, no formula to infer more. */
static void put_range(uint8_t *p)
{
	uint8_t *limits = start_descriptor(p, TAG_RANGE);

	limits[0] = 29; /* Hz: 30 and 60, give or take the rounding of a clock */
	limits[1] = 61;
	limits[2] = 29; /* kHz: 480 to 4095 lines at 60 Hz */
	limits[3] = 255;
	limits[4] = 66; /* 10 MHz: the fastest clock that a detailed timing can name */
	limits[5] = 0x01; /* range limits only */
	limits[6] = '\n';
	memset(limits + 7, ' ', 6);
}

/*
 * Section 3.9: fills ret_codes and returns how many are used. The preferred size is
 * left out, lest a guest see it twice with different blanking.
 */
static size_t collect_standard(const struct edid_config *config,
			       uint8_t ret_codes[STANDARD_SLOTS * STANDARD_SIZE])
{
	size_t n = 0;

	memset(ret_codes, 0x01, STANDARD_SLOTS * STANDARD_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(standard); i++) {
		const struct offer *o = &standard[i];

		if (is_preferred(config, o) || !fits(config, o->width, o->height))
			continue;
		ret_codes[n * STANDARD_SIZE] = (uint8_t)(o->width / 8 - 31);
		ret_codes[n * STANDARD_SIZE + 1] = (uint8_t)(o->code << 6); /* + 60 Hz */
		n++;
	}
	return n;
}

static void put_standard(const struct edid_config *config, uint8_t *in_base, uint8_t *descriptor)
{
	uint8_t codes[STANDARD_SLOTS * STANDARD_SIZE], *more;
	size_t n = collect_standard(config, codes);

	memcpy(in_base, codes, STANDARD_IN_BASE * STANDARD_SIZE);
	if (n <= STANDARD_IN_BASE) {
		start_descriptor(descriptor, TAG_DUMMY);
		return;
	}
	more = start_descriptor(descriptor, TAG_STANDARD);
	memcpy(more, codes + STANDARD_IN_BASE * STANDARD_SIZE,
	       STANDARD_IN_DESCRIPTOR * STANDARD_SIZE);
	more[STANDARD_IN_DESCRIPTOR * STANDARD_SIZE] = '\n';
}

static uint16_t established_bits(const struct edid_config *config)
{
	uint16_t bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(established); i++)
		if (fits(config, established[i].width, established[i].height))
			bits |= established[i].code;
	return bits;
}

static void put_checksum(uint8_t *block)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < CHECKSUM; i++)
		sum = (uint8_t)(sum + block[i]);
	block[CHECKSUM] = (uint8_t)-sum;
}

static void make_base(const struct edid_config *config, uint8_t *b)
{
	static const uint8_t header[] = { 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00 };
	/* x and y of red, green, blue and white as sRGB has them, in 1/1024 */
	static const uint8_t srgb[] = {
		0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54
	};

	memcpy(b, header, sizeof(header));
	b[8] = VENDOR >> 8;
	b[9] = VENDOR & 0xff;
	put_le16(b + 10, PRODUCT);
	put_le32(b + 12, config->serial);
	b[16] = 0xff; /* what follows is the model's year */
	b[17] = MODEL_YEAR - 1990;
	b[18] = 1; /* version 1.4 */
	b[19] = 4;
	b[20] = 0xa0; /* digital, 8 bits a colour, no particular connector */
	b[21] = centimetres(config->width);
	b[22] = centimetres(config->height);
	b[23] = 220 - 100; /* gamma 2.2 */
	b[24] = 0x26; /* can be turned off, RGB alone, sRGB, first timing is native */
	memcpy(b + 25, srgb, sizeof(srgb));
	put_le16(b + 35, established_bits(config));
	put_timing(config, b + DESCRIPTORS, config->width, config->height);
	put_name(b + DESCRIPTORS + DESCRIPTOR_SIZE, config->name);
	put_range(b + DESCRIPTORS + 2 * DESCRIPTOR_SIZE);
	put_standard(config, b + 38, b + DESCRIPTORS + 3 * DESCRIPTOR_SIZE);
	b[126] = 1; /* extension blocks */
	put_checksum(b);
}

/* CTA-861-G, sections 7.5.1 and 7.5.6. Returns the end of the data blocks. */
static uint8_t *put_data_blocks(const struct edid_config *config, uint8_t *p)
{
	uint8_t *video = p++;

	for (size_t i = 0; i < ARRAY_SIZE(vics); i++)
		if (fits(config, vics[i].width, vics[i].height))
			*p++ = (uint8_t)vics[i].code;
	*video = (uint8_t)(CTA_TAG_VIDEO << 5 | (p - video - 1));

	*p++ = CTA_TAG_EXTENDED << 5 | 2;
	*p++ = 0; /* video capabilities */
	*p++ = 0x4a; /* RGB quantization can be selected; everything is underscanned */
	return p;
}

static void make_cta(const struct edid_config *config, uint8_t *b)
{
	uint8_t *p = put_data_blocks(config, b + CTA_DATA);

	b[0] = 0x02; /* CTA-861 */
	b[1] = 3; /* its third version */
	b[2] = (uint8_t)(p - b);
	b[3] = 0x80 | 1; /* underscans; one detailed timing, the base block's, is native */
	for (size_t i = 0; i < ARRAY_SIZE(detailed); i++) {
		const struct offer *o = &detailed[i];

		if (is_preferred(config, o) || !fits(config, o->width, o->height))
			continue;
		put_timing(config, p, o->width, o->height);
		p += DESCRIPTOR_SIZE;
	}
	put_checksum(b);
}

static bool name_is_valid(const char *name)
{
	size_t length = name ? strnlen(name, EDID_MAX_NAME + 1) : 0;

	if (!length || length > EDID_MAX_NAME || name[length - 1] == ' ')
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] < ' ' || name[i] > '~')
			return false;
	return true;
}

int edid_make(const struct edid_config *config, uint8_t ret_edid[EDID_MAX_SIZE])
{
	if (!name_is_valid(config->name) || config->width < EDID_MIN_WIDTH ||
	    config->width > EDID_MAX_WIDTH || config->height < EDID_MIN_HEIGHT ||
	    config->height > EDID_MAX_HEIGHT || !fits(config, config->width, config->height))
		return -EINVAL;

	memset(ret_edid, 0, 2 * EDID_BLOCK_SIZE);
	make_base(config, ret_edid);
	make_cta(config, ret_edid + EDID_BLOCK_SIZE);
	return 2 * EDID_BLOCK_SIZE;
}
