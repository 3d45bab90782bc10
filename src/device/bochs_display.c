/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. BAR 0 is video memory, mapped into the guest: its
 * stores never come here. BAR 2 holds the registers, each access of which
 * does: EDID, a window onto the few VGA ports that a driver blanks the screen
 * with, the Bochs "DISPI" mode registers, and QEMU's extension for byte order.
 * After every register write the mode is derived anew from all registers, in
 * one place, and handed to scanout.
 */
#include "device/bochs_display.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "device/edid.h"
#include "device/rom.h"
#include "device/vram.h"
#include "pci/function.h"

/* BAR 2 (QEMU docs/specs/standard-vga.rst, "PCI BAR 2"). */
enum {
	MMIO_SIZE = 0x1000,
	MMIO_EDID = 0x000,
	MMIO_VGA = 0x400, /* ports 0x3c0 to 0x3df */
	MMIO_VGA_END = 0x420,
	MMIO_DISPI = 0x500, /* 16 bits a register */
	MMIO_DISPI_END = 0x516,
	MMIO_EXTENDED = 0x600, /* 32 bits a register */
	MMIO_EXTENDED_END = 0x608,
};

/* Bochs' VBE DISPI registers (bochs, iodev/display/vga.h; Linux, bochs.c). */
enum {
	DISPI_ID,
	DISPI_XRES,
	DISPI_YRES,
	DISPI_BPP,
	DISPI_ENABLE,
	DISPI_BANK,
	DISPI_VIRT_WIDTH,
	DISPI_VIRT_HEIGHT,
	DISPI_X_OFFSET,
	DISPI_Y_OFFSET,
	DISPI_VIDEO_MEMORY_64K,
	DISPI_REGISTERS,

	DISPI_ID5 = 0xb0c5,
	DISPI_ENABLED = 0x01,
};

enum {
	EXTENDED_SIZE = 0, /* of this register block, in bytes */
	EXTENDED_BYTE_ORDER = 4,
};
#define BYTE_ORDER_LITTLE 0x1e1e1e1eU
#define BYTE_ORDER_BIG 0xbebebebeU

/* VGA ports, as offsets from 0x3c0. */
enum {
	VGA_ATTRIBUTE = 0x00,
	VGA_ATTRIBUTE_READ = 0x01,
	VGA_MISC_WRITE = 0x02,
	VGA_MISC_READ = 0x0c,
	VGA_INPUT_STATUS_1 = 0x1a,

	VGA_PALETTE_ADDRESS_SOURCE = 0x20, /* attribute index: the screen is on */
	VGA_RETRACE = 0x09, /* input status 1: vertical retrace, display disabled */
};

enum {
	MIN_VRAM = 4 << 20,
	MAX_VRAM = 256 << 20,
	DEFAULT_VRAM = 16 << 20,
	MIN_EXTENT = 64, /* of width and height, as QEMU's device has it */
};

struct bochs_display {
	struct device device;
	struct pci_function pci;
	struct vram vram;
	uint8_t edid[EDID_MAX_SIZE];

	uint16_t dispi[DISPI_REGISTERS];
	bool big_endian;
	uint8_t vga_misc;
	uint8_t vga_attribute; /* index */
	bool vga_attribute_data; /* the flip-flop: the next write is data */
	uint8_t vga_retrace; /* toggles, so that who waits for it sees it come */
};

/* The frame that the registers describe. False if they describe none that is in VRAM. */
static bool derive_mode(const struct bochs_display *bochs, struct scanout_mode *ret)
{
	const uint16_t *dispi = bochs->dispi;
	struct scanout_mode mode = {
		.width = dispi[DISPI_XRES],
		.height = dispi[DISPI_YRES],
	};
	uint32_t bytes, virt_width;

	if (!(dispi[DISPI_ENABLE] & DISPI_ENABLED))
		return false;
	switch (dispi[DISPI_BPP]) {
	case 16:
		mode.format = bochs->big_endian ? SCANOUT_RGB565_BE : SCANOUT_RGB565;
		break;
	case 32:
		mode.format = bochs->big_endian ? SCANOUT_BGRX8888 : SCANOUT_XRGB8888;
		break;
	default:
		return false;
	}

	bytes = scanout_format_bytes(mode.format);
	virt_width = dispi[DISPI_VIRT_WIDTH] > mode.width ? dispi[DISPI_VIRT_WIDTH] : mode.width;
	mode.stride = virt_width * bytes;
	mode.offset = (uint64_t)dispi[DISPI_X_OFFSET] * bytes +
		      (uint64_t)dispi[DISPI_Y_OFFSET] * mode.stride;
	if (mode.width < MIN_EXTENT || mode.height < MIN_EXTENT || mode.width > SCANOUT_MAX_SIZE ||
	    mode.height > SCANOUT_MAX_SIZE ||
	    !range_within(mode.offset, (uint64_t)mode.stride * mode.height, bochs->vram.size))
		return false;
	*ret = mode;
	return true;
}

static bool screen_is_lit(const struct bochs_display *bochs)
{
	return bochs->vga_attribute & VGA_PALETTE_ADDRESS_SOURCE && pci_powered(&bochs->pci);
}

static void update_scanout(struct bochs_display *bochs)
{
	struct scanout *so = bochs->device.scanout;
	struct scanout_mode mode;

	if (!derive_mode(bochs, &mode))
		scanout_set(so, SCANOUT_OFF, NULL);
	else
		scanout_set(so, screen_is_lit(bochs) ? SCANOUT_ON : SCANOUT_BLANKED, &mode);
}

static uint8_t vga_read(struct bochs_display *bochs, uint64_t port)
{
	switch (port) {
	case VGA_ATTRIBUTE:
		return bochs->vga_attribute_data ? 0 : bochs->vga_attribute;
	case VGA_MISC_READ:
		return bochs->vga_misc;
	case VGA_INPUT_STATUS_1:
		bochs->vga_attribute_data = false;
		bochs->vga_retrace ^= VGA_RETRACE;
		return bochs->vga_retrace;
	case VGA_ATTRIBUTE_READ: /* no attribute controller is behind the index */
		return 0;
	default:
		return 0xff;
	}
}

static void vga_write(struct bochs_display *bochs, uint64_t port, uint8_t value)
{
	switch (port) {
	case VGA_ATTRIBUTE:
		if (!bochs->vga_attribute_data)
			bochs->vga_attribute = value & 0x3f;
		bochs->vga_attribute_data = !bochs->vga_attribute_data;
		break;
	case VGA_MISC_WRITE:
		bochs->vga_misc = value;
		break;
	default:
		break;
	}
}

static uint16_t dispi_read(const struct bochs_display *bochs, unsigned int index)
{
	switch (index) {
	case DISPI_ID:
		return DISPI_ID5;
	case DISPI_VIDEO_MEMORY_64K:
		return (uint16_t)(bochs->vram.size >> 16);
	default:
		return bochs->dispi[index];
	}
}

static uint32_t extended_read(const struct bochs_display *bochs, uint64_t at)
{
	if (at == EXTENDED_SIZE)
		return MMIO_EXTENDED_END - MMIO_EXTENDED;
	return bochs->big_endian ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE;
}

/* One byte of what the registers show. */
static uint8_t mmio_read_byte(struct bochs_display *bochs, uint64_t at)
{
	uint64_t from;

	if (at < MMIO_EDID + sizeof(bochs->edid))
		return bochs->edid[at - MMIO_EDID];
	if (at >= MMIO_VGA && at < MMIO_VGA_END)
		return vga_read(bochs, at - MMIO_VGA);
	if (at >= MMIO_DISPI && at < MMIO_DISPI_END) {
		from = at - MMIO_DISPI;
		return (uint8_t)(dispi_read(bochs, (unsigned int)(from / 2)) >> (from % 2 * 8));
	}
	if (at >= MMIO_EXTENDED && at < MMIO_EXTENDED_END) {
		from = at - MMIO_EXTENDED;
		return (uint8_t)(extended_read(bochs, from & ~3ULL) >> (from % 4 * 8));
	}
	return 0xff;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned int width)
{
	struct bochs_display *bochs = opaque;
	uint64_t value = 0;

	for (unsigned int i = 0; i < width; i++)
		value |= (uint64_t)mmio_read_byte(bochs, offset + i) << (8 * i);
	return value;
}

static void dispi_write_byte(struct bochs_display *bochs, uint64_t at, uint8_t value)
{
	unsigned int shift = at % 2 * 8;
	uint16_t *reg = &bochs->dispi[at / 2];

	*reg = (uint16_t)((*reg & ~(0xffU << shift)) | (unsigned int)value << shift);
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct bochs_display *bochs = opaque;

	if (offset == MMIO_EXTENDED + EXTENDED_BYTE_ORDER && width == 4) {
		if (value == BYTE_ORDER_BIG || value == BYTE_ORDER_LITTLE)
			bochs->big_endian = value == BYTE_ORDER_BIG;
	} else {
		for (unsigned int i = 0; i < width; i++) {
			uint64_t at = offset + i;
			uint8_t byte = (uint8_t)(value >> (8 * i));

			if (at >= MMIO_VGA && at < MMIO_VGA_END)
				vga_write(bochs, at - MMIO_VGA, byte);
			else if (at >= MMIO_DISPI && at < MMIO_DISPI_END)
				dispi_write_byte(bochs, at - MMIO_DISPI, byte);
		}
	}
	update_scanout(bochs);
}

static const struct vfio_region_ops mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.max_width = 4,
};

static void power_changed(void *opaque, bool on)
{
	update_scanout(opaque);
}

static const struct pci_function_ops pci_ops = { .power_changed = power_changed };

/* Firmware that knows no VGA ports expects a lit screen, so it starts lit. */
static void reset(void *opaque)
{
	struct bochs_display *bochs = opaque;

	memset(bochs->dispi, 0, sizeof(bochs->dispi));
	bochs->big_endian = false;
	bochs->vga_misc = 0;
	bochs->vga_attribute = VGA_PALETTE_ADDRESS_SOURCE;
	bochs->vga_attribute_data = false;
	bochs->vga_retrace = 0;
	pci_function_reset(&bochs->pci);
	update_scanout(bochs);
}

static int power_cycle(void *opaque)
{
	struct bochs_display *bochs = opaque;
	int r;

	reset(bochs);
	r = vram_renew(&bochs->vram);
	scanout_forget(bochs->device.scanout);
	bochs->device.vfio.regions[VFIO_PCI_BAR0_REGION_INDEX].fd = bochs->vram.fd;
	return r;
}

static const struct vfio_device_ops vfio_ops = {
	.reset = reset,
	.power_cycle = power_cycle,
};

static void destroy(struct device *device)
{
	struct bochs_display *bochs = (struct bochs_display *)device;

	scanout_free(device->scanout);
	if (bochs->pci.vfio)
		pci_function_done(&bochs->pci);
	vfio_device_done(&device->vfio);
	vram_done(&bochs->vram);
	free(bochs);
}

static int set_up_regions(struct bochs_display *bochs)
{
	static const struct pci_identity identity = {
		.vendor = 0x1234,
		.device = 0x1111,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.revision = 2, /* with less, Linux ignores the extended registers */
		.class_code = 0x038000, /* display controller, other */
	};
	struct vfio_device *vfio = &bochs->device.vfio;
	struct vfio_region *vram = &vfio->regions[VFIO_PCI_BAR0_REGION_INDEX];
	struct vfio_region *mmio = &vfio->regions[VFIO_PCI_BAR2_REGION_INDEX];
	int r;

	pci_function_init(&bochs->pci, vfio, &identity, &pci_ops, bochs);

	vram->size = bochs->vram.size;
	vram->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		      VFIO_REGION_INFO_FLAG_MMAP;
	vram->fd = bochs->vram.fd;
	vram->memory = bochs->vram.memory;
	r = pci_bar_add(&bochs->pci, 0, PCI_BASE_ADDRESS_MEM_PREFETCH);
	if (r < 0)
		return r;

	mmio->size = MMIO_SIZE;
	mmio->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	mmio->ops = &mmio_ops;
	mmio->opaque = bochs;
	r = pci_bar_add(&bochs->pci, 2, 0);
	return r < 0 ? r : pci_pm_add(&bochs->pci);
}

static int load_rom(struct bochs_display *bochs, const char *path, char **ret_error)
{
	uint8_t *memory;
	uint64_t size;
	int r;

	if (!path)
		return 0;
	r = rom_load(path, 0x1234, 0x1111, &memory, &size, ret_error);
	if (r < 0)
		return r;
	r = pci_rom_add(&bochs->pci, memory, size);
	if (r < 0)
		free(memory);
	return r;
}

static int make_edid(struct bochs_display *bochs, const struct device_options *options,
		     char **ret_error)
{
	struct edid_config config = {
		.name = "vgpud",
		.max_frame_size = bochs->vram.size,
	};
	int r;

	r = device_option_number(options, "xres", 1280, EDID_MIN_WIDTH, EDID_MAX_WIDTH,
				 &config.width, ret_error);
	if (r == 0)
		r = device_option_number(options, "yres", 800, EDID_MIN_HEIGHT, EDID_MAX_HEIGHT,
					 &config.height, ret_error);
	if (r < 0)
		return r;
	r = edid_make(&config, bochs->edid);
	if (r < 0)
		*ret_error = text_format("xres=%u, yres=%u: a frame of that size does not fit "
					 "the video memory; choose a larger vram=",
					 config.width, config.height);
	return r < 0 ? r : 0;
}

static int set_up(struct bochs_display *bochs, const struct device_options *options,
		  char **ret_error)
{
	uint64_t vram_size;
	int r;

	r = vfio_device_init(&bochs->device.vfio, bochs_display_model.name, &vfio_ops, bochs);
	if (r < 0)
		return r;
	r = device_option_size(options, "vram", DEFAULT_VRAM, MIN_VRAM, MAX_VRAM, &vram_size,
			       ret_error);
	if (r < 0)
		return r;
	if (!is_power_of_two(vram_size)) {
		*ret_error = text_format("vram=%s: a PCI BAR's size is a power of two; "
					 "choose 4M, 8M, 16M, 32M, 64M, 128M or 256M",
					 device_option(options, "vram"));
		return -EINVAL;
	}
	r = vram_init(&bochs->vram, vram_size);
	if (r < 0)
		return r;
	bochs->device.scanout = scanout_new(bochs->vram.memory, bochs->vram.size);
	if (!bochs->device.scanout)
		return -errno;
	r = make_edid(bochs, options, ret_error);
	if (r == 0)
		r = set_up_regions(bochs);
	if (r == 0)
		r = load_rom(bochs, device_option(options, "rom"), ret_error);
	if (r < 0)
		return r;
	pci_function_ready(&bochs->pci);
	reset(bochs);
	return 0;
}

static int create(const char *name, const struct device_options *options, struct device **ret,
		  char **ret_error)
{
	struct bochs_display *bochs = calloc(1, sizeof(*bochs));
	int r;

	if (!bochs)
		return -ENOMEM;
	bochs->device.model = &bochs_display_model;
	bochs->vram.fd = -1;
	*ret_error = NULL;
	r = set_up(bochs, options, ret_error);
	if (r < 0) {
		if (!*ret_error)
			*ret_error =
				text_format("the device could not be created: %s", strerror(-r));
		destroy(&bochs->device);
		return r;
	}
	*ret = &bochs->device;
	return 0;
}

static const struct device_option options_table[] = {
	{ "vram", "SIZE", "video memory, a power of two from 4M to 256M (16M)" },
	{ "rom", "FILE", "option ROM; with vgabios-bochs-display.bin SeaBIOS draws on it" },
	{ "xres", "PIXELS", "width of the mode that the guest is told to prefer (1280)" },
	{ "yres", "PIXELS", "height of that mode (800)" },
	{ 0 },
};

const struct device_model bochs_display_model = {
	.name = "bochs-display",
	.summary = "a linear framebuffer, driven by Linux' bochs DRM, OVMF and SeaBIOS",
	.options = options_table,
	.create = create,
	.destroy = destroy,
};
