/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory, as the client lets the device see it: a space of I/O virtual
 * addresses (IOVA) in which ranges come and go with DMA_MAP and DMA_UNMAP.
 *
 * A range is backed by a descriptor (then it is mapped here and used in place)
 * or by nothing (then the bytes travel as messages through the door). Whoever
 * uses guest memory does not see which.
 *
 * Access is scoped:
 *
 *     r = vfio_dma_begin(space, iova, length, VFIO_DMA_MAP_FLAG_READ, &access);
 *     ... access.data[0 .. length) ...
 *     r = vfio_dma_end(&access, 0);
 *
 * Nothing in guest memory may be believed twice: the guest writes while we
 * read. No pointer outlives its scope or crosses a thread, so UNMAP can always
 * answer at once (one that comes inside a scope leaves zeros there, and the
 * scope ends with -EFAULT). All of it belongs to the device thread, and never to a
 * region's handler: the answer goes out first.
 *
 * While bytes travel as messages, the door may serve other accesses of the
 * guest, so a device's handlers can run inside vfio_dma_begin() and
 * vfio_dma_end(); its state must be consistent there.
 */
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"

enum {
	/*
	 * Half of what Linux lets a process map (vm.max_map_count), so that the
	 * other half is left for threads and memory.
	 */
	VFIO_DMA_MAX_MAPS = 32768,
	VFIO_DMA_MAX_ACCESS = 64 << 20, /* bytes of one access that has to be copied */
	VFIO_DMA_HINTS = 64,
};

/* Bytes of all ranges with a descriptor: an eighth of an address space of 47 bits. */
#define VFIO_DMA_MAX_MAPPED ((uint64_t)16 << 40)

/* How bytes travel where a range has no descriptor. Each moves all or fails. */
struct vfio_dma_ops {
	int (*read)(void *opaque, uint64_t iova, void *buf, size_t length);
	int (*write)(void *opaque, uint64_t iova, const void *buf, size_t length);
};

struct vfio_dma_map {
	uint64_t iova, size; /* bytes */
	uint32_t prot; /* VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE */
	uint8_t *data; /* NULL: by message */
	uint8_t *mapping; /* what munmap() wants: data, aligned down to the file's pages */
	size_t mapping_size;
	size_t page_size; /* the file's: 4 KiB, or a huge page's */
	bool broken; /* a part of the file went away: nothing in it is trusted any more */
};

struct vfio_dma_stats {
	counter_t maps; /* now */
	counter_t bytes, mapped_bytes; /* now: all, and those with a descriptor */
	counter_t faults; /* accesses that failed */
};

struct vfio_dma_space {
	struct vfio_dma_map *maps; /* by ascending iova, not overlapping */
	uint64_t *starts; /* of each map its iova: what a look-up goes through */
	size_t n_maps, room;
	/* Where the last look-up ended in each part of the space that is mapped; may be outdated. */
	uint32_t hints[VFIO_DMA_HINTS];
	unsigned int hint_shift; /* a part has 1 << hint_shift bytes */
	uint32_t max_maps;
	const struct vfio_dma_ops *ops; /* NULL: no message can be sent now */
	void *opaque;
	struct vfio_dma_stats stats;
};

void vfio_dma_space_init(struct vfio_dma_space *space);

/* Unmaps all. */
void vfio_dma_space_done(struct vfio_dma_space *space);

/* Says how bytes travel without a descriptor; NULL when the client is gone. */
void vfio_dma_set_ops(struct vfio_dma_space *space, const struct vfio_dma_ops *ops, void *opaque);

/*
 * VFIO_IOMMU_MAP_DMA: [iova, iova + size) is the file fd from fd_offset, or by
 * message if fd is negative. fd stays the caller's. Returns 0; -EEXIST if it
 * overlaps what is mapped; -EINVAL for size 0, a range that wraps, an iova,
 * size or offset that is not a multiple of 4096, or no prot; -ENOSPC beyond
 * max_maps or VFIO_DMA_MAX_MAPPED; or what mmap() said of the descriptor.
 */
int vfio_dma_map(struct vfio_dma_space *space, uint64_t iova, uint64_t size, uint32_t prot, int fd,
		 uint64_t fd_offset);

/* VFIO_IOMMU_UNMAP_DMA of exactly one earlier map. -ENOENT if there is none such. */
int vfio_dma_unmap(struct vfio_dma_space *space, uint64_t iova, uint64_t size);

void vfio_dma_unmap_all(struct vfio_dma_space *space);

struct vfio_dma_access {
	uint8_t *data; /* length bytes, valid until vfio_dma_end() */
	size_t length;

	/* private */
	struct vfio_dma_space *space;
	struct vfio_dma_access *outer; /* the scope around this one, on this thread */
	uint64_t iova;
	uint8_t *bounce; /* data, if it is a copy */
	size_t page_size; /* of the file behind data */
	uint8_t *revoked; /* a mapping that was unmapped inside this scope, to be released */
	size_t revoked_size;
	uint32_t prot;
	bool faulted;
};

/*
 * Opens [iova, iova + length) for reading, writing or both (VFIO_DMA_MAP_FLAG_*).
 * In place where one map holds all of it, else a copy. Returns 0; -EFAULT if
 * not all of it is mapped with that prot; -E2BIG if a copy would be needed and
 * is longer than VFIO_DMA_MAX_ACCESS; -ENOMEM; or what the message answered.
 */
int vfio_dma_begin(struct vfio_dma_space *space, uint64_t iova, size_t length, uint32_t prot,
		   struct vfio_dma_access *ret);

/*
 * Closes the scope; `written` bytes from its start were written. Scopes close
 * in the reverse order of their opening. Returns 0; -EFAULT if the memory
 * went away in between (a truncated file): what was read is not to be used.
 */
int vfio_dma_end(struct vfio_dma_access *access, size_t written);

/* Small things: copy in and out. Errors as above. */
int vfio_dma_read(struct vfio_dma_space *space, uint64_t iova, void *buf, size_t length);
int vfio_dma_write(struct vfio_dma_space *space, uint64_t iova, const void *buf, size_t length);
