/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract between a device and the doors: the VFIO device interface, in
 * the words of <linux/vfio.h>. A device fills one of these; a door (vfio-user
 * socket, kernel module) serves it without knowing what it is.
 *
 *     VFIO_DEVICE_GET_INFO         vfio_device_fill_info()
 *     VFIO_DEVICE_GET_REGION_INFO  vfio_device_region(), vfio_region_fill_info()
 *     VFIO_DEVICE_GET_IRQ_INFO     vfio_irqs_fill_info()
 *     VFIO_DEVICE_SET_IRQS         vfio_irqs_set()
 *     VFIO_DEVICE_RESET            vfio_device_reset()
 *     read, write at an offset     vfio_region_read(), vfio_region_write()
 *     MAP_DMA, UNMAP_DMA           vfio_dma_map(), vfio_dma_unmap()
 *
 * PCI hot reset is not offered, the VGA region has size 0, and a ROM region
 * exists only where an option ROM was given.
 *
 * Everything here belongs to the device thread, but for counters.
 */
#pragma once

#include <linux/vfio.h>

#include "vfio/dma.h"
#include "vfio/irq.h"
#include "vfio/region.h"

/*
 * The part of struct vfio_device_info that we answer with: it has no
 * capabilities, and newer headers have grown it.
 */
#define VFIO_DEVICE_INFO_SIZE offsetof(struct vfio_device_info, cap_offset)

struct vfio_device_ops {
	/*
	 * VFIO_DEVICE_RESET: registers return to their power-on values and queues
	 * are quiet. Memory (VRAM), DMA maps and eventfds stay.
	 */
	void (*reset)(void *opaque);
	/*
	 * The client is gone and the next one may be another tenant: reset, and
	 * nothing that the old one wrote, or still holds mapped, is seen by the
	 * next. Mapped regions get new memory here.
	 */
	int (*power_cycle)(void *opaque);
	/*
	 * What the device has to do outside of an access (DMA, slow work). Runs on
	 * the device thread after the answer went out, as soon as
	 * vfio_device_kick() has been called. May be NULL.
	 */
	void (*work)(void *opaque);
};

struct vfio_device {
	const char *label; /* what the log calls it: its model, or its id where there are several */
	uint32_t flags; /* VFIO_DEVICE_FLAGS_* */
	struct vfio_region regions[VFIO_PCI_NUM_REGIONS];
	struct vfio_irqs irqs;
	struct vfio_dma_space dma;

	const struct vfio_device_ops *ops;
	void *opaque;

	bool kicked; /* work() is wanted */
	counter_t resets;
};

/* Starts with no region and no interrupt but ERR and REQ. Returns 0 or -ENOMEM. */
int vfio_device_init(struct vfio_device *dev, const char *label, const struct vfio_device_ops *ops,
		     void *opaque);

void vfio_device_done(struct vfio_device *dev);

/* True if every region is what vfio_region_is_valid() wants. */
bool vfio_device_is_valid(const struct vfio_device *dev);

void vfio_device_fill_info(const struct vfio_device *dev, struct vfio_device_info *ret);

/* The region with that index; NULL if there is no such index. */
struct vfio_region *vfio_device_region(struct vfio_device *dev, uint32_t index);

/* VFIO_DEVICE_RESET. */
void vfio_device_reset(struct vfio_device *dev);

/*
 * The client is gone: its memory is unmapped and its eventfds are closed. With
 * keep_state the device stays as it was, else it is power-cycled. Returns 0,
 * or what power_cycle() said: then the device must not be served any more.
 */
int vfio_device_disconnect(struct vfio_device *dev, bool keep_state);

/* Asks for work(); called by handlers. */
void vfio_device_kick(struct vfio_device *dev);

/*
 * Runs work() once if it was asked for; called by doors between accesses. True
 * if it was: while it ran it may have been asked for again.
 */
bool vfio_device_run(struct vfio_device *dev);

/* The fixed name of a PCI region index: "BAR0" … "ROM", "config", "VGA". */
const char *vfio_region_index_name(uint32_t index);
