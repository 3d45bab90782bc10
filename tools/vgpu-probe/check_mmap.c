/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions that are mapped. They are taken for memory, and what was there is put
 * back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"
#include "fault.h"

static const char clause[] = "vfio-user: VFIO_USER_DEVICE_GET_REGION_INFO";
static const char access_clause[] = "vfio-user: Read and Write Operations";

enum { PAGE = 4096 };

static void fill(uint8_t *buf, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)(seed + i * 37 + (i >> 8));
}

/* The mappable parts of a region: itself, if it is not sparse. */
static uint32_t parts(const struct probe_region *region, struct probe_area *ret)
{
	if (!region->sparse) {
		*ret = (struct probe_area){ 0, region->size };
		return 1;
	}
	memcpy(ret, region->areas, region->n_areas * sizeof(*ret));
	return region->n_areas;
}

static void memory_copy(struct check_run *t, void *to, const void *from, size_t n, uint32_t region)
{
	EXPECT(t, guarded_copy(to, from, n) == 0,
	       "region %u: mapped memory is not there: its file is too short", region);
}

/* One page of an area: what is written one way is read the other. */
static void compare_page(struct check_run *t, const struct probe_region *region, uint64_t at)
{
	uint8_t *memory = check_map(t, region, at, PAGE);
	uint8_t old[PAGE], pattern[PAGE], got[PAGE];
	uint32_t index = region->index;

	memory_copy(t, old, memory, PAGE, index);
	check_ok(t, t->dev->ops->read(t->dev, index, at, got, PAGE), "a read of a mapped page");
	EXPECT(t, memcmp(old, got, PAGE) == 0,
	       "region %u at %#llx: a read does not give what is in the mapping", index,
	       (unsigned long long)at);
	fill(pattern, PAGE, 1);
	memory_copy(t, memory, pattern, PAGE, index);
	check_ok(t, t->dev->ops->read(t->dev, index, at, got, PAGE), "a read of a mapped page");
	EXPECT(t, memcmp(pattern, got, PAGE) == 0,
	       "region %u at %#llx: a read does not see a store into the mapping", index,
	       (unsigned long long)at);
	fill(pattern, PAGE, 99);
	check_ok(t, t->dev->ops->write(t->dev, index, at, pattern, PAGE),
		 "a write to a mapped page");
	memory_copy(t, got, memory, PAGE, index);
	EXPECT(t, memcmp(pattern, got, PAGE) == 0,
	       "region %u at %#llx: a write is not seen in the mapping", index,
	       (unsigned long long)at);
	for (unsigned int width = 1; width <= 8; width *= 2) {
		check_ok(t, t->dev->ops->write(t->dev, index, at + PAGE - 8, old, width),
			 "a write of %u bytes", width);
		memory_copy(t, got, memory + PAGE - 8, width, index);
		EXPECT(t, memcmp(old, got, width) == 0,
		       "region %u: a write of %u bytes is not seen in the mapping", index, width);
	}
	memory_copy(t, memory, old, PAGE, index);
}

/* Of every region that can be mapped, its parts (the first eight). */
static void for_each_area(struct check_run *t,
			  void (*look)(struct check_run *t, const struct probe_region *region,
				       const struct probe_area *area))
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		struct probe_area areas[PROBE_MAX_AREAS];
		struct probe_region region;
		uint32_t n;

		if (!(t->facts->regions[i].flags & VFIO_REGION_INFO_FLAG_MMAP))
			continue;
		check_region(t, i, &region);
		n = parts(&region, areas);
		for (uint32_t a = 0; a < n && a < 8; a++)
			look(t, &region, &areas[a]);
	}
}

static void compare_ends(struct check_run *t, const struct probe_region *region,
			 const struct probe_area *area)
{
	compare_page(t, region, area->offset);
	compare_page(t, region, area->offset + area->size - PAGE);
}

static void same_memory(struct check_run *t)
{
	for_each_area(t, compare_ends);
}

static void touch(struct check_run *t, const struct probe_region *region,
		  const struct probe_area *area)
{
	uint8_t *memory = check_map(t, region, area->offset, area->size), byte;

	memory_copy(t, &byte, memory, 1, region->index);
	memory_copy(t, &byte, memory + area->size - 1, 1, region->index);
	memory_copy(t, &byte, memory + area->size / 2, 1, region->index);
}

static void whole(struct check_run *t)
{
	for_each_area(t, touch);
}

/* From a trapped part into a mapped one: one read, one answer. */
static void straddle(struct check_run *t)
{
	uint32_t index = check_mappable(t, true);
	const struct probe_region *region = &t->facts->regions[index];
	bool any = false;

	for (uint32_t a = 0; a < region->n_areas; a++) {
		uint8_t both[32], parts_[32];
		uint64_t edge = region->areas[a].offset;

		if (edge < 16)
			continue;
		any = true;
		check_ok(t, t->dev->ops->read(t->dev, index, edge - 16, both, 32),
			 "a read over the edge of area %u", a);
		check_ok(t, t->dev->ops->read(t->dev, index, edge - 16, parts_, 16),
			 "a read up to the edge of area %u", a);
		check_ok(t, t->dev->ops->read(t->dev, index, edge, parts_ + 16, 16),
			 "a read from the edge of area %u on", a);
		EXPECT(t, memcmp(both, parts_, 32) == 0,
		       "region %u, area %u: one read over its edge differs from two", index, a);
	}
	if (!any)
		check_skip(t, "every area begins at the start of its region");
}

/* No tenant sees another's memory. Where a server keeps it, that is its right. */
static void zeroed(struct check_run *t)
{
	uint32_t index = check_mappable(t, false);
	struct probe_region region;
	uint8_t got[64], zeros[64] = { 0 };
	uint8_t *memory;
	uint64_t at;

	check_region(t, index, &region);
	at = region.sparse && region.n_areas ? region.areas[0].offset : 0;
	memory = check_map(t, &region, at, PAGE);
	EXPECT(t, guarded_set(memory, 0x5a, PAGE) == 0, "region %u is not there", index);
	check_close(t);
	check_open(t);
	check_ok(t, t->dev->ops->read(t->dev, index, at, got, sizeof(got)), "a read of region %u",
		 index);
	ADVISE_UNLESS(t, memcmp(got, zeros, sizeof(got)) == 0,
		      "region %u: what a client stored is seen by the next", index);
	/* The file may be gone with the client: all the better. */
	guarded_set(memory, 0xa5, PAGE);
	check_ok(t, t->dev->ops->read(t->dev, index, at, got, sizeof(got)), "a read of region %u",
		 index);
	ADVISE_UNLESS(t, got[0] != 0xa5,
		      "region %u: a mapping of a client that is gone reaches the next one's memory",
		      index);
	guarded_set(memory, 0, PAGE);
}

const struct check checks_mmap[] = {
	{ "mmap.whole", "all of a mappable area can be mapped and touched", clause, NEED_MMAP,
	  whole },
	{ "mmap.same", "accesses and mapping see the same memory", access_clause, NEED_MMAP,
	  same_memory },
	{ "mmap.straddle", "an access may go over an area's edge", access_clause, NEED_SPARSE,
	  straddle },
	{ "mmap.zeroed", "the next client finds zeros, and memory of its own", "vgpud(1)",
	  NEED_MMAP, zeroed },
	{ 0 },
};
