/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A region of a VFIO device: a window that the VMM reads and writes at an
 * offset, maps, or both (struct vfio_region_info, <linux/vfio.h>).
 *
 * Selective pass-through is a property of a region's parts. Each byte of a
 * region belongs to exactly one of two kinds:
 *
 *   mapped    backed by memory that the VMM maps read-write into the guest;
 *             the guest reaches it at memory speed and nobody traps;
 *   trapped   every guest access becomes a read or write here, and goes to
 *             the device's handler.
 *
 * Both doors (and nobody else) come in through vfio_region_read() and
 * vfio_region_write(), the one place that checks offset, length and direction.
 */
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/histogram.h"

/*
 * The handler of a region's trapped part. It is called with naturally aligned
 * accesses of 1, 2, 4 or (where max_width allows) 8 bytes inside the trapped
 * part; wider or unaligned accesses have been split, lowest address first.
 * Values are in host order; a read of nothing gives ~0.
 *
 * Handlers run on the device thread and answer at once: no blocking and no
 * guest-memory access; both belong into the work that a device does after the
 * answer.
 */
struct vfio_region_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int width);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned int width);
	unsigned int max_width; /* bytes: 4 or 8 */
	/*
	 * Doorbell `index` of the region's was rung through its eventfd, once or
	 * more since the last call. NULL if the region has none.
	 */
	void (*doorbell)(void *opaque, unsigned int index);
};

/*
 * A doorbell: an address in a region's trapped part where a write means "there
 * is work". A client may take it as an eventfd (VFIO_DEVICE_IOEVENTFD,
 * GET_REGION_IO_FDS), which the host's kernel signals when the guest writes,
 * and then the write reaches nobody as a message. Device authors fill in where
 * it is; the write itself still goes to ops->write() where no eventfd took it.
 */
struct vfio_doorbell {
	uint64_t offset; /* in the region, a multiple of size */
	uint32_t size; /* bytes of the write: 1, 2, 4 or 8 */
	bool match; /* only a write of datamatch rings */
	uint64_t datamatch;
	int fd; /* private: the eventfd; -1 until a client asks for it */
};

/* A part of a region: bytes [offset, offset + size), multiples of the page size. */
struct vfio_region_area {
	uint64_t offset;
	uint64_t size;
};

/* Counted for every access that came in through a door, i.e. was trapped. */
struct vfio_region_stats {
	counter_t reads, read_bytes;
	counter_t writes, write_bytes;
	struct histogram latency_ns; /* from request received to answer sent */
};

/*
 * Zero-initialised: a region that does not exist (size 0). Not moved or copied
 * once a door serves the device.
 */
struct vfio_region {
	const char *name;
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_{READ,WRITE,MMAP}; CAPS is derived */
	uint64_t size; /* bytes */

	/* The trapped part; NULL reads as ~0 and ignores writes. */
	const struct vfio_region_ops *ops;
	void *opaque;

	/*
	 * The mapped part, with FLAG_MMAP. The region's byte n lies at fd's offset
	 * fd_offset + n and at memory[n]; both stay the device's. With n_areas
	 * of 0 all of the region is mapped; else exactly these areas, in
	 * ascending order and not overlapping (a sparse region).
	 *
	 * memory without FLAG_MMAP is content that is trapped: a ROM.
	 */
	int fd;
	uint64_t fd_offset;
	uint8_t *memory;
	const struct vfio_region_area *areas;
	uint32_t n_areas;

	struct vfio_doorbell *doorbells; /* n_doorbells of them, the device's; NULL: none */
	uint32_t n_doorbells;

	struct vfio_region_stats stats;
};

/*
 * Reads or writes length bytes at offset of the region. Returns 0, or -EINVAL
 * if the region does not exist, does not allow the direction, or does not hold
 * all of [offset, offset + length). On an error nothing was touched.
 */
int vfio_region_read(struct vfio_region *region, uint64_t offset, void *buf, size_t length);
int vfio_region_write(struct vfio_region *region, uint64_t offset, const void *buf, size_t length);

/*
 * True if an access would be carried out. direction is
 * VFIO_REGION_INFO_FLAG_READ or VFIO_REGION_INFO_FLAG_WRITE.
 */
bool vfio_region_allows(const struct vfio_region *region, uint64_t offset, size_t length,
			uint32_t direction);

/*
 * Fills the answer to VFIO_DEVICE_GET_REGION_INFO into buf, which holds `room`
 * bytes, at least sizeof(struct vfio_region_info). `argsz` is what the caller
 * of the door has room for: if the whole answer with its capability chain does
 * not fit, only the fixed part is filled, with the size needed in its argsz
 * and without FLAG_CAPS. Returns the number of bytes filled.
 */
size_t vfio_region_fill_info(const struct vfio_region *region, uint32_t index, uint32_t argsz,
			     void *buf, size_t room);

/* Bytes of the largest answer that vfio_region_fill_info() can give for it. */
size_t vfio_region_info_size(const struct vfio_region *region);

/*
 * True if what a device author wrote makes sense: READ|MMAP comes with WRITE,
 * areas are page-aligned, ordered and inside, memory exists where it is needed.
 */
bool vfio_region_is_valid(const struct vfio_region *region);

/*
 * The eventfds of a region's doorbells. Open makes those that are not yet made
 * (0, or a negative errno and none is left half made); close is for when the
 * client is gone: it may have kept them. Event is to be called when doorbell
 * `index`'s fd is readable: it takes the signal and calls ops->doorbell().
 */
int vfio_region_open_doorbells(struct vfio_region *region);
void vfio_region_close_doorbells(struct vfio_region *region);
void vfio_region_doorbell_event(struct vfio_region *region, unsigned int index);
