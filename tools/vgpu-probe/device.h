/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VFIO device as a client sees it, whatever door it stands behind: the words
 * of <linux/vfio.h>, one function each. A door (a vfio-user socket now, later
 * /dev/vfio) implements struct probe_door_ops; the dump, the checks and the
 * benchmarks know nothing else.
 *
 * What comes through a door is a stranger's: a door returns only what it has
 * checked against the limits below, and no call waits longer than the
 * device's timeout.
 */
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum {
	PROBE_MAX_AREAS = 64, /* of one region */
	PROBE_MAX_IO_FDS = 64, /* of one region */
	PROBE_MAX_FDS = 64, /* in one message */
	PROBE_MAX_REGIONS = 64,
	PROBE_MAX_IRQS = 32,
	PROBE_ERROR_SIZE = 256,
};

/*
 * What a call returns: 0; the negative errno that the device answered; or one
 * of these, which are about the door rather than the device. After the last
 * three the door is not usable any more, and probe_error() says what happened.
 */
enum {
	PROBE_REFUSED = -5000, /* an error, and the device did not say which */
	PROBE_TIMEOUT = -5001,
	PROBE_CLOSED = -5002,
	PROBE_PROTOCOL = -5003, /* the answer is none */
};

static inline bool probe_is_broken(int r)
{
	return r == PROBE_TIMEOUT || r == PROBE_CLOSED || r == PROBE_PROTOCOL;
}

/* A bit and what it is called. */
struct probe_flag {
	uint32_t bit;
	const char *name;
};

struct probe_area {
	uint64_t offset, size;
};

struct probe_region {
	uint32_t index, flags; /* VFIO_REGION_INFO_FLAG_* */
	uint64_t size;
	uint64_t offset; /* of the region in fd */
	int fd; /* the caller's; -1: not mappable */
	bool sparse; /* only areas may be mapped; else all of it */
	uint32_t n_areas;
	struct probe_area areas[PROBE_MAX_AREAS];
	uint32_t n_other_caps; /* capabilities that we don't know */
};

struct probe_io_fd {
	uint64_t offset, size;
	uint32_t type, flags; /* 0: ioeventfd, 1: ioregionfd */
	uint64_t datamatch;
	int fd; /* index into probe_io_fds.fds */
};

struct probe_io_fds {
	uint32_t n;
	struct probe_io_fd entries[PROBE_MAX_IO_FDS];
	size_t n_fds;
	int fds[PROBE_MAX_FDS]; /* the caller's */
};

struct probe_device;

struct probe_door_ops {
	const char *name;
	int (*get_info)(struct probe_device *dev, struct vfio_device_info *ret);
	int (*get_region)(struct probe_device *dev, uint32_t index, struct probe_region *ret);
	int (*get_irq)(struct probe_device *dev, uint32_t index, struct vfio_irq_info *ret);
	int (*get_io_fds)(struct probe_device *dev, uint32_t index, struct probe_io_fds *ret);
	int (*read)(struct probe_device *dev, uint32_t region, uint64_t offset, void *buf,
		    uint32_t count);
	int (*write)(struct probe_device *dev, uint32_t region, uint64_t offset, const void *buf,
		     uint32_t count);
	/* data: count booleans with DATA_BOOL. fds: with DATA_EVENTFD, n_fds of them. */
	int (*set_irqs)(struct probe_device *dev, uint32_t flags, uint32_t index, uint32_t start,
			uint32_t count, const uint8_t *bools, size_t n_bools, const int *fds,
			size_t n_fds);
	/* fd may be -1: no memory that the device could map. */
	int (*dma_map)(struct probe_device *dev, uint64_t iova, uint64_t size, uint32_t prot,
		       int fd, uint64_t offset);
	int (*dma_unmap)(struct probe_device *dev, uint64_t iova, uint64_t size);
	int (*reset)(struct probe_device *dev);
	const char *(*error)(const struct probe_device *dev);
	void (*close)(struct probe_device *dev);
};

/* The first member of a door's own struct. */
struct probe_device {
	const struct probe_door_ops *ops;
	unsigned int timeout_ms; /* of one call */
};

/* Why the door is broken; valid until the device is closed. */
static inline const char *probe_error(const struct probe_device *dev)
{
	return dev->ops->error(dev);
}

/* What a call returned, for people: "EINVAL", "no answer", ... */
const char *probe_result(int r);

/* 1, 2 or 4 bytes, little-endian. */
int probe_read(struct probe_device *dev, uint32_t region, uint64_t offset, unsigned int width,
	       uint64_t *ret);
int probe_write(struct probe_device *dev, uint32_t region, uint64_t offset, unsigned int width,
		uint64_t value);

/*
 * Maps [offset, offset + size) of a mappable region, both multiples of a page.
 * Returns 0, a negative errno, or -ENXIO if the region's file is shorter than that.
 */
int probe_map(const struct probe_region *region, uint64_t offset, uint64_t size, void **ret);

/* True if all of [offset, offset + size) may be mapped. */
bool probe_is_mappable(const struct probe_region *region, uint64_t offset, uint64_t size);

/* Closes what the region owns. */
void probe_region_done(struct probe_region *region);
