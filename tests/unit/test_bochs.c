/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Bochs display, through its regions as a guest sees them. The registers
 * are those of QEMU's docs/specs/standard-vga.rst; the sequences are those of
 * Linux' bochs driver.
 */
#include "device/bochs_display.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "pci/function.h"
#include "scanout/scanout.h"
#include "unit.h"

enum {
	VRAM = VFIO_PCI_BAR0_REGION_INDEX,
	MMIO = VFIO_PCI_BAR2_REGION_INDEX,
	ROM = VFIO_PCI_ROM_REGION_INDEX,
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,

	VRAM_SIZE = 16 << 20,

	VGA = 0x400, /* ports from 0x3c0 */
	DISPI = 0x500,
	EXTENDED = 0x600,

	ID = 0,
	XRES,
	YRES,
	BPP,
	ENABLE,
	BANK,
	VIRT_WIDTH,
	VIRT_HEIGHT,
	X_OFFSET,
	Y_OFFSET,
	MEMORY_64K,
};

static struct device *device;

static int create(const char *const pairs[][2], size_t n, char **ret_error)
{
	struct device_options options = { .n = n };

	for (size_t i = 0; i < n; i++) {
		options.items[i].key = pairs[i][0];
		options.items[i].value = pairs[i][1];
	}
	return device_create("bochs-display", "test", &options, &device, ret_error);
}

static int setup(void **state)
{
	char *error = NULL;

	return create(NULL, 0, &error);
}

static int teardown(void **state)
{
	device_destroy(device);
	device = NULL;
	return 0;
}

static uint32_t get(unsigned int region, uint64_t offset, unsigned int width)
{
	uint8_t buf[4];

	assert_int_equal(vfio_region_read(&device->vfio.regions[region], offset, buf, width), 0);
	return (uint32_t)get_le(buf, width);
}

static void set(unsigned int region, uint64_t offset, unsigned int width, uint32_t value)
{
	uint8_t buf[4];

	put_le(buf, value, width);
	assert_int_equal(vfio_region_write(&device->vfio.regions[region], offset, buf, width), 0);
}

static uint16_t dispi(unsigned int index)
{
	return (uint16_t)get(MMIO, DISPI + 2 * index, 2);
}

static void set_dispi(unsigned int index, uint16_t value)
{
	set(MMIO, DISPI + 2 * index, 2, value);
}

static struct scanout_info info(void)
{
	struct scanout_info i;

	scanout_get_info(device->scanout, &i);
	return i;
}

/* As Linux' bochs_hw_setmode() does it. */
static void set_mode(uint16_t width, uint16_t height, uint16_t bpp)
{
	set_dispi(ENABLE, 0);
	set_dispi(BPP, bpp);
	set_dispi(XRES, width);
	set_dispi(YRES, height);
	set_dispi(BANK, 0);
	set_dispi(VIRT_WIDTH, width);
	set_dispi(VIRT_HEIGHT, height);
	set_dispi(X_OFFSET, 0);
	set_dispi(Y_OFFSET, 0);
	set_dispi(ENABLE, 0x41);
}

static void expect_mode(uint32_t width, uint32_t height, uint32_t stride,
			enum scanout_format format, uint64_t offset)
{
	struct scanout_info i = info();

	assert_int_equal(i.state, SCANOUT_ON);
	assert_int_equal(i.mode.width, width);
	assert_int_equal(i.mode.height, height);
	assert_int_equal(i.mode.stride, stride);
	assert_int_equal(i.mode.format, format);
	assert_int_equal(i.mode.offset, offset);
}

static void it_is_what_linux_looks_for(void **state)
{
	struct vfio_region *regions = device->vfio.regions;

	assert_true(vfio_device_is_valid(&device->vfio));
	assert_int_equal(get(CONFIG, PCI_VENDOR_ID, 4), 0x11111234);
	assert_int_equal(get(CONFIG, PCI_CLASS_REVISION, 4) >> 8, 0x038000);
	/* With less than 2 Linux ignores the extended registers. */
	assert_true(get(CONFIG, PCI_REVISION_ID, 1) >= 2);
	assert_int_equal(get(CONFIG, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(regions[VRAM].size, VRAM_SIZE);
	assert_true(regions[VRAM].flags & VFIO_REGION_INFO_FLAG_MMAP);
	assert_int_equal(regions[MMIO].size, 4096);
	assert_false(regions[MMIO].flags & VFIO_REGION_INFO_FLAG_MMAP);
	assert_int_equal(regions[ROM].size, 0);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_0, 4), PCI_BASE_ADDRESS_MEM_PREFETCH);

	assert_int_equal(dispi(ID) & 0xfff0, 0xb0c0);
	assert_int_equal(dispi(MEMORY_64K), VRAM_SIZE >> 16);
	assert_int_equal(get(MMIO, EXTENDED, 4), 8);
	assert_int_equal(info().state, SCANOUT_OFF);
}

static void dispi_registers_at_every_width(void **state)
{
	for (unsigned int index = 0; index <= MEMORY_64K; index++) {
		bool fixed = index == ID || index == MEMORY_64K;
		uint16_t was = dispi(index);

		set_dispi(index, 0x1234);
		assert_int_equal(dispi(index), fixed ? was : 0x1234);
		set(MMIO, DISPI + 2 * index, 1, 0x56);
		assert_int_equal(dispi(index), fixed ? was : 0x1256);
		set(MMIO, DISPI + 2 * index + 1, 1, 0x78);
		assert_int_equal(dispi(index), fixed ? was : 0x7856);
		assert_int_equal(get(MMIO, DISPI + 2 * index, 1), fixed ? was & 0xff : 0x56);
		assert_int_equal(get(MMIO, DISPI + 2 * index + 1, 1), fixed ? was >> 8 : 0x78);
		set_dispi(index, 0);
	}
	/* Two at once. */
	set(MMIO, DISPI + 2 * XRES + 2, 4, 0x00200300);
	assert_int_equal(dispi(YRES), 0x300);
	assert_int_equal(dispi(BPP), 0x20);
	assert_int_equal(get(MMIO, DISPI + 2 * YRES, 4), 0x00200300);
	set(MMIO, DISPI + 2 * XRES + 1, 4, 0x11223344); /* unaligned */
	assert_int_equal(dispi(XRES), 0x4400);
	assert_int_equal(dispi(YRES), 0x2233);
	assert_int_equal(dispi(BPP), 0x11);
}

static void nothing_is_behind_the_rest(void **state)
{
	for (uint64_t at = 0x420; at < 0x1000; at += 4) {
		if ((at >= DISPI && at < DISPI + 0x18) || (at >= EXTENDED && at < EXTENDED + 8))
			continue;
		set(MMIO, at, 4, 0);
		assert_int_equal(get(MMIO, at, 4), 0xffffffff);
	}
	assert_int_equal(get(MMIO, DISPI + 0x16, 2), 0xffff);
	assert_int_equal(info().state, SCANOUT_OFF);
}

static void the_edid_is_read_only(void **state)
{
	assert_int_equal(get(MMIO, 0, 4), 0xffffff00);
	assert_int_equal(get(MMIO, 4, 4), 0x00ffffff);
	assert_int_equal(get(MMIO, 7, 1), 0);
	for (uint64_t at = 0; at < 0x80; at++) {
		uint32_t was = get(MMIO, at, 1);

		set(MMIO, at, 1, ~was & 0xff);
		assert_int_equal(get(MMIO, at, 1), was);
	}
}

static void modes_are_derived(void **state)
{
	set_mode(1024, 768, 32);
	expect_mode(1024, 768, 4096, SCANOUT_XRGB8888, 0);
	set_mode(800, 600, 16);
	expect_mode(800, 600, 1600, SCANOUT_RGB565, 0);

	/* Without a virtual width, or with one that is too small, the rows follow each other. */
	set_dispi(VIRT_WIDTH, 0);
	expect_mode(800, 600, 1600, SCANOUT_RGB565, 0);
	set_dispi(VIRT_WIDTH, 799);
	expect_mode(800, 600, 1600, SCANOUT_RGB565, 0);
	set_dispi(VIRT_WIDTH, 1000);
	expect_mode(800, 600, 2000, SCANOUT_RGB565, 0);
	set_dispi(VIRT_HEIGHT, 1200); /* means nothing */
	expect_mode(800, 600, 2000, SCANOUT_RGB565, 0);

	/* Panning: Linux flips pages by Y_OFFSET. */
	set_dispi(Y_OFFSET, 600);
	expect_mode(800, 600, 2000, SCANOUT_RGB565, 600 * 2000);
	set_dispi(X_OFFSET, 10);
	expect_mode(800, 600, 2000, SCANOUT_RGB565, 600 * 2000 + 20);
	set_dispi(ENABLE, 0);
	assert_int_equal(info().state, SCANOUT_OFF);
}

static void modes_that_are_none_turn_it_off(void **state)
{
	static const uint16_t bad_bpp[] = { 0, 4, 8, 15, 24, 31, 64, 0xffff };

	set_mode(1024, 768, 32);
	assert_int_equal(info().state, SCANOUT_ON);
	for (size_t i = 0; i < ARRAY_SIZE(bad_bpp); i++) {
		set_mode(1024, 768, bad_bpp[i]);
		assert_int_equal(info().state, SCANOUT_OFF);
	}
	set_mode(63, 64, 32);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_mode(64, 63, 32);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_mode(64, 64, 32);
	expect_mode(64, 64, 256, SCANOUT_XRGB8888, 0);

	/* 16 MiB to the last byte, and one row, column or offset more. */
	set_mode(2048, 2048, 32);
	expect_mode(2048, 2048, 8192, SCANOUT_XRGB8888, 0);
	set_dispi(YRES, 2049);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_dispi(YRES, 2048);
	assert_int_equal(info().state, SCANOUT_ON);
	set_dispi(VIRT_WIDTH, 2049);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_dispi(VIRT_WIDTH, 2048);
	set_dispi(Y_OFFSET, 1);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_dispi(YRES, 2047);
	expect_mode(2048, 2047, 8192, SCANOUT_XRGB8888, 8192);
	set_dispi(X_OFFSET, 1);
	assert_int_equal(info().state, SCANOUT_OFF);

	/* Everything as large as it can be: nothing wraps. */
	set_mode(0xffff, 0xffff, 32);
	set_dispi(VIRT_WIDTH, 0xffff);
	set_dispi(X_OFFSET, 0xffff);
	set_dispi(Y_OFFSET, 0xffff);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_mode(16385, 64, 16);
	assert_int_equal(info().state, SCANOUT_OFF);
	set_mode(16384, 64, 16);
	expect_mode(16384, 64, 32768, SCANOUT_RGB565, 0);
}

static void byte_order(void **state)
{
	assert_int_equal(get(MMIO, EXTENDED + 4, 4), 0x1e1e1e1e);
	set_mode(640, 480, 32);
	set(MMIO, EXTENDED + 4, 4, 0xbebebebe);
	assert_int_equal(get(MMIO, EXTENDED + 4, 4), 0xbebebebe);
	expect_mode(640, 480, 2560, SCANOUT_BGRX8888, 0);
	set(MMIO, EXTENDED + 4, 4, 0x12345678); /* no byte order */
	set(MMIO, EXTENDED + 4, 1, 0x1e);
	assert_int_equal(get(MMIO, EXTENDED + 4, 4), 0xbebebebe);
	set_mode(640, 480, 16);
	expect_mode(640, 480, 1280, SCANOUT_RGB565_BE, 0);
	set(MMIO, EXTENDED + 4, 4, 0x1e1e1e1e);
	expect_mode(640, 480, 1280, SCANOUT_RGB565, 0);
	set(MMIO, EXTENDED, 4, 99);
	assert_int_equal(get(MMIO, EXTENDED, 4), 8);
}

/* As Linux' bochs_hw_blank(). */
static void blank(bool on)
{
	set(MMIO, VGA + 0x02, 1, 0x01); /* colour: input status 1 is at 0x3da */
	get(MMIO, VGA + 0x1a, 1); /* the next write is an index */
	set(MMIO, VGA + 0x00, 1, on ? 0x00 : 0x20);
}

static void the_screen_is_blanked_by_vga(void **state)
{
	set_mode(640, 480, 32);
	assert_int_equal(info().state, SCANOUT_ON); /* firmware knows no VGA ports */
	blank(true);
	assert_int_equal(info().state, SCANOUT_BLANKED);
	assert_int_equal(info().mode.width, 640);
	blank(false);
	assert_int_equal(info().state, SCANOUT_ON);

	/* Data goes nowhere. */
	set(MMIO, VGA, 1, 0x00);
	assert_int_equal(info().state, SCANOUT_ON);
	set(MMIO, VGA, 1, 0x00);
	assert_int_equal(info().state, SCANOUT_BLANKED);
	blank(false);

	/* A driver that waits for the retrace sees it come and go. */
	assert_int_not_equal(get(MMIO, VGA + 0x1a, 1), get(MMIO, VGA + 0x1a, 1));
	set(MMIO, VGA + 0x02, 1, 0x67);
	assert_int_equal(get(MMIO, VGA + 0x0c, 1), 0x67);
	assert_int_equal(get(MMIO, VGA + 0x14, 1), 0xff);
}

static void the_screen_is_blanked_by_power_management(void **state)
{
	uint32_t pm = get(CONFIG, PCI_CAPABILITY_LIST, 1);

	while (get(CONFIG, pm, 1) != PCI_CAP_ID_PM)
		pm = get(CONFIG, pm + 1, 1);
	set_mode(640, 480, 32);
	set(CONFIG, pm + PCI_PM_CTRL, 2, 3);
	assert_int_equal(info().state, SCANOUT_BLANKED);
	blank(true);
	set(CONFIG, pm + PCI_PM_CTRL, 2, 0);
	assert_int_equal(info().state, SCANOUT_BLANKED);
	blank(false);
	assert_int_equal(info().state, SCANOUT_ON); /* no soft reset: the mode is still there */
}

static void reset_keeps_vram(void **state)
{
	set_mode(640, 480, 32);
	set(MMIO, EXTENDED + 4, 4, 0xbebebebe);
	blank(true);
	set(VRAM, 0x1000, 4, 0x11223344);
	set(CONFIG, PCI_BASE_ADDRESS_0, 4, 0xf0000000);
	vfio_device_reset(&device->vfio);

	assert_int_equal(info().state, SCANOUT_OFF);
	assert_int_equal(get(VRAM, 0x1000, 4), 0x11223344);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_0, 4), 8);
	assert_int_equal(get(MMIO, EXTENDED + 4, 4), 0x1e1e1e1e);
	for (unsigned int i = XRES; i < MEMORY_64K; i++)
		assert_int_equal(dispi(i), 0);
	set_mode(640, 480, 32);
	expect_mode(640, 480, 2560, SCANOUT_XRGB8888, 0);
}

/* The next tenant sees nothing of the last one's, who sees nothing of his. */
static void a_power_cycle_brings_new_vram(void **state)
{
	struct vfio_region *vram = &device->vfio.regions[VRAM];
	int old_fd = fcntl(vram->fd, F_DUPFD_CLOEXEC, 0);
	uint8_t *old = mmap(NULL, VRAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, old_fd, 0), *new;
	struct scanout_image image;
	struct stat a, b;

	assert_ptr_not_equal(old, MAP_FAILED);
	set_mode(64, 64, 32);
	old[0x1000] = 0x5a;
	assert_int_equal(get(VRAM, 0x1000, 1), 0x5a);
	assert_int_equal(fstat(old_fd, &a), 0);

	assert_int_equal(vfio_device_disconnect(&device->vfio, false), 0);
	assert_int_equal(info().state, SCANOUT_OFF);
	assert_int_equal(get(VRAM, 0x1000, 1), 0);
	assert_int_equal(fstat(vram->fd, &b), 0);
	assert_int_not_equal(a.st_ino, b.st_ino);
	assert_int_equal(b.st_size, VRAM_SIZE);

	new = mmap(NULL, VRAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vram->fd, 0);
	assert_ptr_not_equal(new, MAP_FAILED);
	new[0x2000] = 0x77;
	assert_int_equal(get(VRAM, 0x2000, 1), 0x77);
	assert_int_equal(old[0x2000], 0);
	assert_int_equal(old[0x1000], 0x5a);
	old[0x3000] = 0x33;
	assert_int_equal(get(VRAM, 0x3000, 1), 0);

	/* And what is shown is the new memory. */
	set_mode(64, 64, 32);
	memset(new, 0x42, 64 * 64 * 4);
	assert_int_equal(scanout_capture(device->scanout, &image), 0);
	assert_int_equal(image.width, 64);
	assert_int_equal(image.pixels[0] & 0xffffff, 0x424242);
	scanout_image_done(&image);

	assert_int_equal(vfio_device_disconnect(&device->vfio, true), 0);
	assert_int_equal(get(VRAM, 0x2000, 1), 0x42);
	expect_mode(64, 64, 256, SCANOUT_XRGB8888, 0);
	munmap(old, VRAM_SIZE);
	munmap(new, VRAM_SIZE);
	close(old_fd);
}

/* Neither side can pull the memory away from under the other. */
static void vram_is_sealed(void **state)
{
	int fd = device->vfio.regions[VRAM].fd;

	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, 2 * VRAM_SIZE), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

static void any_register_traffic_does_no_harm(void **state)
{
	unsigned int seed = 7;

	for (unsigned int i = 0; i < 200000; i++) {
		uint8_t buf[8];
		uint64_t offset = (unsigned int)rand_r(&seed) % 0x620;
		size_t length = 1 + (unsigned int)rand_r(&seed) % 8;
		struct scanout_info s;

		put_le64(buf, (uint64_t)rand_r(&seed) << 32 | (unsigned int)rand_r(&seed));
		if (rand_r(&seed) % 2) { /* values that make modes */
			static const uint16_t values[] = { 16, 32, 64, 1, 1024, 2048, 0x41, 0 };

			offset = DISPI + 2 * ((unsigned int)rand_r(&seed) % 11);
			length = 2;
			put_le16(buf, values[rand_r(&seed) % 8]);
		}
		if (rand_r(&seed) % 4)
			vfio_region_write(&device->vfio.regions[MMIO], offset, buf, length);
		else
			vfio_region_read(&device->vfio.regions[MMIO], offset, buf, length);
		s = info();
		if (s.state != SCANOUT_OFF)
			assert_true(s.mode.offset + (uint64_t)s.mode.stride * s.mode.height <=
				    VRAM_SIZE);
	}
}

/* --- options --- */

static void expect_error(const char *key, const char *value, const char *says)
{
	const char *const pairs[][2] = { { key, value } };
	_cleanup_free_ char *error = NULL;

	assert_true(create(pairs, 1, &error) < 0);
	assert_non_null(error);
	if (!strstr(error, says))
		fail_msg("%s=%s: %s", key, value, error);
}

static void options_are_checked_in_sentences(void **state)
{
	expect_error("vrma", "16M", "vrma");
	expect_error("vram", "16", "4M to 256M");
	expect_error("vram", "2M", "4M to 256M");
	expect_error("vram", "512M", "4M to 256M");
	expect_error("vram", "", "4M to 256M");
	expect_error("vram", "lots", "4M to 256M");
	expect_error("vram", "-16M", "4M to 256M");
	expect_error("vram", "12M", "power of two");
	expect_error("xres", "639", "640 to 4095");
	expect_error("xres", "4096", "640 to 4095");
	expect_error("xres", "wide", "640 to 4095");
	expect_error("yres", "479", "480 to 4095");
	expect_error("rom", "/nonexistent/rom", "/nonexistent/rom");
	{
		struct device_options none = { .n = 0 };
		_cleanup_free_ char *error = NULL;

		assert_int_equal(device_create("voodoo2", "test", &none, &device, &error), -EINVAL);
		assert_non_null(strstr(error, "bochs-display"));
	}
}

static void vram_of_every_size(void **state)
{
	static const char *const sizes[] = { "4M",  "8M",   "16M",  "32M",
					     "64M", "128M", "256M", "4194304" };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t size = i < 7 ? 4ULL << (20 + i) : 4 << 20;
		/* The last one wins. */
		const char *const pairs[][2] = { { "vram", "1G" }, { "vram", sizes[i] } };
		char *error = NULL;

		assert_int_equal(create(pairs, 2, &error), 0);
		assert_int_equal(device->vfio.regions[VRAM].size, size);
		assert_int_equal(dispi(MEMORY_64K), size >> 16);
		set(CONFIG, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
		assert_int_equal(-(get(CONFIG, PCI_BASE_ADDRESS_0, 4) & ~15U), (uint32_t)size);
		set(VRAM, size - 4, 4, 7);
		assert_int_equal(get(VRAM, size - 4, 4), 7);
		teardown(NULL);
	}
}

/* --- the option ROM --- */

static char rom_path[] = "/tmp/test-bochs-rom-XXXXXX";

static void write_rom(const void *bytes, size_t length, size_t file_size)
{
	int fd;

	strcpy(rom_path + strlen(rom_path) - 6, "XXXXXX");
	fd = mkstemp(rom_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	assert_int_equal(ftruncate(fd, (off_t)file_size), 0);
	close(fd);
}

/* A header and a PCI data structure, for the given device. */
static void make_rom(uint8_t rom[64], uint16_t vendor, uint16_t id)
{
	memset(rom, 0, 64);
	rom[0] = 0x55;
	rom[1] = 0xaa;
	rom[2] = 1;
	put_le16(rom + 0x18, 0x1c);
	memcpy(rom + 0x1c, "PCIR", 4);
	put_le16(rom + 0x20, vendor);
	put_le16(rom + 0x22, id);
}

static void a_rom_is_padded_and_read(void **state)
{
	static const size_t sizes[] = { 64, 2047, 2048, 2049, 40000 };
	const char *const pairs[][2] = { { "rom", rom_path } };
	uint8_t rom[64];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		static uint8_t seen[65536];
		uint64_t size = 2048;
		char *error = NULL;

		while (size < sizes[i])
			size *= 2;
		make_rom(rom, i % 2 ? 0x1234 : 0x8086,
			 0x1111); /* a foreign one is only warned of */
		write_rom(rom, sizeof(rom), sizes[i]);
		assert_int_equal(create(pairs, 1, &error), 0);
		unlink(rom_path);

		assert_int_equal(device->vfio.regions[ROM].size, size);
		assert_int_equal(vfio_region_read(&device->vfio.regions[ROM], 0, seen, size), 0);
		assert_memory_equal(seen, rom, sizeof(rom));
		for (size_t at = sizeof(rom); at < size; at++)
			assert_int_equal(seen[at], at < sizes[i] ? 0 : 0xff);
		set(CONFIG, PCI_ROM_ADDRESS, 4, 0xfffffffe);
		assert_int_equal(get(CONFIG, PCI_ROM_ADDRESS, 4), (uint32_t)-size);
		assert_int_equal(vfio_region_write(&device->vfio.regions[ROM], 0, rom, 4), -EINVAL);
		/* It survives what the guest and the next client do. */
		assert_int_equal(vfio_device_disconnect(&device->vfio, false), 0);
		assert_int_equal(get(ROM, 0, 2), 0xaa55);
		teardown(NULL);
	}
}

static void what_is_no_rom_is_refused(void **state)
{
	uint8_t rom[64];

	make_rom(rom, 0x1234, 0x1111);
	write_rom(rom, 25, 25); /* too short for a header */
	expect_error("rom", rom_path, "no option ROM");
	unlink(rom_path);
	write_rom(rom, 0, 0);
	expect_error("rom", rom_path, "no option ROM");
	unlink(rom_path);
	write_rom(rom, sizeof(rom), (16 << 20) + 1);
	expect_error("rom", rom_path, "16 MiB");
	unlink(rom_path);
	rom[1] = 0;
	write_rom(rom, sizeof(rom), 4096);
	expect_error("rom", rom_path, "55 AA");
	unlink(rom_path);

	expect_error("rom", "/dev/zero", "no option ROM");
	expect_error("rom", "/", "no option ROM");
	assert_int_equal(mkfifo(rom_path, 0600), 0);
	expect_error("rom", rom_path, "no option ROM"); /* and does not wait for a writer */
	unlink(rom_path);

	/* A pointer to nowhere: it is firmware's to refuse. */
	make_rom(rom, 0x1234, 0x1111);
	put_le16(rom + 0x18, 0xffff);
	write_rom(rom, sizeof(rom), 2048);
	{
		const char *const pairs[][2] = { { "rom", rom_path } };
		char *error = NULL;

		assert_int_equal(create(pairs, 1, &error), 0);
		teardown(NULL);
	}
	unlink(rom_path);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_is_what_linux_looks_for),
		T(dispi_registers_at_every_width),
		T(nothing_is_behind_the_rest),
		T(the_edid_is_read_only),
		T(modes_are_derived),
		T(modes_that_are_none_turn_it_off),
		T(byte_order),
		T(the_screen_is_blanked_by_vga),
		T(the_screen_is_blanked_by_power_management),
		T(reset_keeps_vram),
		T(a_power_cycle_brings_new_vram),
		T(vram_is_sealed),
		T(any_register_traffic_does_no_harm),
		cmocka_unit_test(options_are_checked_in_sentences),
		cmocka_unit_test(vram_of_every_size),
		cmocka_unit_test(a_rom_is_padded_and_read),
		cmocka_unit_test(what_is_no_rom_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
