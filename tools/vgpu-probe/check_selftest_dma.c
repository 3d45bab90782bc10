/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMA, by the selftest device's engine: out of files, by message, and over both. */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "selftest.h"

static const char map_clause[] = "vfio-user: VFIO_USER_DMA_MAP";
static const char read_clause[] = "vfio-user: VFIO_USER_DMA_READ";
static const char write_clause[] = "vfio-user: VFIO_USER_DMA_WRITE";

enum {
	PAGE = 4096,
	SIZE = 64 * PAGE,
	RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	SUM = SELFTEST_DMA_COMMAND_SUM,
	FILL = SELFTEST_DMA_COMMAND_FILL,
	COPY = SELFTEST_DMA_COMMAND_COPY,
};

static const uint64_t low = 0x100000, high = 0x4000000000;

static const struct {
	uint64_t offset, length;
} places[] = {
	{ 0, 1 },      { 1, 1 },	   { 0, SIZE },	    { 5, 3 },	     { PAGE - 1, 2 },
	{ 100, PAGE }, { PAGE, 3 * PAGE }, { SIZE - 7, 7 }, { 3, SIZE - 6 },
};

static void everywhere(struct check_run *t, bool by_fd)
{
	struct guest_range *near_range, *far_range;

	st_bus_master(t, true);
	near_range = st_memory(t, low, SIZE, by_fd);
	far_range = st_memory(t, high, SIZE, by_fd);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		st_expect_sum(t, near_range, places[i].offset, places[i].length);
		st_expect_sum(t, far_range, places[i].offset, places[i].length);
		st_expect_fill(t, near_range, places[i].offset, places[i].length);
		st_expect_fill(t, far_range, places[i].offset, places[i].length);
	}
	EXPECT(t, !t->guest->outside, "%u messages addressed memory that is not mapped",
	       t->guest->outside);
	EXPECT(t, !by_fd || (!t->guest->reads && !t->guest->writes),
	       "memory with a descriptor was asked for by message");
}

static void by_descriptor(struct check_run *t)
{
	everywhere(t, true);
}

static void by_message(struct check_run *t)
{
	everywhere(t, false);
	EXPECT(t, t->guest->reads && t->guest->writes, "no message came");
}

static void copies(struct check_run *t)
{
	st_bus_master(t, true);
	for (uint64_t kinds = 0; kinds < 4; kinds++) {
		uint64_t at = low + kinds * 0x1000000;
		struct guest_range *from = st_memory(t, at, SIZE, kinds & 1);
		struct guest_range *to = st_memory(t, at + 0x800000, SIZE, kinds & 2);
		struct st_dma dma = { .command = COPY,
				      .source = from->iova + 33,
				      .target = to->iova + 500,
				      .length = SIZE - 600 };

		st_run(t, &dma, "COPY");
		EXPECT(t, memcmp(from->data + 33, to->data + 500, SIZE - 600) == 0,
		       "COPY %s to %s: the bytes are others",
		       kinds & 1 ? "from a file" : "from messages",
		       kinds & 2 ? "a file" : "messages");
	}
}

/* Maps that touch are one memory; the second half is another kind. */
static void over_maps(struct check_run *t)
{
	uint8_t *both = check_alloc(t, 2 * SIZE);
	struct guest_range *first, *second;
	struct st_dma dma = { .command = SUM, .source = low, .length = 2 * SIZE };
	uint64_t expected, got;

	st_bus_master(t, true);
	first = st_memory(t, low, SIZE, true);
	second = st_memory(t, low + SIZE, SIZE, false);
	memcpy(both, first->data, SIZE);
	memcpy(both + SIZE, second->data, SIZE);
	expected = st_sum(both, 2 * SIZE);
	got = st_run(t, &dma, "SUM over two maps");
	EXPECT(t, got == expected, "SUM over two maps is wrong");
	dma = (struct st_dma){
		.command = FILL, .target = low + SIZE - 10, .length = 20, .seed = 1
	};
	st_run(t, &dma, "FILL over two maps");
	for (uint32_t i = 0; i < 10; i++)
		EXPECT(t,
		       first->data[SIZE - 10 + i] == SELFTEST_FILL_BYTE(1, i) &&
			       second->data[i] == SELFTEST_FILL_BYTE(1, i + 10),
		       "FILL over two maps: byte %u is wrong", i);
}

/* An offset in the file, which is not the start of the map. */
static void file_offset(struct check_run *t)
{
	struct guest_range *range = check_memory(t, low, SIZE);
	struct st_dma dma = { .command = SUM, .source = high, .length = 2 * PAGE };

	memset(range->data, 1, SIZE);
	memset(range->data + 8 * PAGE, 2, 2 * PAGE);
	st_bus_master(t, true);
	check_ok(t, t->dev->ops->dma_map(t->dev, high, 2 * PAGE, RW, range->fd, 8 * PAGE),
		 "DMA_MAP of a file from offset 32 KiB");
	EXPECT(t, st_run(t, &dma, "SUM") == st_sum(range->data + 8 * PAGE, 2 * PAGE),
	       "SUM of a part of a file is another part's");
}

static void unmapped(struct check_run *t)
{
	static const struct {
		uint64_t iova, length;
		const char *what;
	} bad[] = {
		{ 0x50000000, 16, "memory that is not mapped" },
		{ low - 1, 2, "the byte before a map" },
		{ low + SIZE - 1, 2, "the byte behind a map" },
		{ UINT64_MAX - 3, 16, "an address that wraps" },
		{ 0, 4, "address 0" },
	};

	st_bus_master(t, true);
	st_memory(t, low, SIZE, true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct st_dma dma = { .command = SUM,
				      .source = bad[i].iova,
				      .length = bad[i].length };
		uint32_t error = st_run_failing(t, &dma, bad[i].what);

		EXPECT(t, error == EFAULT, "SUM of %s: %s, expected EFAULT", bad[i].what,
		       probe_result(-(int)error));
		dma = (struct st_dma){ .command = FILL,
				       .target = bad[i].iova,
				       .length = bad[i].length };
		error = st_run_failing(t, &dma, bad[i].what);
		EXPECT(t, error == EFAULT, "FILL of %s: %s, expected EFAULT", bad[i].what,
		       probe_result(-(int)error));
	}
	check_in_step(t, "DMA to memory that is not mapped");
}

static void permissions(struct check_run *t)
{
	struct guest_range *range = check_memory(t, low, 2 * PAGE);

	st_bus_master(t, true);
	for (int by_fd = 0; by_fd < 2; by_fd++) {
		int fd = by_fd ? range->fd : -1;
		struct st_dma to = { .command = FILL, .target = low, .length = 8 };
		struct st_dma from = { .command = SUM, .source = low + PAGE, .length = 8 };

		check_ok(t, t->dev->ops->dma_map(t->dev, low, PAGE, VFIO_DMA_MAP_FLAG_READ, fd, 0),
			 "DMA_MAP to be read");
		check_ok(t,
			 t->dev->ops->dma_map(t->dev, low + PAGE, PAGE, VFIO_DMA_MAP_FLAG_WRITE, fd,
					      PAGE * (uint64_t)by_fd),
			 "DMA_MAP to be written");
		EXPECT(t, st_run_failing(t, &to, "FILL of memory to be read") == EFAULT,
		       "FILL of memory that is to be read is not EFAULT");
		EXPECT(t, st_run_failing(t, &from, "SUM of memory to be written") == EFAULT,
		       "SUM of memory that is to be written is not EFAULT");
		EXPECT(t, range->data[0] == 0, "memory that is to be read was written");
		check_ok(t, t->dev->ops->dma_unmap(t->dev, low, PAGE), "DMA_UNMAP");
		check_ok(t, t->dev->ops->dma_unmap(t->dev, low + PAGE, PAGE), "DMA_UNMAP");
	}
}

static void bus_master(struct check_run *t)
{
	struct guest_range *range = st_memory(t, low, PAGE, true);
	struct st_dma dma = { .command = SUM, .source = low, .length = 8 };

	st_bus_master(t, false);
	EXPECT(t, st_run_failing(t, &dma, "SUM without bus mastering") == EPERM,
	       "SUM without bus mastering is not EPERM");
	st_bus_master(t, true);
	st_expect_sum(t, range, 0, 8);
}

static void lengths(struct check_run *t)
{
	static const uint64_t bad[] = { 0, SELFTEST_DMA_MAX_LENGTH + 1, 1ULL << 40, UINT64_MAX };

	st_bus_master(t, true);
	st_memory(t, low, PAGE, true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct st_dma dma = { .command = SUM, .source = low, .length = bad[i] };
		uint32_t error = st_run_failing(t, &dma, "SUM of a length out of range");

		EXPECT(t, error == EINVAL || error == EFAULT, "SUM of %llu bytes: %s",
		       (unsigned long long)bad[i], probe_result(-(int)error));
	}
}

static void after_unmap(struct check_run *t)
{
	struct st_dma dma = { .command = SUM, .source = low, .length = 8 };

	st_bus_master(t, true);
	st_expect_sum(t, st_memory(t, low, PAGE, true), 0, 8);
	check_ok(t, t->dev->ops->dma_unmap(t->dev, low, PAGE), "DMA_UNMAP");
	EXPECT(t, st_run_failing(t, &dma, "SUM of memory that was unmapped") == EFAULT,
	       "SUM of memory that was unmapped is not EFAULT");
}

static void truncated(struct check_run *t)
{
	struct guest_range *range;
	struct st_dma dma = { .command = SUM, .source = low, .length = SIZE };

	st_bus_master(t, true);
	range = st_memory(t, low, SIZE, true);
	EXPECT(t, ftruncate(range->fd, PAGE) == 0, "internal: ftruncate");
	EXPECT(t, st_run_failing(t, &dma, "SUM of a file that was truncated") == EFAULT,
	       "SUM of a file that was truncated is not EFAULT");
	dma = (struct st_dma){ .command = FILL, .target = low + SIZE / 2, .length = PAGE };
	EXPECT(t, st_run_failing(t, &dma, "FILL of a file that was truncated") == EFAULT,
	       "FILL of a file that was truncated is not EFAULT");
	check_in_step(t, "DMA to a file that was truncated");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, low, SIZE), "DMA_UNMAP");
}

/* Huge pages, from the middle of one: where a mapping must begin is not where the map does. */
static void huge_pages(struct check_run *t)
{
	enum { HUGE = 2 << 20, HALF = HUGE / 2 };
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct st_dma dma = { .command = SUM, .source = low, .length = HUGE };
	uint8_t *copy = check_alloc(t, HUGE);
	void *p;

	if (fd < 0)
		check_skip(t, "this host has no huge pages");
	check_keep_fd(t, fd);
	p = ftruncate(fd, 2 * HUGE) < 0 ? MAP_FAILED
					: mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE,
					       MAP_SHARED | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		check_skip(t, "this host has no huge pages that are free");
	for (size_t i = 0; i < 2 * HUGE; i++)
		((uint8_t *)p)[i] = (uint8_t)(i * 13 + (i >> 11) + (i >> 20) * 101);
	memcpy(copy, (uint8_t *)p + HALF, HUGE);
	munmap(p, 2 * HUGE);
	st_bus_master(t, true);
	check_ok(t, t->dev->ops->dma_map(t->dev, low, HUGE, RW, fd, HALF),
		 "DMA_MAP of huge pages from offset 1 MiB");
	EXPECT(t, st_run(t, &dma, "SUM of huge pages") == st_sum(copy, HUGE),
	       "SUM of huge pages is that of other bytes");
}

/* Many small maps in no order. */
static void scattered(struct check_run *t)
{
	enum { MAPS = 256 };
	struct guest_range *range = check_memory(t, high, MAPS * PAGE);

	st_bus_master(t, true);
	for (uint32_t i = 0; i < MAPS * PAGE; i++)
		range->data[i] = (uint8_t)(i / PAGE + i);
	for (uint64_t i = 0; i < MAPS; i++) {
		uint64_t n = i * 97 % MAPS;

		check_ok(t,
			 t->dev->ops->dma_map(t->dev, low + n * 16 * PAGE, PAGE, RW, range->fd,
					      n * PAGE),
			 "DMA_MAP");
	}
	for (uint64_t i = 0; i < MAPS; i += 5) {
		uint64_t n = i * 31 % MAPS;
		struct st_dma dma = { .command = SUM,
				      .source = low + n * 16 * PAGE,
				      .length = PAGE };

		EXPECT(t, st_run(t, &dma, "SUM") == st_sum(range->data + n * PAGE, PAGE),
		       "SUM of map %llu of %d is another's", (unsigned long long)n, MAPS);
	}
}

static void completions(struct check_run *t)
{
	static const struct {
		uint32_t index, completion;
	} kinds[] = { { VFIO_PCI_INTX_IRQ_INDEX, SELFTEST_COMPLETION_INTX },
		      { VFIO_PCI_MSI_IRQ_INDEX, SELFTEST_COMPLETION_MSI } };

	st_bus_master(t, true);
	st_memory(t, low, PAGE, true);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct st_dma dma = { .command = SUM,
				      .source = low,
				      .length = PAGE,
				      .completion = kinds[i].completion };
		int fd;

		if (!t->facts->irqs[kinds[i].index].count)
			continue;
		st_bind(t, kinds[i].index, &fd, 1);
		st_start(t, &dma);
		EXPECT(t, check_signalled(t, fd, true) == 1,
		       "the end of a command does not raise interrupt %u", kinds[i].index);
		EXPECT(t, st_get(t, SELFTEST_DMA_STATUS) == SELFTEST_DMA_STATUS_DONE,
		       "the interrupt came before the end");
		dma.source = 0x70000000;
		if (kinds[i].index == VFIO_PCI_INTX_IRQ_INDEX)
			continue;
		st_start(t, &dma);
		EXPECT(t, check_signalled(t, fd, true) == 1,
		       "the failure of a command does not raise interrupt %u", kinds[i].index);
	}
}

#define CHECK(name, what, clause, needs, run)                                                      \
	{                                                                                          \
		"selftest." name, what, clause, NEED_SELFTEST | (needs), run                       \
	}

const struct check checks_selftest_dma[] = {
	CHECK("dma-fd", "DMA reads and writes files, and those bytes alone", map_clause, 0,
	      by_descriptor),
	CHECK("dma-message", "DMA reads and writes by message", read_clause, NEED_SOCKET,
	      by_message),
	CHECK("dma-copy", "DMA copies between both", write_clause, NEED_SOCKET, copies),
	CHECK("dma-over-maps", "maps that touch are one memory", map_clause, NEED_SOCKET,
	      over_maps),
	CHECK("dma-offset", "a map may begin inside of its file", map_clause, 0, file_offset),
	CHECK("dma-huge-pages", "it may begin inside of a huge page", map_clause, 0, huge_pages),
	CHECK("dma-scattered", "each address finds its map", map_clause, 0, scattered),
	CHECK("dma-unmapped", "what is not mapped is EFAULT", map_clause, 0, unmapped),
	CHECK("dma-permissions", "so is what may not be read, or written", map_clause, NEED_SOCKET,
	      permissions),
	CHECK("dma-after-unmap", "so is what was unmapped", "vfio-user: VFIO_USER_DMA_UNMAP", 0,
	      after_unmap),
	CHECK("dma-truncated", "so is a file that was truncated", map_clause, 0, truncated),
	CHECK("dma-bus-master", "who is no bus master does none", "PCI 3.0: 6.2.2", 0, bus_master),
	CHECK("dma-lengths", "lengths out of range are refused", "selftest_regs.h", 0, lengths),
	CHECK("dma-completion", "its end raises an interrupt", "selftest_regs.h", 0, completions),
	{ 0 },
};
