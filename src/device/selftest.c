/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The registers of BAR 0 are bytes in an array, as config
 * space is: a read takes them from there, a write puts them there if they are
 * writable and does what the register is for. A DMA command is only noted in
 * the handler; work() carries it out, a piece at a time, after the answer.
 */
#include "device/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "device/selftest_dma.h"
#include "device/selftest_regs.h"
#include "device/vram.h"
#include "pci/function.h"

enum {
	REGISTERS = SELFTEST_RUNG_VALUE(SELFTEST_DOORBELLS), /* where they end */
	DEFAULT_MSI = 32,
	DEFAULT_MSIX = 64,
};

#define MIN_APERTURE ((uint64_t)1 << 20)
#define MAX_APERTURE ((uint64_t)1 << 40)
#define DEFAULT_APERTURE ((uint64_t)8 << 30)

/* The parts of BAR 2 that are mapped. */
static const struct vfio_region_area mixed_areas[] = {
	{ .offset = 0x1000, .size = 0x1000 },
	{ .offset = 0x4000, .size = 0x8000 },
};

struct selftest {
	struct device device;
	struct pci_function pci;
	struct vram mixed, aperture;
	/* What the trapped part of BAR 2 holds: who maps it by its descriptor does not find it. */
	uint8_t trapped[SELFTEST_MIXED_SIZE];
	struct vfio_doorbell doorbells[SELFTEST_DOORBELLS];

	uint8_t regs[REGISTERS]; /* as a read finds them */
	struct selftest_dma dma;
	uint32_t completion; /* of the command under way */
	uint32_t msi_vectors, msix_vectors;
};

static uint32_t get_reg(const struct selftest *st, uint64_t at)
{
	return get_le32(st->regs + at);
}

static void put_reg(struct selftest *st, uint64_t at, uint32_t value)
{
	put_le32(st->regs + at, value);
}

static void add_to_reg64(struct selftest *st, uint64_t at, uint64_t value)
{
	put_le64(st->regs + at, get_le64(st->regs + at) + value);
}

static void set_intx(struct selftest *st, bool asserted)
{
	put_reg(st, SELFTEST_INTX, asserted);
	pci_intx_set(&st->pci, asserted);
}

static void raise_completion(struct selftest *st)
{
	switch (st->completion & ~0xffffU) {
	case SELFTEST_COMPLETION_INTX:
		set_intx(st, true);
		break;
	case SELFTEST_COMPLETION_MSI:
		pci_msi_raise(&st->pci, st->completion & 0xffff);
		break;
	case SELFTEST_COMPLETION_MSIX:
		pci_msix_raise(&st->pci, st->completion & 0xffff);
		break;
	default:
		break;
	}
}

/* r: 0 or a negative errno. */
static void finish_dma(struct selftest *st, int r)
{
	put_reg(st, SELFTEST_DMA_ERROR, (uint32_t)-r);
	put_le64(st->regs + SELFTEST_DMA_RESULT, r < 0 ? 0 : st->dma.sum);
	put_reg(st, SELFTEST_DMA_STATUS,
		r < 0 ? SELFTEST_DMA_STATUS_FAILED : SELFTEST_DMA_STATUS_DONE);
	selftest_dma_cancel(&st->dma);
	raise_completion(st);
}

static void start_dma(struct selftest *st, uint32_t command)
{
	const struct selftest_dma_command c = {
		.command = command,
		.source = get_le64(st->regs + SELFTEST_DMA_SOURCE),
		.target = get_le64(st->regs + SELFTEST_DMA_TARGET),
		.length = get_le64(st->regs + SELFTEST_DMA_LENGTH),
		.seed = get_reg(st, SELFTEST_DMA_SEED),
	};
	int r;

	if (get_reg(st, SELFTEST_DMA_STATUS) == SELFTEST_DMA_STATUS_BUSY)
		return;
	st->completion = get_reg(st, SELFTEST_DMA_COMPLETION);
	put_reg(st, SELFTEST_DMA_STATUS, SELFTEST_DMA_STATUS_BUSY);
	r = pci_may_master(&st->pci) ? selftest_dma_start(&st->dma, &c) : -EPERM;
	if (r < 0)
		finish_dma(st, r);
	else
		vfio_device_kick(&st->device.vfio);
}

static void work(void *opaque)
{
	struct selftest *st = opaque;
	int r = pci_may_master(&st->pci) ? selftest_dma_step(&st->dma, &st->device.vfio.dma)
					 : -EPERM;

	if (get_reg(st, SELFTEST_DMA_STATUS) != SELFTEST_DMA_STATUS_BUSY || r == -ECANCELED)
		return; /* a reset came in between */
	if (r > 0)
		vfio_device_kick(&st->device.vfio);
	else
		finish_dma(st, r);
}

static void ring(struct selftest *st, unsigned int doorbell)
{
	put_reg(st, SELFTEST_RUNG(doorbell), get_reg(st, SELFTEST_RUNG(doorbell)) + 1);
}

static void doorbell_write(struct selftest *st, uint64_t at, uint32_t value)
{
	uint64_t doorbell = (at - SELFTEST_DOORBELL(0)) / 4;

	if (at < SELFTEST_DOORBELL(0) || doorbell >= SELFTEST_DOORBELLS)
		return;
	put_reg(st, SELFTEST_RUNG_VALUE(doorbell), value);
	ring(st, (unsigned int)doorbell);
}

static void write_scratch(struct selftest *st, uint64_t at, uint64_t value, unsigned int width)
{
	put_le(st->regs + at, value, width);
	put_reg(st, SELFTEST_LAST_OFFSET, (uint32_t)at);
	put_reg(st, SELFTEST_LAST_WIDTH, width);
	put_le64(st->regs + SELFTEST_LAST_VALUE, value);
}

/* A dword of a register that is more than its bytes. */
static void write_dword(struct selftest *st, uint64_t at, uint32_t value)
{
	struct vfio_irqs *irqs = &st->device.vfio.irqs;

	switch (at) {
	case SELFTEST_SUM:
		add_to_reg64(st, SELFTEST_SUM, value);
		break;
	case SELFTEST_SUM + 4:
		add_to_reg64(st, SELFTEST_SUM, (uint64_t)value << 32);
		break;
	case SELFTEST_INTX:
		set_intx(st, value & 1);
		break;
	case SELFTEST_MSI:
		pci_msi_raise(&st->pci, value);
		break;
	case SELFTEST_MSIX:
		pci_msix_raise(&st->pci, value);
		break;
	case SELFTEST_ERR:
		vfio_irq_trigger(irqs, VFIO_PCI_ERR_IRQ_INDEX, value);
		break;
	case SELFTEST_REQ:
		vfio_irq_trigger(irqs, VFIO_PCI_REQ_IRQ_INDEX, value);
		break;
	case SELFTEST_DMA_SOURCE ... SELFTEST_DMA_COMPLETION:
		put_reg(st, at, value);
		break;
	case SELFTEST_DMA_COMMAND:
		start_dma(st, value);
		break;
	default:
		doorbell_write(st, at, value);
		break;
	}
}

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned int width)
{
	const struct selftest *st = opaque;

	return range_within(offset, width, REGISTERS) ? get_le(st->regs + offset, width) : 0;
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct selftest *st = opaque;

	add_to_reg64(st, SELFTEST_WRITES, 1);
	if (ranges_overlap(offset, width, SELFTEST_SCRATCH, 8)) {
		write_scratch(st, offset, value, width);
		return;
	}
	if (width < 4)
		return;
	write_dword(st, offset, (uint32_t)value);
	if (width == 8)
		write_dword(st, offset + 4, (uint32_t)(value >> 32));
}

static void doorbell_rang(void *opaque, unsigned int index)
{
	ring(opaque, index);
}

static const struct vfio_region_ops regs_ops = {
	.read = regs_read,
	.write = regs_write,
	.doorbell = doorbell_rang,
	.max_width = 8,
};

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned int width)
{
	const struct selftest *st = opaque;
	uint64_t value = 0;

	pci_msix_read(&st->pci, SELFTEST_BAR_MSIX, offset, width, &value);
	return value;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct selftest *st = opaque;

	pci_msix_write(&st->pci, SELFTEST_BAR_MSIX, offset, value, width);
}

static const struct vfio_region_ops msix_ops = {
	.read = msix_read,
	.write = msix_write,
	.max_width = 8,
};

static uint64_t trapped_read(void *opaque, uint64_t offset, unsigned int width)
{
	const struct selftest *st = opaque;

	return get_le(st->trapped + offset, width);
}

static void trapped_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct selftest *st = opaque;

	put_le(st->trapped + offset, value, width);
}

static const struct vfio_region_ops trapped_ops = {
	.read = trapped_read,
	.write = trapped_write,
	.max_width = 8,
};

static void reset(void *opaque)
{
	struct selftest *st = opaque;

	selftest_dma_cancel(&st->dma);
	st->completion = 0;
	memset(st->regs, 0, sizeof(st->regs));
	put_reg(st, SELFTEST_ID, SELFTEST_ID_VALUE);
	put_reg(st, SELFTEST_REVISION, 1);
	put_reg(st, SELFTEST_N_MSI, st->msi_vectors);
	put_reg(st, SELFTEST_N_MSIX, st->msix_vectors);
	put_reg(st, SELFTEST_N_DOORBELLS, SELFTEST_DOORBELLS);
	pci_function_reset(&st->pci);
}

/* All of it, or the next client would find a part of what the last one left. */
static int power_cycle(void *opaque)
{
	struct selftest *st = opaque;
	struct vfio_region *regions = st->device.vfio.regions;
	int r, r2;

	reset(st);
	memset(st->trapped, 0, sizeof(st->trapped));
	r = vram_renew(&st->mixed);
	r2 = vram_renew(&st->aperture);
	regions[SELFTEST_BAR_MIXED].fd = st->mixed.fd;
	regions[SELFTEST_BAR_APERTURE].fd = st->aperture.fd;
	return r < 0 ? r : r2;
}

static const struct vfio_device_ops vfio_ops = {
	.reset = reset,
	.power_cycle = power_cycle,
	.work = work,
};

static void destroy(struct device *device)
{
	struct selftest *st = (struct selftest *)device;

	if (st->pci.vfio)
		pci_function_done(&st->pci);
	vfio_device_done(&device->vfio);
	vram_done(&st->mixed);
	vram_done(&st->aperture);
	free(st);
}

static const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

static int add_trapped_bar(struct selftest *st, unsigned int bar, uint64_t size,
			   const struct vfio_region_ops *ops)
{
	struct vfio_region *region = &st->device.vfio.regions[bar];

	region->size = size;
	region->flags = rw;
	region->ops = ops;
	region->opaque = st;
	return pci_bar_add(&st->pci, bar, 0);
}

static int add_memory_bar(struct selftest *st, unsigned int bar, const struct vram *vram, bool map)
{
	struct vfio_region *region = &st->device.vfio.regions[bar];

	region->size = vram->size;
	region->flags = rw | (map ? VFIO_REGION_INFO_FLAG_MMAP : 0);
	region->fd = vram->fd;
	region->memory = vram->memory;
	return pci_bar_add(&st->pci, bar,
			   PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
}

static void add_doorbells(struct selftest *st)
{
	struct vfio_region *region = &st->device.vfio.regions[SELFTEST_BAR_REGS];

	for (unsigned int i = 0; i < SELFTEST_DOORBELLS; i++)
		st->doorbells[i] = (struct vfio_doorbell){
			.offset = SELFTEST_DOORBELL(i),
			.size = 4,
			.fd = -1,
		};
	region->doorbells = st->doorbells;
	region->n_doorbells = SELFTEST_DOORBELLS;
}

static int set_up_bars(struct selftest *st, bool map)
{
	struct vfio_region *mixed = &st->device.vfio.regions[SELFTEST_BAR_MIXED];
	int r;

	r = add_trapped_bar(st, SELFTEST_BAR_REGS, SELFTEST_REGS_SIZE, &regs_ops);
	if (r == 0)
		r = add_trapped_bar(st, SELFTEST_BAR_MSIX, SELFTEST_MSIX_SIZE, &msix_ops);
	if (r == 0)
		r = add_memory_bar(st, SELFTEST_BAR_MIXED, &st->mixed, map);
	if (r == 0)
		r = add_memory_bar(st, SELFTEST_BAR_APERTURE, &st->aperture, map);
	if (r < 0)
		return r;
	add_doorbells(st);
	if (map) {
		mixed->areas = mixed_areas;
		mixed->n_areas = ARRAY_SIZE(mixed_areas);
		mixed->ops = &trapped_ops;
		mixed->opaque = st;
	}
	return 0;
}

/* PCI Firmware Specification 3.0, 5.1: an image of a code type that nothing executes. */
static int add_rom(struct selftest *st)
{
	enum { PCIR = 0x1c, PCIR_LENGTH = 0x18, BLOCK = 512, CODE_TYPE_NONE = 0xff, LAST = 0x80 };
	_cleanup_free_ uint8_t *rom = calloc(1, SELFTEST_ROM_SIZE);
	int r;

	if (!rom)
		return -ENOMEM;
	put_le16(rom, 0xaa55);
	rom[2] = SELFTEST_ROM_SIZE / BLOCK;
	put_le16(rom + 0x18, PCIR);
	memcpy(rom + PCIR, "PCIR", 4);
	put_le16(rom + PCIR + 0x04, SELFTEST_VENDOR);
	put_le16(rom + PCIR + 0x06, SELFTEST_DEVICE);
	put_le16(rom + PCIR + 0x0a, PCIR_LENGTH);
	rom[PCIR + 0x0f] = 0xff; /* class */
	put_le16(rom + PCIR + 0x10, SELFTEST_ROM_SIZE / BLOCK);
	rom[PCIR + 0x14] = CODE_TYPE_NONE;
	rom[PCIR + 0x15] = LAST;
	for (unsigned int n = SELFTEST_ROM_PATTERN; n < SELFTEST_ROM_SIZE; n++)
		rom[n] = SELFTEST_ROM_BYTE(n);
	r = pci_rom_add(&st->pci, rom, SELFTEST_ROM_SIZE);
	if (r == 0)
		STEAL_PTR(rom);
	return r;
}

static int set_up_function(struct selftest *st, bool map)
{
	static const struct pci_identity identity = {
		.vendor = SELFTEST_VENDOR,
		.device = SELFTEST_DEVICE,
		.subsystem_vendor = SELFTEST_VENDOR,
		.subsystem = SELFTEST_DEVICE,
		.revision = 1,
		.class_code = 0xff0000, /* none of the classes that there are */
	};
	int r;

	pci_function_init(&st->pci, &st->device.vfio, &identity, NULL, NULL);
	r = set_up_bars(st, map);
	if (r == 0)
		r = add_rom(st);
	if (r == 0)
		r = pci_pm_add(&st->pci);
	if (r == 0)
		r = pci_intx_add(&st->pci);
	if (r == 0 && st->msi_vectors)
		r = pci_msi_add(&st->pci, st->msi_vectors);
	if (r == 0 && st->msix_vectors)
		r = pci_msix_add(&st->pci, st->msix_vectors, SELFTEST_BAR_MSIX, 0,
				 SELFTEST_BAR_MSIX, SELFTEST_MSIX_PBA);
	if (r == 0)
		pci_function_ready(&st->pci);
	return r;
}

static int parse_vectors(struct selftest *st, const struct device_options *options,
			 char **ret_error)
{
	int r;

	r = device_option_number(options, "msix", DEFAULT_MSIX, 0, PCI_MSIX_MAX_VECTORS,
				 &st->msix_vectors, ret_error);
	if (r == 0)
		r = device_option_number(options, "msi", DEFAULT_MSI, 0, 32, &st->msi_vectors,
					 ret_error);

	if (r == 0 && st->msi_vectors && !is_power_of_two(st->msi_vectors)) {
		*ret_error = text_format("msi=%u: a function has 1, 2, 4, 8, 16 or 32 MSI vectors, "
					 "or 0 for no MSI",
					 st->msi_vectors);
		r = -EINVAL;
	}
	return r;
}

static int parse_aperture(const struct device_options *options, uint64_t *ret, char **ret_error)
{
	int r = device_option_size(options, "aperture", DEFAULT_APERTURE, MIN_APERTURE,
				   MAX_APERTURE, ret, ret_error);

	if (r == 0 && !is_power_of_two(*ret)) {
		*ret_error = text_format("aperture=%s: a PCI BAR's size is a power of two, such as "
					 "256M or 8G",
					 device_option(options, "aperture"));
		r = -EINVAL;
	}
	return r;
}

/* It takes no memory that nobody touches, but addresses, and files as large as that. */
static int make_aperture(struct selftest *st, uint64_t size, char **ret_error)
{
	int r = vram_init(&st->aperture, size);

	if (r < 0)
		*ret_error =
			text_format("BAR 4 of %llu MiB cannot be made (%s): raise RLIMIT_AS and "
				    "RLIMIT_FSIZE, or make it smaller with aperture=",
				    (unsigned long long)(size >> 20), strerror(-r));
	return r;
}

static int parse_mmap(const struct device_options *options, bool *ret, char **ret_error)
{
	const char *value = device_option(options, "mmap");

	if (value && strcmp(value, "on") && strcmp(value, "off")) {
		*ret_error = text_format("mmap=%s: expected \"on\" or \"off\"", value);
		return -EINVAL;
	}
	*ret = !value || !strcmp(value, "on");
	return 0;
}

static int set_up(struct selftest *st, const struct device_options *options, char **ret_error)
{
	uint64_t aperture;
	bool map;
	int r;

	r = vfio_device_init(&st->device.vfio, selftest_model.name, &vfio_ops, st);
	if (r == 0)
		r = parse_vectors(st, options, ret_error);
	if (r == 0)
		r = parse_aperture(options, &aperture, ret_error);
	if (r == 0)
		r = parse_mmap(options, &map, ret_error);
	if (r == 0)
		r = vram_init(&st->mixed, SELFTEST_MIXED_SIZE);
	if (r == 0)
		r = make_aperture(st, aperture, ret_error);
	if (r == 0)
		r = set_up_function(st, map);
	if (r == 0)
		reset(st);
	return r;
}

static int create(const char *name, const struct device_options *options, struct device **ret,
		  char **ret_error)
{
	struct selftest *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	st->device.model = &selftest_model;
	st->mixed.fd = st->aperture.fd = -1;
	*ret_error = NULL;
	r = set_up(st, options, ret_error);
	if (r < 0) {
		if (!*ret_error)
			*ret_error =
				text_format("the device could not be created: %s", strerror(-r));
		destroy(&st->device);
		return r;
	}
	*ret = &st->device;
	return 0;
}

static const struct device_option options_table[] = {
	{ "msi", "N", "MSI vectors: 0 (none), 1, 2, 4, 8, 16 or 32 (32)" },
	{ "msix", "N", "MSI-X vectors, 0 (none) to 2048 (64)" },
	{ "aperture", "SIZE", "size of BAR 4, a power of two from 1M to 1024G (8G)" },
	{ "mmap", "on|off", "off: no region is mapped, every access is trapped (on)" },
	{ 0 },
};

const struct device_model selftest_model = {
	.name = "selftest",
	.summary = "every kind of region, interrupt and DMA, for testing VMMs and drivers",
	.options = options_table,
	.create = create,
	.destroy = destroy,
};
