/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Bochs display's registers, and the picture that they make: whatever is
 * written, a mode that is shown lies inside video memory, and a capture of it
 * is what the specification of the mode says of the bytes there.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "device/model.h"
#include "fuzz.h"
#include "scanout/scanout.h"

enum { VRAM_SIZE = 4 << 20, MMIO = 2, DISPI = 0x500, PIXELS = 64 << 10 };

static struct device *device;
static uint64_t pixels; /* that may still be captured: they cost more than all else */

static struct vfio_region *region(uint32_t index)
{
	return &device->vfio.regions[index];
}

static void set_up(void)
{
	const struct device_options options = { .items = { { "vram", "4M" } }, .n = 1 };
	char *error = NULL;

	FUZZ_CHECK(device_create("bochs-display", "fuzz", &options, &device, &error) == 0);
	for (size_t i = 0; i < VRAM_SIZE; i += 4)
		put_le32(region(0)->memory + i, (uint32_t)(i * 2654435761U));
}

static unsigned int widen(unsigned int value, unsigned int bits)
{
	return bits == 5 ? value << 3 | value >> 2 : value << 2 | value >> 4;
}

/* The pixel at (x, y) of a mode, as XRGB8888 with X = 0xff. */
static uint32_t pixel(const struct scanout_mode *mode, uint32_t x, uint32_t y)
{
	const uint8_t *at = region(0)->memory + mode->offset + (uint64_t)y * mode->stride;
	unsigned int v;

	switch (mode->format) {
	case SCANOUT_XRGB8888:
		return get_le32(at + x * 4UL) | 0xff000000;
	case SCANOUT_BGRX8888:
		return __builtin_bswap32(get_le32(at + x * 4UL)) | 0xff000000;
	case SCANOUT_RGB565:
		v = get_le16(at + x * 2UL);
		break;
	default:
		v = __builtin_bswap16(get_le16(at + x * 2UL));
	}
	return 0xff000000 | widen(v >> 11, 5) << 16 | widen(v >> 5 & 0x3f, 6) << 8 |
	       widen(v & 0x1f, 5);
}

static void check_picture(const struct scanout_info *info, const struct scanout_image *image)
{
	const struct scanout_mode *mode = &info->mode;
	uint32_t xs[] = { 0, image->width / 2, image->width - 1 };
	uint32_t ys[] = { 0, image->height / 2, image->height - 1 };

	if (info->state == SCANOUT_OFF) {
		FUZZ_CHECK(image->width == SCANOUT_OFF_WIDTH &&
			   image->height == SCANOUT_OFF_HEIGHT);
	} else {
		FUZZ_CHECK(image->width == mode->width && image->height == mode->height);
	}
	for (int y = 0; y < 3; y++)
		for (int x = 0; x < 3; x++) {
			uint32_t wanted =
				info->state == SCANOUT_ON ? pixel(mode, xs[x], ys[y]) : 0xff000000;

			FUZZ_CHECK(image->pixels[(size_t)ys[y] * image->width + xs[x]] == wanted);
		}
}

static void capture(bool any_size)
{
	struct scanout_image image;
	struct scanout_info info;
	uint64_t n = SCANOUT_OFF_WIDTH * SCANOUT_OFF_HEIGHT;

	scanout_get_info(device->scanout, &info);
	if (info.state != SCANOUT_OFF)
		n = (uint64_t)info.mode.width * info.mode.height;
	if (!pixels || (n > pixels && !any_size))
		return;
	pixels -= n < pixels ? n : pixels;
	FUZZ_CHECK(scanout_capture(device->scanout, &image) == 0);
	check_picture(&info, &image);
	scanout_image_done(&image);
}

static unsigned int dispi(unsigned int index)
{
	uint8_t bytes[2];

	FUZZ_CHECK(!vfio_region_read(region(MMIO), DISPI + 2 * index, bytes, 2));
	return get_le16(bytes);
}

/*
 * What the registers describe, as they are read: docs/specs/standard-vga.rst in
 * QEMU's source, and what its bochs-display makes of it. False: nothing.
 */
static bool describe_mode(struct scanout_mode *ret)
{
	enum { XRES = 1, YRES, BPP, ENABLE, VIRT_WIDTH = 6, X_OFFSET = 8, Y_OFFSET };
	uint64_t width = dispi(XRES), height = dispi(YRES), bytes = dispi(BPP) / 8;
	uint64_t stride = (dispi(VIRT_WIDTH) > width ? dispi(VIRT_WIDTH) : width) * bytes;
	uint64_t offset = dispi(X_OFFSET) * bytes + dispi(Y_OFFSET) * stride;

	if (!(dispi(ENABLE) & 1) || (dispi(BPP) != 16 && dispi(BPP) != 32) || width < 64 ||
	    height < 64 || width > 16384 || height > 16384 || offset + stride * height > VRAM_SIZE)
		return false;
	ret->width = (uint32_t)width;
	ret->height = (uint32_t)height;
	ret->stride = (uint32_t)stride;
	ret->offset = offset;
	return true;
}

static void check_mode(void)
{
	struct scanout_info info;
	struct scanout_mode mode;
	bool shown = describe_mode(&mode);

	scanout_get_info(device->scanout, &info);
	FUZZ_CHECK(shown == (info.state != SCANOUT_OFF));
	if (!shown)
		return;
	FUZZ_CHECK(info.mode.width == mode.width && info.mode.height == mode.height);
	FUZZ_CHECK(info.mode.stride == mode.stride && info.mode.offset == mode.offset);
	FUZZ_CHECK(scanout_format_bytes(info.mode.format) * 8 == dispi(3));
}

static void write_register(uint32_t index, uint64_t offset, uint64_t value, unsigned int width)
{
	uint8_t bytes[8];
	int r;

	put_le(bytes, value, width);
	r = vfio_region_write(region(index), offset, bytes, width);
	FUZZ_CHECK(r == (range_within(offset, width, region(index)->size) ? 0 : -EINVAL));
}

static void read_register(uint32_t index, uint64_t offset, unsigned int width)
{
	uint8_t bytes[256];
	int r = vfio_region_read(region(index), offset, bytes, width);

	FUZZ_CHECK(r == (range_within(offset, width, region(index)->size) ? 0 : -EINVAL));
}

/* A mode that a driver might set, in one go. */
static void set_mode(struct fuzz_input *in)
{
	uint16_t values[] = {
		(uint16_t)(1 + fuzz_raw(in, 2) % 2048), /* XRES */
		(uint16_t)(1 + fuzz_raw(in, 2) % 2048), /* YRES */
		fuzz_u8(in) % 2 ? 32 : 16, /* BPP */
		1, /* ENABLE */
		0, /* BANK */
		(uint16_t)fuzz_number(in, 0), /* VIRT_WIDTH */
		0,
		(uint16_t)fuzz_number(in, 0), /* X_OFFSET */
		(uint16_t)fuzz_number(in, 0), /* Y_OFFSET */
	};

	for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		write_register(MMIO, DISPI + 2 * (i + 1), values[i], 2);
}

static void step(struct fuzz_input *in)
{
	static const uint64_t places[] = { DISPI, 0x400, 0x600, 0x000 };
	uint8_t what = fuzz_u8(in);
	unsigned int width = 1U << (what >> 4 & 3);
	uint64_t offset;

	switch (what % 8) {
	case 0:
	case 1:
		offset = places[fuzz_u8(in) % 4];
		offset += fuzz_u8(in) % 64;
		write_register(MMIO, offset, fuzz_number(in, 1), width);
		break;
	case 2:
		offset = fuzz_number(in, 0);
		write_register(MMIO, offset, fuzz_number(in, 1), width);
		break;
	case 3:
		offset = fuzz_number(in, 0x500);
		read_register(MMIO, offset, fuzz_u8(in));
		break;
	case 4:
		set_mode(in);
		break;
	case 5: /* PM state, among others */
		offset = fuzz_u8(in);
		write_register(VFIO_PCI_CONFIG_REGION_INDEX, offset, fuzz_number(in, 0), width);
		break;
	case 6:
		capture(what == 0xf6);
		break;
	default:
		if (what & 0x80)
			vfio_device_reset(&device->vfio);
		else
			write_register(MMIO, 0x604, what & 0x40 ? 0xbebebebe : 0x1e1e1e1e, 4);
	}
	check_mode();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	if (!device)
		set_up();
	fuzz_begin();
	vfio_device_reset(&device->vfio);
	pixels = PIXELS;
	while (in.left)
		step(&in);
	capture(false);
	fuzz_end();
	return 0;
}
