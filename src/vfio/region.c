/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/region.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"

enum { PAGE = 4096 };

/* The largest naturally aligned access at offset that fits into length. */
static unsigned int natural_width(uint64_t offset, size_t length, unsigned int max_width)
{
	unsigned int width = max_width;

	while (width > length || offset & (width - 1))
		width >>= 1;
	return width;
}

static void trapped_read(const struct vfio_region *region, uint64_t offset, uint8_t *buf,
			 size_t length)
{
	if (!region->ops || !region->ops->read) {
		memset(buf, 0xff, length);
		return;
	}
	while (length) {
		unsigned int width = natural_width(offset, length, region->ops->max_width);

		put_le(buf, region->ops->read(region->opaque, offset, width), width);
		offset += width;
		buf += width;
		length -= width;
	}
}

static void trapped_write(const struct vfio_region *region, uint64_t offset, const uint8_t *buf,
			  size_t length)
{
	if (!region->ops || !region->ops->write)
		return;
	while (length) {
		unsigned int width = natural_width(offset, length, region->ops->max_width);

		region->ops->write(region->opaque, offset, get_le(buf, width), width);
		offset += width;
		buf += width;
		length -= width;
	}
}

/*
 * The guest and we may touch mapped memory at the same time; an access of a
 * CPU's width, aligned in the region, must not tear, so it is one load or
 * store there. Where in a message its bytes lie is not the guest's affair.
 */
#define ALIGNED(p, length, type) ((length) == sizeof(type) && !((uintptr_t)(p) % sizeof(type)))
#define LOAD(to, from, type)                                                                       \
	do {                                                                                       \
		type value_ = *(const volatile type *)(from);                                      \
		memcpy(to, &value_, sizeof(value_));                                               \
	} while (0)
#define STORE(to, from, type)                                                                      \
	do {                                                                                       \
		type value_;                                                                       \
		memcpy(&value_, from, sizeof(value_));                                             \
		*(volatile type *)(to) = value_;                                                   \
	} while (0)

static void memory_read(uint8_t *to, const uint8_t *memory, size_t length)
{
	if (ALIGNED(memory, length, uint64_t))
		LOAD(to, memory, uint64_t);
	else if (ALIGNED(memory, length, uint32_t))
		LOAD(to, memory, uint32_t);
	else if (ALIGNED(memory, length, uint16_t))
		LOAD(to, memory, uint16_t);
	else
		memcpy(to, memory, length);
}

static void memory_write(uint8_t *memory, const uint8_t *from, size_t length)
{
	if (ALIGNED(memory, length, uint64_t))
		STORE(memory, from, uint64_t);
	else if (ALIGNED(memory, length, uint32_t))
		STORE(memory, from, uint32_t);
	else if (ALIGNED(memory, length, uint16_t))
		STORE(memory, from, uint16_t);
	else
		memcpy(memory, from, length);
}

/*
 * Says whether the byte at offset is backed by memory, and up to where
 * (exclusive) that stays so.
 */
static bool backed_by_memory(const struct vfio_region *region, uint64_t offset, uint64_t *ret_end)
{
	if (!region->memory || !region->n_areas) {
		*ret_end = region->size;
		return region->memory;
	}
	for (uint32_t i = 0; i < region->n_areas; i++) {
		const struct vfio_region_area *area = &region->areas[i];

		if (offset < area->offset) {
			*ret_end = area->offset;
			return false;
		}
		if (offset < area->offset + area->size) {
			*ret_end = area->offset + area->size;
			return true;
		}
	}
	*ret_end = region->size;
	return false;
}

bool vfio_region_allows(const struct vfio_region *region, uint64_t offset, size_t length,
			uint32_t direction)
{
	return region->flags & direction && range_within(offset, length, region->size);
}

int vfio_region_read(struct vfio_region *region, uint64_t offset, void *buf, size_t length)
{
	uint8_t *to = buf;

	if (!vfio_region_allows(region, offset, length, VFIO_REGION_INFO_FLAG_READ))
		return -EINVAL;

	counter_add(&region->stats.reads, 1);
	counter_add(&region->stats.read_bytes, length);
	while (length) {
		uint64_t end;
		bool memory = backed_by_memory(region, offset, &end);
		size_t piece = length < end - offset ? length : (size_t)(end - offset);

		if (memory)
			memory_read(to, region->memory + offset, piece);
		else
			trapped_read(region, offset, to, piece);
		offset += piece;
		to += piece;
		length -= piece;
	}
	return 0;
}

int vfio_region_write(struct vfio_region *region, uint64_t offset, const void *buf, size_t length)
{
	const uint8_t *from = buf;

	if (!vfio_region_allows(region, offset, length, VFIO_REGION_INFO_FLAG_WRITE))
		return -EINVAL;

	counter_add(&region->stats.writes, 1);
	counter_add(&region->stats.write_bytes, length);
	while (length) {
		uint64_t end;
		bool memory = backed_by_memory(region, offset, &end);
		size_t piece = length < end - offset ? length : (size_t)(end - offset);

		if (memory)
			memory_write(region->memory + offset, from, piece);
		else
			trapped_write(region, offset, from, piece);
		offset += piece;
		from += piece;
		length -= piece;
	}
	return 0;
}

size_t vfio_region_info_size(const struct vfio_region *region)
{
	size_t size = sizeof(struct vfio_region_info);

	if (region->flags & VFIO_REGION_INFO_FLAG_MMAP && region->n_areas)
		size += sizeof(struct vfio_region_info_cap_sparse_mmap) +
			region->n_areas * sizeof(struct vfio_region_sparse_mmap_area);
	return size;
}

static void fill_sparse_mmap(const struct vfio_region *region, uint8_t *at)
{
	struct vfio_region_info_cap_sparse_mmap cap = {
		.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP,
		.header.version = 1,
		.nr_areas = region->n_areas,
	};

	memcpy(at, &cap, sizeof(cap));
	at += sizeof(cap);
	for (uint32_t i = 0; i < region->n_areas; i++) {
		struct vfio_region_sparse_mmap_area area = {
			.offset = region->areas[i].offset,
			.size = region->areas[i].size,
		};

		memcpy(at, &area, sizeof(area));
		at += sizeof(area);
	}
}

size_t vfio_region_fill_info(const struct vfio_region *region, uint32_t index, uint32_t argsz,
			     void *buf, size_t room)
{
	size_t full = vfio_region_info_size(region), filled = sizeof(struct vfio_region_info);
	struct vfio_region_info info = {
		.argsz = (uint32_t)full,
		.flags = region->size ? region->flags : 0,
		.index = index,
		.size = region->size,
		.offset = region->flags & VFIO_REGION_INFO_FLAG_MMAP ? region->fd_offset : 0,
	};

	if (full > sizeof(info) && full <= argsz && full <= room) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		info.cap_offset = sizeof(info);
		fill_sparse_mmap(region, (uint8_t *)buf + sizeof(info));
		filled = full;
	}
	memcpy(buf, &info, sizeof(info));
	return filled;
}

static bool areas_are_valid(const struct vfio_region *region)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < region->n_areas; i++) {
		const struct vfio_region_area *area = &region->areas[i];

		if (area->offset % PAGE || area->size % PAGE || !area->size || area->offset < end ||
		    !range_within(area->offset, area->size, region->size))
			return false;
		end = area->offset + area->size;
	}
	return true;
}

static bool doorbell_is_valid(const struct vfio_region *region,
			      const struct vfio_doorbell *doorbell)
{
	uint64_t end;

	/* An eventfd that is there already would be somebody else's. */
	return doorbell->fd == -1 && is_power_of_two(doorbell->size) && doorbell->size <= 8 &&
	       !(doorbell->offset % doorbell->size) &&
	       vfio_region_allows(region, doorbell->offset, doorbell->size,
				  VFIO_REGION_INFO_FLAG_WRITE) &&
	       !backed_by_memory(region, doorbell->offset, &end);
}

static bool doorbells_are_valid(const struct vfio_region *region)
{
	if (region->n_doorbells && (!region->doorbells || !region->ops || !region->ops->doorbell))
		return false;
	for (uint32_t i = 0; i < region->n_doorbells; i++)
		if (!doorbell_is_valid(region, &region->doorbells[i]))
			return false;
	return true;
}

bool vfio_region_is_valid(const struct vfio_region *region)
{
	const uint32_t all = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			     VFIO_REGION_INFO_FLAG_MMAP;
	bool mapped = region->flags & VFIO_REGION_INFO_FLAG_MMAP;

	if (region->flags & ~all)
		return false;
	if (!region->size)
		return !region->flags;
	/* VMMs take a mapping's protection from the whole region. */
	if (mapped && (region->flags & all) != all)
		return false;
	if (mapped &&
	    (region->fd < 0 || !region->memory || region->fd_offset % PAGE || region->size % PAGE))
		return false;
	if (region->ops && region->ops->max_width != 4 && region->ops->max_width != 8)
		return false;
	if (!doorbells_are_valid(region))
		return false;
	return mapped ? areas_are_valid(region) : !region->n_areas;
}
