/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What it costs a device to use guest memory: 4 KiB at random IOVAs over 64
 * maps, the look-up and the scope included, against memcpy() of the same
 * bytes. Once with memory that fits the caches, where the look-up weighs most,
 * and once with memory that doesn't.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "base/text.h"
#include "bench.h"
#include "vfio/dma.h"

enum {
	MAPS = 64,
	LENGTH = 4096,
	ACCESSES = 16384,
};

struct dma {
	struct vfio_dma_space space;
	uint8_t *memory; /* the same that is mapped in space */
	size_t map_size;
	unsigned int n;
	size_t length; /* LENGTH: devices seldom know it when they are compiled, so no constant */
	struct {
		uint64_t iova;
		uint8_t *at;
	} accesses[ACCESSES];
	uint8_t buf[LENGTH] __attribute__((aligned(64))); /* the device's */
};

/* The compiler is to believe that memory at p is read and written here. */
static void use(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* Maps that are far apart and in an order of their own, as a guest's memory is. */
static uint64_t iova_of(size_t map_size, unsigned int i)
{
	return 0x100000000ULL + i * 2 * (uint64_t)map_size;
}

static void dma_init(struct dma *dma, size_t map_size)
{
	_cleanup_close_ int fd = memfd_new("bench-dma");
	size_t size = map_size * MAPS;

	dma->map_size = map_size;
	dma->n = bench_count(ACCESSES, 64);
	dma->length = LENGTH;
	use(&dma->length);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		bench_die("memory");
	vfio_dma_space_init(&dma->space);
	for (unsigned int i = 0; i < MAPS; i++)
		if (vfio_dma_map(&dma->space, iova_of(map_size, i), map_size,
				 VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, fd,
				 i * map_size) < 0)
			bench_die("vfio_dma_map");
	for (unsigned int i = 0; i < dma->n; i++) {
		unsigned int map = (unsigned int)bench_random(MAPS);
		uint64_t offset = bench_random(map_size - LENGTH + 1) & ~63ULL;

		dma->accesses[i].iova = iova_of(map_size, map) + offset;
		/* Through the same mapping, so that both meet the same TLB and caches. */
		dma->accesses[i].at = dma->space.maps[map].data + offset;
		memset(dma->accesses[i].at, (int)i, LENGTH);
	}
}

static void dma_done(struct dma *dma)
{
	vfio_dma_space_done(&dma->space);
}

static double per_access(const struct dma *dma, uint64_t start)
{
	return (double)(clock_ns() - start) / dma->n;
}

static double read_memcpy(void *opaque)
{
	struct dma *dma = opaque;
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < dma->n; i++) {
		memcpy(dma->buf, dma->accesses[i].at, dma->length);
		use(dma->buf);
	}
	return per_access(dma, start);
}

static double write_memcpy(void *opaque)
{
	struct dma *dma = opaque;
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < dma->n; i++) {
		memcpy(dma->accesses[i].at, dma->buf, dma->length);
		use(dma->buf);
	}
	return per_access(dma, start);
}

static double read_scope(void *opaque)
{
	struct dma *dma = opaque;
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < dma->n; i++) {
		struct vfio_dma_access access;

		if (vfio_dma_begin(&dma->space, dma->accesses[i].iova, dma->length,
				   VFIO_DMA_MAP_FLAG_READ, &access) < 0)
			bench_die("vfio_dma_begin");
		memcpy(dma->buf, access.data, dma->length);
		use(dma->buf);
		if (vfio_dma_end(&access, 0) < 0)
			bench_die("vfio_dma_end");
	}
	return per_access(dma, start);
}

static double read_copy(void *opaque)
{
	struct dma *dma = opaque;
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < dma->n; i++) {
		if (vfio_dma_read(&dma->space, dma->accesses[i].iova, dma->buf, dma->length) < 0)
			bench_die("vfio_dma_read");
		use(dma->buf);
	}
	return per_access(dma, start);
}

static double write_copy(void *opaque)
{
	struct dma *dma = opaque;
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < dma->n; i++) {
		if (vfio_dma_write(&dma->space, dma->accesses[i].iova, dma->buf, dma->length) < 0)
			bench_die("vfio_dma_write");
		use(dma->buf);
	}
	return per_access(dma, start);
}

static void report(struct dma *dma, const char *what, const char *where,
		   double (*ours)(void *opaque), double (*floor)(void *opaque))
{
	struct bench_pair pair = bench_compare(bench_count(25, 2), ours, floor, dma);
	_cleanup_free_ char *name = text_format("%s, %s", what, where);

	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "ns",
		.measured = pair.ours,
		.floor_is = "memcpy of the same addresses",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = 1.3,
	});
}

int main(int argc, char **argv)
{
	static const struct {
		const char *where;
		size_t map_size;
	} sizes[] = {
		{ "in the caches", 16 << 10 },
		{ "in memory", 4 << 20 },
	};

	bench_start(argc, argv, "dma");
	bench_pin(0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct dma *dma = aligned_alloc(64, sizeof(*dma));

		if (!dma)
			bench_die("memory");
		memset(dma, 0, sizeof(*dma));
		dma_init(dma, sizes[i].map_size);
		report(dma, "begin, memcpy, end", sizes[i].where, read_scope, read_memcpy);
		report(dma, "vfio_dma_read", sizes[i].where, read_copy, read_memcpy);
		report(dma, "vfio_dma_write", sizes[i].where, write_copy, write_memcpy);
		dma_done(dma);
		free(dma);
	}
	return 0;
}
