/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/dma.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "vfio/dma_fault.h"

SYSCALLS(SYSCALL(fstatfs), SYSCALL(munmap), SYSCALL(madvise));

enum { PAGE = 4096 };

static const uint32_t all_prot = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

void vfio_dma_space_init(struct vfio_dma_space *space)
{
	*space = (struct vfio_dma_space){ .max_maps = VFIO_DMA_MAX_MAPS };
}

void vfio_dma_set_ops(struct vfio_dma_space *space, const struct vfio_dma_ops *ops, void *opaque)
{
	space->ops = ops;
	space->opaque = opaque;
}

static bool map_holds(const struct vfio_dma_map *map, uint64_t iova)
{
	return iova - map->iova < map->size;
}

/*
 * The index of the last map that starts at iova or below; 0 if there is none.
 * Where to go on is arithmetic rather than a branch, since with addresses that
 * nobody can predict mispredicted branches would cost more than all the rest of
 * an access; and it goes in eighths, whose comparisons don't wait for one
 * another as those of halves do.
 */
static inline size_t last_at_or_below(const struct vfio_dma_space *space, uint64_t iova)
{
	const uint64_t *at = space->starts;
	size_t n = space->n_maps, step;

	for (; n >= 8; n -= 7 * step) {
		step = n / 8;
		at += step *
		      ((size_t)(at[step] <= iova) + (at[2 * step] <= iova) +
		       (at[3 * step] <= iova) + (at[4 * step] <= iova) + (at[5 * step] <= iova) +
		       (at[6 * step] <= iova) + (at[7 * step] <= iova));
	}
	for (; n > 1; n -= step) {
		step = n / 2;
		at += step * (at[step] <= iova);
	}
	return (size_t)(at - space->starts);
}

/* The index of the first map that ends after iova; n_maps if there is none. */
static size_t find_map(const struct vfio_dma_space *space, uint64_t iova)
{
	size_t i;

	if (!space->n_maps)
		return 0;
	i = last_at_or_below(space, iova);
	if (space->starts[i] > iova || map_holds(&space->maps[i], iova))
		return i;
	return i + 1;
}

/*
 * The map that holds iova, or NULL. What was found last in that part of the space
 * is tried first: most guests have few maps, and devices tend to stay in one.
 */
static inline struct vfio_dma_map *map_at(struct vfio_dma_space *space, uint64_t iova)
{
	uint32_t *hint = &space->hints[(iova >> space->hint_shift) % VFIO_DMA_HINTS];
	size_t i = *hint;

	if (i < space->n_maps && map_holds(&space->maps[i], iova))
		return &space->maps[i];
	if (!space->n_maps)
		return NULL;
	i = last_at_or_below(space, iova);
	if (!map_holds(&space->maps[i], iova))
		return NULL;
	*hint = (uint32_t)i;
	return &space->maps[i];
}

/* So that all that is mapped takes up to as many parts as there are hints. */
static void set_hint_shift(struct vfio_dma_space *space)
{
	const struct vfio_dma_map *last = &space->maps[space->n_maps - 1];
	uint64_t span = last->iova + last->size - space->maps[0].iova;

	space->hint_shift = 0;
	while (span >> space->hint_shift > VFIO_DMA_HINTS)
		space->hint_shift++;
}

/* True if the map, which may be NULL, may be used so. */
static bool map_allows(const struct vfio_dma_map *map, uint32_t prot)
{
	return map && !map->broken && (map->prot & prot) == prot;
}

/*
 * The map in which all of [iova, iova + length) lies in place, to be used so;
 * NULL if there is none, and it takes a copy, or is no guest memory at all.
 */
static inline const struct vfio_dma_map *map_in_place(struct vfio_dma_space *space, uint64_t iova,
						      size_t length, uint32_t prot)
{
	const struct vfio_dma_map *map = map_at(space, iova);

	return map_allows(map, prot) && map->data && length <= map->size - (iova - map->iova)
		       ? map
		       : NULL;
}

/*
 * The size of the pages that a file is mapped in. Other file systems than
 * hugetlbfs may say that they like larger blocks, but their mappings begin at
 * any page.
 */
static uint64_t file_page_size(const struct statfs *fs)
{
	return fs->f_type == HUGETLBFS_MAGIC && is_power_of_two((uint64_t)fs->f_bsize)
		       ? (uint64_t)fs->f_bsize
		       : PAGE;
}

/*
 * A mapping's start must be a multiple of the file's page size (2 MiB and more
 * on hugetlbfs), which the offset need not be.
 */
static int map_file(struct vfio_dma_map *map, int fd, uint64_t fd_offset)
{
	uint64_t file_page, lead;
	struct statfs fs;
	size_t length;
	int prot = 0;
	void *p;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	file_page = file_page_size(&fs);
	lead = fd_offset & (file_page - 1);
	if (__builtin_add_overflow(map->size, lead, &length))
		return -EINVAL;
	if (__builtin_add_overflow(length, file_page - 1, &length))
		return -EINVAL;
	length = round_down(length, file_page);

	if (map->prot & VFIO_DMA_MAP_FLAG_READ)
		prot |= PROT_READ;
	if (map->prot & VFIO_DMA_MAP_FLAG_WRITE)
		prot |= PROT_WRITE;
	p = mmap(NULL, length, prot, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(fd_offset - lead));
	if (p == MAP_FAILED)
		return -errno;
	/* Never in a core dump: it is the guest's, and huge. */
	madvise(p, length, MADV_DONTDUMP);

	map->mapping = p;
	map->mapping_size = length;
	map->page_size = file_page;
	map->data = map->mapping + lead;
	return 0;
}

static int make_room(struct vfio_dma_space *space)
{
	struct vfio_dma_map *maps;
	uint64_t *starts;
	size_t room;

	if (space->n_maps >= space->max_maps)
		return -ENOSPC;
	if (space->n_maps < space->room)
		return 0;
	room = space->room ? space->room * 2 : 32;
	maps = reallocarray(space->maps, room, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	space->maps = maps;
	starts = reallocarray(space->starts, room, sizeof(*starts));
	if (!starts)
		return -ENOMEM;
	space->starts = starts;
	space->room = room;
	return 0;
}

static void insert_map(struct vfio_dma_space *space, size_t i, const struct vfio_dma_map *map)
{
	size_t behind = space->n_maps++ - i;

	memmove(&space->maps[i + 1], &space->maps[i], behind * sizeof(space->maps[0]));
	memmove(&space->starts[i + 1], &space->starts[i], behind * sizeof(space->starts[0]));
	space->maps[i] = *map;
	space->starts[i] = map->iova;
	set_hint_shift(space);
}

static void remove_map(struct vfio_dma_space *space, size_t i)
{
	size_t behind = --space->n_maps - i;

	memmove(&space->maps[i], &space->maps[i + 1], behind * sizeof(space->maps[0]));
	memmove(&space->starts[i], &space->starts[i + 1], behind * sizeof(space->starts[0]));
}

static bool overlaps_neighbours(const struct vfio_dma_space *space, size_t i,
				const struct vfio_dma_map *map)
{
	return (i < space->n_maps &&
		ranges_overlap(map->iova, map->size, space->maps[i].iova, space->maps[i].size)) ||
	       (i > 0 && ranges_overlap(map->iova, map->size, space->maps[i - 1].iova,
					space->maps[i - 1].size));
}

int vfio_dma_map(struct vfio_dma_space *space, uint64_t iova, uint64_t size, uint32_t prot, int fd,
		 uint64_t fd_offset)
{
	struct vfio_dma_map map = { .iova = iova, .size = size, .prot = prot };
	uint64_t end, fd_end;
	size_t i;
	int r;

	/* The last page of the address space stays out, so that no end wraps to 0. */
	if (!size || !prot || prot & ~all_prot || (iova | size) % PAGE ||
	    __builtin_add_overflow(iova, size, &end))
		return -EINVAL;
	if (fd >= 0 && (fd_offset % PAGE || __builtin_add_overflow(fd_offset, size, &fd_end) ||
			fd_end > INT64_MAX))
		return -EINVAL;

	i = find_map(space, iova);
	if (overlaps_neighbours(space, i, &map))
		return -EEXIST;
	r = make_room(space);
	if (r < 0)
		return r;
	if (fd >= 0) {
		if (size > VFIO_DMA_MAX_MAPPED - counter_read(&space->stats.mapped_bytes))
			return -ENOSPC;
		r = dma_fault_init();
		if (r == 0)
			r = map_file(&map, fd, fd_offset);
		if (r < 0)
			return r;
	}

	insert_map(space, i, &map);
	counter_add(&space->stats.maps, 1);
	counter_add(&space->stats.bytes, size);
	if (map.data)
		counter_add(&space->stats.mapped_bytes, size);
	return 0;
}

static void release_map(struct vfio_dma_space *space, const struct vfio_dma_map *map)
{
	counter_add(&space->stats.maps, -(uint64_t)1);
	counter_add(&space->stats.bytes, -map->size);
	if (!map->data)
		return;
	counter_add(&space->stats.mapped_bytes, -map->size);
	if (!dma_fault_revoke(map->mapping, map->mapping_size))
		munmap(map->mapping, map->mapping_size);
}

int vfio_dma_unmap(struct vfio_dma_space *space, uint64_t iova, uint64_t size)
{
	size_t i = find_map(space, iova);

	if (i >= space->n_maps || space->maps[i].iova != iova || space->maps[i].size != size)
		return -ENOENT;
	release_map(space, &space->maps[i]);
	remove_map(space, i);
	return 0;
}

void vfio_dma_unmap_all(struct vfio_dma_space *space)
{
	for (size_t i = 0; i < space->n_maps; i++)
		release_map(space, &space->maps[i]);
	space->n_maps = 0;
}

void vfio_dma_space_done(struct vfio_dma_space *space)
{
	vfio_dma_unmap_all(space);
	free(space->maps);
	free(space->starts);
	space->maps = NULL;
	space->starts = NULL;
	space->room = 0;
}

/* Counts and logs an access that failed. */
static int fault(struct vfio_dma_space *space, uint64_t iova, size_t length, int error)
{
	counter_add(&space->stats.faults, 1);
	log_ratelimited(LOG_LEVEL_WARNING,
			"the guest's device addressed memory that it may not use: "
			"%zu bytes at %#llx: %s",
			length, (unsigned long long)iova, strerror(-error));
	return error;
}

/* True if every byte of the range is mapped with prot. */
static bool range_is_mapped(struct vfio_dma_space *space, uint64_t iova, size_t length,
			    uint32_t prot)
{
	uint64_t end;

	if (__builtin_add_overflow(iova, length, &end))
		return false;
	while (iova < end) {
		const struct vfio_dma_map *map = map_at(space, iova);

		if (!map_allows(map, prot))
			return false;
		iova = map->iova + map->size;
	}
	return true;
}

static inline void open_scope(struct vfio_dma_space *space, const struct vfio_dma_map *map,
			      uint64_t iova, size_t length, uint32_t prot,
			      struct vfio_dma_access *access)
{
	access->data = map->data + (iova - map->iova);
	access->length = length;
	access->space = space;
	access->iova = iova;
	access->bounce = NULL;
	access->page_size = map->page_size;
	access->revoked = NULL;
	access->prot = prot;
	access->faulted = false;
	dma_fault_enter(access);
}

/*
 * Leaves a scope. A map whose file went away is not used again; the one that is
 * there now may be another, if this scope's was unmapped.
 */
static int close_scope(struct vfio_dma_space *space, struct vfio_dma_access *access)
{
	struct vfio_dma_map *map;

	dma_fault_leave(access);
	if (!access->faulted)
		return 0;
	map = map_at(space, access->iova);
	if (map && map->data && access->data == map->data + (access->iova - map->iova))
		map->broken = true;
	return -EFAULT;
}

/* Copies in or out what lies in one map that has a descriptor. */
static inline int copy_in_place(struct vfio_dma_space *space, const struct vfio_dma_map *map,
				uint64_t iova, uint8_t *buf, size_t length, bool write)
{
	struct vfio_dma_access access;

	open_scope(space, map, iova, length, 0, &access);
	if (write)
		memcpy(access.data, buf, length);
	else
		memcpy(buf, access.data, length);
	return close_scope(space, &access);
}

/* Copies one map's share in or out; by message if it has no descriptor. */
static int copy_piece(struct vfio_dma_space *space, const struct vfio_dma_map *map, uint64_t iova,
		      uint8_t *buf, size_t length, bool write)
{
	if (map->data)
		return copy_in_place(space, map, iova, buf, length, write);
	if (!space->ops)
		return -ENOTCONN;
	return write ? space->ops->write(space->opaque, iova, buf, length)
		     : space->ops->read(space->opaque, iova, buf, length);
}

/*
 * A message may let the client change the maps between two pieces, so each
 * piece looks its map up anew.
 */
static int copy_range(struct vfio_dma_space *space, uint64_t iova, uint8_t *buf, size_t length,
		      bool write)
{
	uint32_t prot = write ? VFIO_DMA_MAP_FLAG_WRITE : VFIO_DMA_MAP_FLAG_READ;

	if (!range_is_mapped(space, iova, length, prot))
		return -EFAULT;
	while (length) {
		const struct vfio_dma_map *map = map_at(space, iova);
		size_t piece;
		int r;

		if (!map_allows(map, prot))
			return -EFAULT;
		piece = map->size - (iova - map->iova) < length
				? (size_t)(map->size - (iova - map->iova))
				: length;
		r = copy_piece(space, map, iova, buf, piece, write);
		if (r < 0)
			return r;
		iova += piece;
		buf += piece;
		length -= piece;
	}
	return 0;
}

/* A scope around a copy, where more than one map or a message is needed. */
static int begin_copy(struct vfio_dma_space *space, uint64_t iova, size_t length, uint32_t prot,
		      struct vfio_dma_access *ret)
{
	struct vfio_dma_access access = {
		.space = space, .iova = iova, .length = length, .prot = prot
	};
	int r;

	if (!range_is_mapped(space, iova, length, prot))
		return -EFAULT;
	if (length > VFIO_DMA_MAX_ACCESS)
		return -E2BIG;
	access.data = access.bounce = calloc(1, length);
	if (!access.bounce)
		return -ENOMEM;
	if (prot & VFIO_DMA_MAP_FLAG_READ) {
		r = copy_range(space, iova, access.bounce, length, false);
		if (r < 0) {
			free(access.bounce);
			return r;
		}
	}
	*ret = access;
	dma_fault_enter(ret);
	return 0;
}

int vfio_dma_begin(struct vfio_dma_space *space, uint64_t iova, size_t length, uint32_t prot,
		   struct vfio_dma_access *ret)
{
	const struct vfio_dma_map *map;
	int r;

	if (!length || !prot || prot & ~all_prot)
		return fault(space, iova, length, -EFAULT);
	map = map_in_place(space, iova, length, prot);
	if (map) {
		open_scope(space, map, iova, length, prot, ret);
		return 0;
	}
	r = begin_copy(space, iova, length, prot, ret);
	return r < 0 && r != -ENOMEM ? fault(space, iova, length, r) : r;
}

int vfio_dma_end(struct vfio_dma_access *access, size_t written)
{
	struct vfio_dma_space *space = access->space;
	int r = close_scope(space, access);

	if (access->bounce) {
		if (written && access->prot & VFIO_DMA_MAP_FLAG_WRITE)
			r = copy_range(space, access->iova, access->bounce,
				       written < access->length ? written : access->length, true);
		free(access->bounce);
		access->bounce = NULL;
	}
	access->data = NULL;
	return r < 0 ? fault(space, access->iova, access->length, r) : 0;
}

static inline int copy(struct vfio_dma_space *space, uint64_t iova, uint8_t *buf, size_t length,
		       bool write)
{
	uint32_t prot = write ? VFIO_DMA_MAP_FLAG_WRITE : VFIO_DMA_MAP_FLAG_READ;
	const struct vfio_dma_map *map = map_in_place(space, iova, length, prot);
	int r = map ? copy_in_place(space, map, iova, buf, length, write)
		    : copy_range(space, iova, buf, length, write);

	return r < 0 ? fault(space, iova, length, r) : 0;
}

int vfio_dma_read(struct vfio_dma_space *space, uint64_t iova, void *buf, size_t length)
{
	return copy(space, iova, buf, length, false);
}

int vfio_dma_write(struct vfio_dma_space *space, uint64_t iova, const void *buf, size_t length)
{
	/* copy() only reads from it in this direction. */
	return copy(space, iova, (uint8_t *)(uintptr_t)buf, length, true);
}
