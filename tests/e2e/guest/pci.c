/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The display device as a PCI function, below any driver: configuration space, BARs, the bochs DISPI
 * registers, the aperture. All through sysfs. With a driver bound, BARs can be mapped only if the kernel
 * was started with iomem=relaxed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PCI_DEVICES "/sys/bus/pci/devices/"

/* Offsets in BAR 2 of a bochs display, QEMU's docs/specs/standard-vga.rst */
enum {
	VGA_ATTRIBUTE = 0x400, /* port 0x3c0 */
	VGA_INPUT_STATUS_1 = 0x41a,
	DISPI = 0x500,
};

enum {
	DISPI_XRES = 1,
	DISPI_YRES,
	DISPI_BPP,
	DISPI_ENABLE,
	DISPI_BANK,
	DISPI_VIRT_WIDTH,
	DISPI_VIRT_HEIGHT,
	DISPI_X_OFFSET,
	DISPI_Y_OFFSET
};

struct bar {
	volatile uint8_t *map;
	size_t size;
};

int pci_find_display(char ret_name[PCI_NAME_LEN])
{
	DIR *dir = opendir(PCI_DEVICES);
	struct dirent *e;
	char class[16];
	int rc = -ENODEV;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= PCI_NAME_LEN)
			continue;
		if (pci_read_attr(e->d_name, "class", class, sizeof(class)) < 0)
			continue;
		if (strncmp(class, "0x03", 4) == 0) {
			strcpy(ret_name, e->d_name);
			rc = 0;
			break;
		}
	}
	closedir(dir);
	return rc;
}

static void attr_path(char path[128], const char *name, const char *attr)
{
	snprintf(path, 128, PCI_DEVICES "%s/%s", name, attr);
}

int pci_read_attr(const char *name, const char *attr, char *buf, size_t size)
{
	char path[128];

	attr_path(path, name, attr);
	return read_small_file(path, buf, size);
}

bool pci_has_driver(const char *name)
{
	char path[128];

	attr_path(path, name, "driver");
	return access(path, F_OK) == 0;
}

static int bar_map(int index, struct bar *ret)
{
	char name[PCI_NAME_LEN], path[128], attr[16];
	struct stat st;
	int fd, rc;
	void *map;

	rc = pci_find_display(name);
	if (rc < 0)
		return rc;
	if (!pci_has_driver(name)) {
		attr_path(path, name, "enable");
		rc = write_small_file(path, "1");
		if (rc < 0)
			return rc;
	}

	snprintf(attr, sizeof(attr), "resource%d", index);
	attr_path(path, name, attr);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rc = -errno;
	close(fd);
	if (map == MAP_FAILED)
		return rc;
	*ret = (struct bar){ .map = map, .size = st.st_size };
	return 0;
}

static void bar_unmap(struct bar *b)
{
	munmap((void *)b->map, b->size);
}

static int run_config_read(int argc, char **argv, struct text *out)
{
	char name[PCI_NAME_LEN], path[128];
	uint32_t offset, width, value = 0;
	int fd, rc;
	ssize_t n;

	rc = pci_find_display(name);
	if (rc < 0)
		return rc;
	if (parse_u32(argv[1], &offset) < 0 || parse_u32(argv[2], &width) < 0 ||
	    (width != 1 && width != 2 && width != 4))
		return -EINVAL;
	attr_path(path, name, "config");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, &value, width, offset);
	rc = n < 0 ? -errno : n != (ssize_t)width ? -EIO : 0;
	close(fd);
	if (rc == 0)
		text_add(out, "value=0x%0*x", (int)width * 2, value);
	return rc;
}

static int mmio_args(char **argv, const struct bar *b, uint32_t *offset, uint32_t *width)
{
	if (parse_u32(argv[1], offset) < 0 || parse_u32(argv[2], width) < 0)
		return -EINVAL;
	if (*width != 1 && *width != 2 && *width != 4 && *width != 8)
		return -EINVAL;
	if (*offset % *width || *offset >= b->size || *width > b->size - *offset)
		return -ERANGE;
	return 0;
}

static int run_mmio_read(int argc, char **argv, struct text *out)
{
	uint32_t offset, width;
	struct bar b;
	int rc;

	rc = bar_map(2, &b);
	if (rc < 0)
		return rc;
	rc = mmio_args(argv, &b, &offset, &width);
	if (rc == 0) {
		volatile void *p = b.map + offset;
		uint64_t value = width == 1   ? *(volatile uint8_t *)p
				 : width == 2 ? *(volatile uint16_t *)p
				 : width == 4 ? *(volatile uint32_t *)p
					      : *(volatile uint64_t *)p;

		text_add(out, "value=0x%0*llx", (int)width * 2, (unsigned long long)value);
	}
	bar_unmap(&b);
	return rc;
}

static int run_mmio_write(int argc, char **argv, struct text *out)
{
	uint32_t offset, width, value;
	struct bar b;
	int rc;

	if (parse_u32(argv[3], &value) < 0)
		return -EINVAL;
	rc = bar_map(2, &b);
	if (rc < 0)
		return rc;
	rc = mmio_args(argv, &b, &offset, &width);
	if (rc == 0) {
		volatile void *p = b.map + offset;

		if (width == 1)
			*(volatile uint8_t *)p = value;
		else if (width == 2)
			*(volatile uint16_t *)p = value;
		else if (width == 4)
			*(volatile uint32_t *)p = value;
		else
			*(volatile uint64_t *)p = value;
	}
	bar_unmap(&b);
	return rc;
}

static int run_vram_scan(int argc, char **argv, struct text *out)
{
	uint64_t nonzero = 0, first = 0;
	struct bar b;
	int rc;

	rc = bar_map(0, &b);
	if (rc < 0)
		return rc;
	for (size_t at = 0; at < b.size; at += 8) {
		uint64_t word = *(volatile uint64_t *)(b.map + at);

		if (!word)
			continue;
		if (!nonzero)
			first = at;
		for (; word; word >>= 8)
			nonzero += (word & 0xff) != 0;
	}
	text_add(out, "bytes=%zu nonzero=%llu first=%llu", b.size, (unsigned long long)nonzero,
		 (unsigned long long)first);
	bar_unmap(&b);
	return 0;
}

/* Leaves no byte zero. */
static int run_vram_fill(int argc, char **argv, struct text *out)
{
	uint32_t seed;
	struct bar b;
	int rc;

	if (parse_u32(argv[1], &seed) < 0)
		return -EINVAL;
	rc = bar_map(0, &b);
	if (rc < 0)
		return rc;
	for (size_t at = 0; at < b.size; at += 4) {
		seed = seed * 1664525 + 1013904223;
		*(volatile uint32_t *)(b.map + at) = seed | 0x01010101;
	}
	text_add(out, "bytes=%zu", b.size);
	bar_unmap(&b);
	return 0;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int run_stores(int argc, char **argv, struct text *out)
{
	uint32_t count, mask;
	volatile uint32_t *p;
	uint64_t start, ns;
	struct bar b;
	int rc;

	if (parse_u32(argv[1], &count) < 0)
		return -EINVAL;
	rc = bar_map(0, &b);
	if (rc < 0)
		return rc;
	p = (volatile uint32_t *)b.map;
	mask = b.size / 4 - 1; /* a BAR's size is a power of two */
	start = now_ns();
	for (uint32_t i = 0; i < count; i++)
		p[i & mask] = i;
	ns = now_ns() - start;
	text_add(out, "stores=%u ns=%llu", count, (unsigned long long)ns);
	bar_unmap(&b);
	return 0;
}

/* What a trapped access costs: the median and the longest of COUNT reads of a register. */
static int run_reads(int argc, char **argv, struct text *out)
{
	static uint64_t ns[4096];
	uint32_t count;
	struct bar b;
	int rc;

	if (parse_u32(argv[1], &count) < 0 || count == 0 || count > ARRAY_SIZE(ns))
		return -EINVAL;
	rc = bar_map(2, &b);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t start = now_ns();

		(void)*(volatile uint16_t *)(b.map + DISPI);
		ns[i] = now_ns() - start;
	}
	bar_unmap(&b);
	qsort(ns, count, sizeof(ns[0]), compare_u64);
	text_add(out, "reads=%u median=%llu max=%llu", count, (unsigned long long)ns[count / 2],
		 (unsigned long long)ns[count - 1]);
	return 0;
}

/*
 * Sets a mode by registers and draws, as firmware does: formats, strides and offsets that no driver uses.
 * dispi W H DEPTH PATTERN SEED [VIRTUAL-WIDTH [X Y]]; the pattern fills the virtual width and the lines
 * from 0 to Y + H.
 */
static int run_dispi(int argc, char **argv, struct text *out)
{
	static struct pattern p;
	uint32_t width, height, depth, seed, virt, x = 0, y = 0;
	volatile uint16_t *dispi;
	struct bar regs, vram;
	size_t pitch;
	int rc;

	if (parse_u32(argv[1], &width) < 0 || parse_u32(argv[2], &height) < 0 ||
	    parse_u32(argv[3], &depth) < 0 || parse_u32(argv[5], &seed) < 0)
		return -EINVAL;
	virt = width;
	if (argc == 8 || (argc > 6 && parse_u32(argv[6], &virt) < 0) ||
	    (argc > 8 && (parse_u32(argv[7], &x) < 0 || parse_u32(argv[8], &y) < 0)))
		return -EINVAL;
	if ((depth != 16 && depth != 32) || height > 65535 || y > 65535)
		return -EINVAL;
	rc = pattern_init(&p, argv[4], virt, y + height, seed);
	if (rc < 0)
		return rc;

	rc = bar_map(0, &vram);
	if (rc < 0)
		return rc;
	rc = bar_map(2, &regs);
	if (rc < 0) {
		bar_unmap(&vram);
		return rc;
	}
	pitch = (size_t)virt * depth / 8;
	if (pitch * (y + height) <= vram.size) {
		pattern_draw(&p, vram.map, pitch, depth == 16 ? DOTS_RGB565 : DOTS_XRGB8888);
		dispi = (volatile uint16_t *)(regs.map + DISPI);
		dispi[DISPI_ENABLE] = 0;
		dispi[DISPI_BPP] = depth;
		dispi[DISPI_XRES] = width;
		dispi[DISPI_YRES] = height;
		dispi[DISPI_BANK] = 0;
		dispi[DISPI_VIRT_WIDTH] = virt;
		dispi[DISPI_VIRT_HEIGHT] = y + height;
		dispi[DISPI_X_OFFSET] = x;
		dispi[DISPI_Y_OFFSET] = y;
		dispi[DISPI_ENABLE] = 0x41; /* enabled, linear framebuffer */
		(void)regs.map[VGA_INPUT_STATUS_1]; /* the next write is an index */
		regs.map[VGA_ATTRIBUTE] = 0x20; /* not blanked */
		text_add(out, "pitch=%zu", pitch);
	} else {
		rc = -ENOSPC;
	}
	bar_unmap(&regs);
	bar_unmap(&vram);
	return rc;
}

static int run_unbind(int argc, char **argv, struct text *out)
{
	char name[PCI_NAME_LEN], path[128];
	int rc;

	rc = pci_find_display(name);
	if (rc < 0)
		return rc;
	kms_close();
	attr_path(path, name, "driver/unbind");
	return write_small_file(path, name);
}

static int run_bind(int argc, char **argv, struct text *out)
{
	char name[PCI_NAME_LEN];
	int rc;

	rc = pci_find_display(name);
	if (rc < 0)
		return rc;
	rc = write_small_file("/sys/bus/pci/drivers_probe", name);
	if (rc == 0 && !pci_has_driver(name))
		return -ENODEV;
	return rc;
}

/* wait-device present|absent [MS]: present means with a DRM node where a driver is loaded */
static int run_wait_device(int argc, char **argv, struct text *out)
{
	bool want = strcmp(argv[1], "present") == 0;
	uint64_t start = now_ns();
	uint32_t ms = 10000;

	if (!want && strcmp(argv[1], "absent") != 0)
		return -EINVAL;
	if (argc > 2 && parse_u32(argv[2], &ms) < 0)
		return -EINVAL;
	if (!want)
		kms_close(); /* an open device node would keep the old device alive */
	for (;;) {
		char name[PCI_NAME_LEN];
		bool there = pci_find_display(name) == 0;
		uint64_t waited = (now_ns() - start) / 1000000;

		if (there == want &&
		    (!want || access("/sys/module/drm", F_OK) < 0 || kms_card_present(name))) {
			text_add(out, "ms=%llu", (unsigned long long)waited);
			return 0;
		}
		if (waited >= ms)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
	}
}

const struct command pci_commands[] = {
	{ "config-read", "OFFSET WIDTH", 2, 2, run_config_read },
	{ "mmio-read", "OFFSET WIDTH", 2, 2, run_mmio_read },
	{ "mmio-write", "OFFSET WIDTH VALUE", 3, 3, run_mmio_write },
	{ "vram-scan", "", 0, 0, run_vram_scan },
	{ "vram-fill", "SEED", 1, 1, run_vram_fill },
	{ "stores", "COUNT", 1, 1, run_stores },
	{ "reads", "COUNT", 1, 1, run_reads },
	{ "dispi", "W H DEPTH PATTERN SEED [VIRTUAL-WIDTH [X Y]]", 5, 8, run_dispi },
	{ "unbind", "", 0, 0, run_unbind },
	{ "bind", "", 0, 0, run_bind },
	{ "wait-device", "present|absent [MS]", 1, 2, run_wait_device },
	{},
};
