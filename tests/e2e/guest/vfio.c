/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver in user space for any PCI function of the guest, over the guest kernel's own vfio-pci: its
 * regions, its interrupts as eventfds, and memory for it to reach. The machine needs an IOMMU.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"

#define PCI_DEVICES "/sys/bus/pci/devices/"
#define PAGE 4096
#define MEMORY (2 << 20) /* bytes that the device can be given */
#define MAX_VECTORS 64

static struct {
	char name[PCI_NAME_LEN];
	int container, group, device; /* device -1: not open */
	int irqs[VFIO_PCI_NUM_IRQS][MAX_VECTORS]; /* 0: none */
	uint8_t *memory; /* NULL: not yet made */
} vfio = { .device = -1 };

static int parse_u64(const char *s, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(s, &end, 0);
	return errno || end == s || *end ? -EINVAL : 0;
}

static bool has_id(const char *name, uint32_t vendor, uint32_t device)
{
	char text[16];
	uint32_t v, d;

	return pci_read_attr(name, "vendor", text, sizeof(text)) > 0 && parse_u32(text, &v) == 0 &&
	       pci_read_attr(name, "device", text, sizeof(text)) > 0 && parse_u32(text, &d) == 0 &&
	       v == vendor && d == device;
}

static int find_function(const char *id, char ret[PCI_NAME_LEN])
{
	uint32_t vendor, device;
	struct dirent *e;
	int rc = -ENODEV;
	DIR *dir;

	if (sscanf(id, "%" SCNx32 ":%" SCNx32, &vendor, &device) != 2)
		return -EINVAL;
	dir = opendir(PCI_DEVICES);
	if (!dir)
		return -errno;
	while (rc < 0 && (e = readdir(dir))) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= PCI_NAME_LEN ||
		    !has_id(e->d_name, vendor, device))
			continue;
		strcpy(ret, e->d_name);
		rc = 0;
	}
	closedir(dir);
	return rc;
}

static int bind_to_vfio(const char *name)
{
	char path[128];
	int rc;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/driver_override", name);
	rc = write_small_file(path, "vfio-pci");
	if (rc < 0)
		return rc;
	return write_small_file("/sys/bus/pci/drivers_probe", name);
}

static int open_group(const char *name)
{
	char path[128], target[128];
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/iommu_group", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* find-function VENDOR:DEVICE, in hexadecimal */
static int run_find(int argc, char **argv, struct text *out)
{
	char name[PCI_NAME_LEN];
	int rc = find_function(argv[1], name);

	if (rc == 0)
		text_add(out, "pci=%s", name);
	return rc;
}

static int run_open(int argc, char **argv, struct text *out)
{
	int rc = find_function(argv[1], vfio.name);

	if (rc == 0)
		rc = bind_to_vfio(vfio.name);
	if (rc < 0)
		return rc;
	vfio.group = open_group(vfio.name);
	vfio.container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vfio.group < 0 || vfio.container < 0 ||
	    ioctl(vfio.group, VFIO_GROUP_SET_CONTAINER, &vfio.container) < 0 ||
	    ioctl(vfio.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return -errno;
	vfio.device = ioctl(vfio.group, VFIO_GROUP_GET_DEVICE_FD, vfio.name);
	if (vfio.device < 0)
		return -errno;
	text_add(out, "pci=%s", vfio.name);
	return 0;
}

static int region_info(uint32_t index, struct vfio_region_info *ret)
{
	*ret = (struct vfio_region_info){ .argsz = sizeof(*ret), .index = index };
	return ioctl(vfio.device, VFIO_DEVICE_GET_REGION_INFO, ret) < 0 ? -errno : 0;
}

static int run_regions(int argc, char **argv, struct text *out)
{
	for (uint32_t i = 0; i < VFIO_PCI_VGA_REGION_INDEX; i++) {
		struct vfio_region_info info;
		int rc = region_info(i, &info);

		if (rc < 0)
			return rc;
		text_add(out, "%sregion%u=%#llx", i ? " " : "", i, info.size);
	}
	return 0;
}

/* A BAR's page, so that accesses are the processor's own; anything else through read and write. */
struct window {
	volatile uint8_t *page;
	off_t at; /* in the device's file */
};

static int window_open(char **argv, uint64_t *ret_offset, struct window *ret)
{
	struct vfio_region_info info;
	uint64_t region;
	int rc;

	if (parse_u64(argv[1], &region) < 0 || parse_u64(argv[2], ret_offset) < 0)
		return -EINVAL;
	rc = region_info(region, &info);
	if (rc < 0)
		return rc;
	if (*ret_offset >= info.size)
		return -ERANGE;
	*ret = (struct window){ .at = info.offset + *ret_offset };
	if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	ret->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vfio.device,
			 info.offset + (*ret_offset & ~(uint64_t)(PAGE - 1)));
	return ret->page == MAP_FAILED ? -errno : 0;
}

static void window_close(struct window *w)
{
	if (w->page)
		munmap((void *)w->page, PAGE);
}

static uint64_t load(const volatile void *p, uint64_t width)
{
	switch (width) {
	case 1:
		return *(const volatile uint8_t *)p;
	case 2:
		return *(const volatile uint16_t *)p;
	case 4:
		return *(const volatile uint32_t *)p;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void store(volatile void *p, uint64_t width, uint64_t value)
{
	switch (width) {
	case 1:
		*(volatile uint8_t *)p = value;
		break;
	case 2:
		*(volatile uint16_t *)p = value;
		break;
	case 4:
		*(volatile uint32_t *)p = value;
		break;
	default:
		*(volatile uint64_t *)p = value;
		break;
	}
}

static bool width_is_valid(uint64_t width, uint64_t offset)
{
	return (width == 1 || width == 2 || width == 4 || width == 8) && offset % width == 0;
}

/* vfio-read REGION OFFSET WIDTH */
static int run_read(int argc, char **argv, struct text *out)
{
	uint64_t offset, width, value = 0;
	struct window w;
	int rc = window_open(argv, &offset, &w);

	if (rc < 0)
		return rc;
	if (parse_u64(argv[3], &width) < 0 || !width_is_valid(width, offset))
		rc = -EINVAL;
	else if (w.page)
		value = load(w.page + offset % PAGE, width);
	else if (pread(vfio.device, &value, width, w.at) != (ssize_t)width)
		rc = -EIO;
	window_close(&w);
	if (rc == 0)
		text_add(out, "value=%#" PRIx64, value);
	return rc;
}

/* vfio-write REGION OFFSET WIDTH VALUE [TIMES] */
static int run_write(int argc, char **argv, struct text *out)
{
	uint64_t offset, width, value, times = 1;
	struct window w;
	int rc = window_open(argv, &offset, &w);

	if (rc < 0)
		return rc;
	if (parse_u64(argv[3], &width) < 0 || !width_is_valid(width, offset) ||
	    parse_u64(argv[4], &value) < 0 || (argc > 5 && parse_u64(argv[5], &times) < 0))
		rc = -EINVAL;
	while (rc == 0 && times--) {
		if (w.page)
			store(w.page + offset % PAGE, width, value);
		else if (pwrite(vfio.device, &value, width, w.at) != (ssize_t)width)
			rc = -EIO;
	}
	window_close(&w);
	return rc;
}

static int set_irqs(uint32_t flags, uint32_t index, uint32_t count, const int *fds)
{
	struct {
		struct vfio_irq_set set;
		int fds[MAX_VECTORS];
	} arg = {
		.set = {
			.argsz = sizeof(arg.set) + (fds ? count * sizeof(int) : 0),
			.flags = flags,
			.index = index,
			.count = count,
		},
	};

	if (fds)
		memcpy(arg.fds, fds, count * sizeof(int));
	return ioctl(vfio.device, VFIO_DEVICE_SET_IRQS, &arg) < 0 ? -errno : 0;
}

static void close_irq(uint32_t index)
{
	for (uint32_t i = 0; i < MAX_VECTORS; i++)
		if (vfio.irqs[index][i])
			close(vfio.irqs[index][i]);
	memset(vfio.irqs[index], 0, sizeof(vfio.irqs[index]));
}

/* vfio-irq INDEX COUNT; 0 switches the index off */
static int run_irq(int argc, char **argv, struct text *out)
{
	uint32_t index, count;
	int rc;

	if (parse_u32(argv[1], &index) < 0 || parse_u32(argv[2], &count) < 0 ||
	    index >= VFIO_PCI_NUM_IRQS || count > MAX_VECTORS)
		return -EINVAL;
	if (!count) {
		rc = set_irqs(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, NULL);
		close_irq(index);
		return rc;
	}
	close_irq(index);
	for (uint32_t i = 0; i < count; i++)
		vfio.irqs[index][i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = set_irqs(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, count,
		      vfio.irqs[index]);
	if (rc < 0)
		close_irq(index);
	return rc;
}

/* vfio-wait INDEX VECTOR [MS]: the interrupts that came, at most after that time */
static int run_wait(int argc, char **argv, struct text *out)
{
	uint32_t index, vector, ms = 0;
	uint64_t n = 0;
	struct pollfd pfd = { .events = POLLIN };

	if (parse_u32(argv[1], &index) < 0 || parse_u32(argv[2], &vector) < 0 ||
	    (argc > 3 && parse_u32(argv[3], &ms) < 0) || index >= VFIO_PCI_NUM_IRQS ||
	    vector >= MAX_VECTORS || !vfio.irqs[index][vector])
		return -EINVAL;
	pfd.fd = vfio.irqs[index][vector];
	if (poll(&pfd, 1, ms) == 1 && read(pfd.fd, &n, sizeof(n)) != sizeof(n))
		return -errno;
	text_add(out, "count=%" PRIu64, n);
	return 0;
}

/* vfio-unmask: INTx, after it came */
static int run_unmask(int argc, char **argv, struct text *out)
{
	return set_irqs(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
			VFIO_PCI_INTX_IRQ_INDEX, 1, NULL);
}

/* dma-map IOVA: memory that the device reaches there */
static int run_map(int argc, char **argv, struct text *out)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.size = MEMORY,
	};
	void *p;

	if (parse_u64(argv[1], (uint64_t *)&map.iova) < 0)
		return -EINVAL;
	if (!vfio.memory) {
		p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return -errno;
		vfio.memory = p;
	}
	map.vaddr = (uintptr_t)vfio.memory;
	return ioctl(vfio.container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

/* dma-unmap IOVA; the memory keeps what it holds */
static int run_unmap(int argc, char **argv, struct text *out)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .size = MEMORY };

	if (parse_u64(argv[1], (uint64_t *)&unmap.iova) < 0)
		return -EINVAL;
	return ioctl(vfio.container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}

static int memory_range(char **argv, uint64_t *offset, uint64_t *length)
{
	if (!vfio.memory || parse_u64(argv[1], offset) < 0 || parse_u64(argv[2], length) < 0 ||
	    *offset > MEMORY || *length > MEMORY - *offset)
		return -EINVAL;
	return 0;
}

/* dma-fill OFFSET LENGTH SEED: byte n is seed + 7 n + (n >> 8) */
static int run_fill(int argc, char **argv, struct text *out)
{
	uint64_t offset, length, seed;

	if (memory_range(argv, &offset, &length) < 0 || parse_u64(argv[3], &seed) < 0)
		return -EINVAL;
	for (uint64_t n = 0; n < length; n++)
		vfio.memory[offset + n] = seed + 7 * n + (n >> 8);
	return 0;
}

/* dma-sum OFFSET LENGTH: a checksum that depends on every byte's place */
static int run_sum(int argc, char **argv, struct text *out)
{
	uint64_t offset, length, sum = 0;

	if (memory_range(argv, &offset, &length) < 0)
		return -EINVAL;
	for (uint64_t n = 0; n < length; n++)
		sum = sum * 31 + *(volatile uint8_t *)(vfio.memory + offset + n) + 1;
	text_add(out, "sum=%#" PRIx64, sum);
	return 0;
}

const struct command vfio_commands[] = {
	{ "find-function", "VENDOR:DEVICE", 1, 1, run_find },
	{ "vfio-open", "VENDOR:DEVICE", 1, 1, run_open },
	{ "vfio-regions", "", 0, 0, run_regions },
	{ "vfio-read", "REGION OFFSET WIDTH", 3, 3, run_read },
	{ "vfio-write", "REGION OFFSET WIDTH VALUE [TIMES]", 4, 5, run_write },
	{ "vfio-irq", "INDEX COUNT", 2, 2, run_irq },
	{ "vfio-wait", "INDEX VECTOR [MS]", 2, 3, run_wait },
	{ "vfio-unmask", "", 0, 0, run_unmask },
	{ "dma-map", "IOVA", 1, 1, run_map },
	{ "dma-unmap", "IOVA", 1, 1, run_unmap },
	{ "dma-fill", "OFFSET LENGTH SEED", 3, 3, run_fill },
	{ "dma-sum", "OFFSET LENGTH", 2, 2, run_sum },
	{},
};
