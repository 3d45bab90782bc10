/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "full_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/memfd.h"

enum {
	RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
	RWM = RW | VFIO_REGION_INFO_FLAG_MMAP,
};

static const size_t sizes[2] = { FULL_BAR0_SIZE, FULL_BAR4_SIZE };

static bool in_scratch(uint64_t offset)
{
	return offset >= FULL_SCRATCH && offset < FULL_SCRATCH + FULL_SCRATCH_SIZE;
}

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned int width)
{
	struct full_device *device = opaque;

	if (in_scratch(offset))
		return get_le(device->scratch + (offset - FULL_SCRATCH), width);
	if (offset >= FULL_BUFFER)
		return get_le(device->buffer + (offset - FULL_BUFFER), width);
	switch (offset) {
	case FULL_IOVA:
		return device->iova;
	case FULL_LENGTH:
		return device->length;
	case FULL_RESULT:
		return (uint32_t)device->result;
	case FULL_WORKS:
		return device->works;
	case FULL_RESETS:
		return device->resets;
	case FULL_RUNG:
		return device->rung;
	default:
		return UINT64_MAX;
	}
}

static void touch_buffer(struct full_device *device, size_t end)
{
	if (device->dirty < end)
		device->dirty = end;
}

static void write_memory(struct full_device *device, uint64_t offset, uint64_t value,
			 unsigned int width)
{
	if (in_scratch(offset)) {
		put_le(device->scratch + (offset - FULL_SCRATCH), value, width);
	} else if (offset >= FULL_BUFFER) {
		put_le(device->buffer + (offset - FULL_BUFFER), value, width);
		touch_buffer(device, offset - FULL_BUFFER + width);
	}
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct full_device *device = opaque;

	switch (offset) {
	case FULL_IOVA:
		device->iova = value;
		break;
	case FULL_LENGTH:
		device->length = value < FULL_BUFFER_SIZE ? (uint32_t)value : FULL_BUFFER_SIZE;
		break;
	case FULL_COMMAND:
		device->command = (uint32_t)value;
		vfio_device_kick(&device->vfio);
		break;
	case FULL_INTX:
		pci_intx_set(&device->pci, value);
		break;
	case FULL_MSI:
		pci_msi_raise(&device->pci, (unsigned int)value);
		break;
	default:
		write_memory(device, offset, value, width);
	}
}

static void rung(void *opaque, unsigned int index)
{
	struct full_device *device = opaque;

	device->rung++;
}

static const struct vfio_region_ops regs_ops = { regs_read, regs_write, 8, rung };

/* The trapped part of BAR 4: reads say where they were. */
static uint64_t sparse_read(void *opaque, uint64_t offset, unsigned int width)
{
	return (offset & 0xff) * 0x0101010101010101;
}

static const struct vfio_region_ops sparse_ops = { .read = sparse_read, .max_width = 4 };

static int add_one(struct full_device *device)
{
	struct vfio_dma_access access;
	int r = vfio_dma_begin(&device->vfio.dma, device->iova, device->length,
			       VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, &access);

	if (r < 0)
		return r;
	for (size_t i = 0; i < access.length; i++)
		access.data[i]++;
	return vfio_dma_end(&access, access.length);
}

static void work(void *opaque)
{
	struct full_device *device = opaque;
	uint32_t command = device->command, length = device->length;

	device->result = -EINVAL;
	if (command == FULL_DMA_AGAIN) {
		device->command = command = FULL_DMA_READ;
		vfio_device_kick(&device->vfio);
	}
	switch (command) {
	case FULL_DMA_READ:
		touch_buffer(device, length);
		device->result =
			vfio_dma_read(&device->vfio.dma, device->iova, device->buffer, length);
		break;
	case FULL_DMA_WRITE:
		device->result =
			vfio_dma_write(&device->vfio.dma, device->iova, device->buffer, length);
		break;
	case FULL_DMA_SCOPE:
		device->result = add_one(device);
		break;
	default:
		break;
	}
	device->works++;
}

static void reset(void *opaque)
{
	struct full_device *device = opaque;

	memset(device->scratch, 0, sizeof(device->scratch));
	memset(device->buffer, 0, device->dirty);
	device->dirty = 0;
	device->iova = device->length = device->command = 0;
	device->rung = 0;
	device->result = 0;
	device->resets++;
	pci_function_reset(&device->pci);
}

static int power_cycle(void *opaque)
{
	struct full_device *device = opaque;

	reset(device);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (madvise(device->memory[i], sizes[i], MADV_REMOVE) < 0)
			return -errno;
	return 0;
}

static const struct vfio_device_ops device_ops = {
	.reset = reset,
	.power_cycle = power_cycle,
	.work = work,
};

static int add_memory(struct full_device *device, unsigned int i, unsigned int bar)
{
	struct vfio_region *region = &device->vfio.regions[bar];
	void *memory;

	device->fds[i] = memfd_new("test-bar");
	if (device->fds[i] < 0 || ftruncate(device->fds[i], (off_t)sizes[i]) < 0)
		return -errno;
	memory = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, device->fds[i], 0);
	if (memory == MAP_FAILED)
		return -errno;
	device->memory[i] = memory;
	region->size = sizes[i];
	region->flags = RWM;
	region->fd = device->fds[i];
	region->memory = memory;
	return 0;
}

static int add_regions(struct full_device *device)
{
	static const struct vfio_region_area areas[] = { { 0x1000, 0x2000 }, { 0x5000, 0x1000 } };
	struct vfio_region *regions = device->vfio.regions;
	int r = add_memory(device, 0, 0);

	if (r == 0)
		r = add_memory(device, 1, 4);
	if (r < 0)
		return r;
	regions[2].size = FULL_BAR2_SIZE;
	regions[2].flags = RW;
	regions[2].ops = &regs_ops;
	regions[2].opaque = device;
	for (uint32_t i = 0; i < FULL_DOORBELLS; i++)
		device->doorbells[i] = (struct vfio_doorbell){
			.offset = FULL_DOORBELL + 4 * i, .size = 4, .match = i > 0, .fd = -1
		};
	regions[2].doorbells = device->doorbells;
	regions[2].n_doorbells = FULL_DOORBELLS;
	regions[4].areas = areas;
	regions[4].n_areas = ARRAY_SIZE(areas);
	regions[4].ops = &sparse_ops;
	return 0;
}

static int add_pci(struct full_device *device)
{
	uint8_t *rom = malloc(FULL_ROM_SIZE);
	int r;

	if (!rom)
		return -ENOMEM;
	memset(rom, 0x55, FULL_ROM_SIZE);
	r = pci_rom_add(&device->pci, rom, FULL_ROM_SIZE);
	if (r < 0) {
		free(rom);
		return r;
	}
	r = pci_bar_add(&device->pci, 0, PCI_BASE_ADDRESS_MEM_PREFETCH);
	if (r == 0)
		r = pci_bar_add(&device->pci, 2, 0);
	if (r == 0)
		r = pci_bar_add(&device->pci, 4, PCI_BASE_ADDRESS_MEM_TYPE_64);
	if (r == 0)
		r = pci_pm_add(&device->pci);
	if (r == 0)
		r = pci_msi_add(&device->pci, FULL_VECTORS);
	if (r == 0)
		r = pci_intx_add(&device->pci);
	/* Its driver is always there. */
	device->pci.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
	pci_function_ready(&device->pci);
	return r;
}

int full_device_init(struct full_device *device)
{
	static const struct pci_identity identity = { .vendor = 0x1234, .device = 0xcafe };
	int r;

	*device = (struct full_device){ .fds = { -1, -1 } };
	r = vfio_device_init(&device->vfio, "test", &device_ops, device);
	if (r < 0)
		return r;
	pci_function_init(&device->pci, &device->vfio, &identity, NULL, NULL);
	device->buffer = calloc(1, FULL_BUFFER_SIZE);
	r = device->buffer ? add_regions(device) : -ENOMEM;
	if (r == 0)
		r = add_pci(device);
	if (r == 0 && !vfio_device_is_valid(&device->vfio))
		r = -EPROTO;
	if (r < 0)
		full_device_done(device);
	return r;
}

void full_device_done(struct full_device *device)
{
	pci_function_done(&device->pci);
	vfio_device_done(&device->vfio);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (device->memory[i])
			munmap(device->memory[i], sizes[i]);
	close_fds(device->fds, ARRAY_SIZE(device->fds));
	free(device->buffer);
	device->buffer = NULL;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return !length || (!bytes[0] && !memcmp(bytes, bytes + 1, length - 1));
}

static bool irqs_are_clean(const struct vfio_irqs *irqs)
{
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		const struct vfio_irq *irq = &irqs->index[i];

		if (irq->unmask_fd >= 0 || irq->level || counter_read(&irq->bound))
			return false;
		for (uint32_t v = 0; v < irq->count; v++)
			if (irq->vectors[v].trigger_fd >= 0 || irq->vectors[v].masked ||
			    irq->vectors[v].pending)
				return false;
	}
	return true;
}

static bool memory_is_clean(const struct full_device *device)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (lseek(device->fds[i], 0, SEEK_DATA) >= 0 || errno != ENXIO)
			return false;
	return true;
}

static bool dma_is_clean(const struct vfio_dma_space *dma)
{
	return !dma->n_maps && !counter_read(&dma->stats.maps) &&
	       !counter_read(&dma->stats.bytes) && !counter_read(&dma->stats.mapped_bytes) &&
	       !dma->ops;
}

bool full_device_is_clean(const struct full_device *device, const char **ret_what)
{
	const struct vfio_doorbell *doorbells = device->doorbells;

	*ret_what = NULL;
	if (!dma_is_clean(&device->vfio.dma))
		*ret_what = "guest memory is still mapped";
	else if (!irqs_are_clean(&device->vfio.irqs))
		*ret_what = "an interrupt is still bound, masked or pending";
	else if (doorbells[0].fd >= 0 || doorbells[1].fd >= 0)
		*ret_what = "a doorbell's eventfd is still open";
	else if (device->vfio.kicked)
		*ret_what = "work is still wanted";
	else if (memcmp(device->pci.config, device->pci.power_on, PCI_CONFIG_SIZE) != 0)
		*ret_what = "config space is not as after power-on";
	else if (device->iova || device->length || device->rung ||
		 !is_zero(device->scratch, sizeof(device->scratch)) ||
		 !is_zero(device->buffer, FULL_BAR2_SIZE - FULL_BUFFER))
		*ret_what = "registers are not as after power-on";
	else if (!memory_is_clean(device))
		*ret_what = "mapped memory is not empty";
	return !*ret_what;
}
