/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory: the device's, which we map, and ours, which the device reads and writes. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "bench.h"
#include "device/selftest_regs.h"
#include "fault.h"
#include "pci.h"

enum { MIB = 1 << 20, PASSES = 4 };

static const uint64_t source = 0x10000000, target = 0x80000000;

/* ns for a MiB of stores, in the last of some passes over it. */
static int store(uint8_t *memory, uint64_t size, uint64_t *ret)
{
	for (int i = 0; i < PASSES; i++) {
		uint64_t start = clock_ns();
		int r = guarded_set(memory, i, size);

		if (r < 0)
			return r;
		*ret = (clock_ns() - start) * MIB / size;
	}
	return 0;
}

/* The largest area of a region that is mapped; false if there is none. */
static bool find_area(struct bench_run *run, struct probe_region *ret, struct probe_area *ret_area)
{
	for (uint32_t i = VFIO_PCI_BAR0_REGION_INDEX; i <= VFIO_PCI_BAR5_REGION_INDEX; i++) {
		struct probe_region region;

		if (run->dev->ops->get_region(run->dev, i, &region) < 0)
			continue;
		*ret_area = (struct probe_area){ 0, region.size };
		if (region.sparse && region.n_areas)
			*ret_area = region.areas[0];
		if (region.fd >= 0 && ret_area->size >= MIB) {
			*ret = region;
			return true;
		}
		probe_region_done(&region);
	}
	return false;
}

static int mapped_run(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	struct probe_region region;
	struct probe_area area;
	void *memory;
	uint64_t size;
	int r;

	if (!find_area(run, &region, &area))
		return -ENOTSUP;
	size = area.size < bench->size ? area.size : bench->size;
	r = probe_map(&region, area.offset, size, &memory);
	probe_region_done(&region);
	if (r < 0)
		return r;
	r = store(memory, size, ret);
	munmap(memory, size);
	return r;
}

static int mapped_floor(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	_cleanup_close_ int fd = memfd_new("floor");
	void *memory;
	int r;

	if (fd < 0 || ftruncate(fd, (off_t)bench->size) < 0)
		return -errno;
	memory = mmap(NULL, bench->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	r = store(memory, bench->size, ret);
	munmap(memory, bench->size);
	return r;
}

static int put(struct bench_run *run, uint64_t reg, unsigned int width, uint64_t value)
{
	return probe_write(run->dev, SELFTEST_BAR_REGS, reg, width, value);
}

static int start_copy(struct bench_run *run, uint64_t size)
{
	int r = put(run, SELFTEST_DMA_SOURCE, 8, source);

	if (r == 0)
		r = put(run, SELFTEST_DMA_TARGET, 8, target);
	if (r == 0)
		r = put(run, SELFTEST_DMA_LENGTH, 8, size);
	if (r == 0)
		r = put(run, SELFTEST_DMA_COMPLETION, 4, 0);
	return r < 0 ? r : put(run, SELFTEST_DMA_COMMAND, 4, SELFTEST_DMA_COMMAND_COPY);
}

/* The device's engine, waited for as a driver would that polls. */
static int copy(struct bench_run *run, uint64_t size, uint64_t *ret)
{
	uint64_t start = clock_ns(), status = SELFTEST_DMA_STATUS_BUSY;
	int r = start_copy(run, size);

	while (r == 0 && status == SELFTEST_DMA_STATUS_BUSY) {
		r = probe_read(run->dev, SELFTEST_BAR_REGS, SELFTEST_DMA_STATUS, 4, &status);
		if (clock_ns() - start > (uint64_t)run->timeout_ms * 1000000)
			return link_fail(&run->door->link, PROBE_TIMEOUT, "DMA does not end");
	}
	if (r == 0 && status != SELFTEST_DMA_STATUS_DONE)
		r = -EIO;
	*ret = (clock_ns() - start) * MIB / size;
	return r;
}

static int map_guest(struct bench_run *run, const struct bench *bench)
{
	static const uint64_t places[] = { source, target };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_range *range = guest_add(&run->guest, places[i], bench->size);
		int r;

		if (!range)
			return -ENOMEM;
		memset(range->data, 1, bench->size);
		r = run->dev->ops->dma_map(run->dev, places[i], bench->size,
					   VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					   bench->by_fd ? range->fd : -1, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int unmap_guest(struct bench_run *run, const struct bench *bench)
{
	int r = run->dev->ops->dma_unmap(run->dev, source, bench->size);

	if (r == 0)
		r = run->dev->ops->dma_unmap(run->dev, target, bench->size);
	guest_done(&run->guest);
	return r;
}

static int dma_run(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	int r;

	if (!run->selftest)
		return -ENOTSUP;
	r = probe_write(run->dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2,
			PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	if (r == 0)
		r = map_guest(run, bench);
	for (int i = 0; i < PASSES && r == 0; i++)
		r = copy(run, bench->size, ret);
	return r < 0 ? r : unmap_guest(run, bench);
}

static int dma_floor(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	const struct guest_range *from, *to;
	struct guest guest = { 0 };

	if (!run->selftest)
		return -ENOTSUP;
	from = guest_add(&guest, source, bench->size);
	to = guest_add(&guest, target, bench->size);
	if (!from || !to) {
		guest_done(&guest);
		return -ENOMEM;
	}
	memset(from->data, 1, bench->size);
	for (int i = 0; i < PASSES; i++) {
		uint64_t start = clock_ns();

		memcpy(to->data, from->data, bench->size);
		*ret = (clock_ns() - start) * MIB / bench->size;
	}
	guest_done(&guest);
	return 0;
}

const struct bench bench_memory[] = {
	{ "store-mapped", "stores into a mapped region; the floor is a memfd", mapped_run,
	  mapped_floor, 16 << 20, .bandwidth = true },
	{ "dma-fd", "the selftest device copies in our memory; the floor is memcpy", dma_run,
	  dma_floor, 32 << 20, .by_fd = true, .bandwidth = true },
	{ "dma-message", "the same, by message", dma_run, dma_floor, 8 << 20, .bandwidth = true },
	{ 0 },
};
