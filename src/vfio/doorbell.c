/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/eventfd.h"
#include "base/syscalls.h"
#include "vfio/region.h"

SYSCALLS(SYSCALL(eventfd2), SYSCALL(preadv2));

int vfio_region_open_doorbells(struct vfio_region *region)
{
	for (uint32_t i = 0; i < region->n_doorbells; i++) {
		struct vfio_doorbell *doorbell = &region->doorbells[i];

		if (doorbell->fd < 0)
			doorbell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (doorbell->fd < 0) {
			int r = -errno;

			vfio_region_close_doorbells(region);
			return r;
		}
	}
	return 0;
}

void vfio_region_close_doorbells(struct vfio_region *region)
{
	for (uint32_t i = 0; i < region->n_doorbells; i++)
		region->doorbells[i].fd = close_fd(region->doorbells[i].fd);
}

void vfio_region_doorbell_event(struct vfio_region *region, unsigned int index)
{
	/* The client may have taken the signal back. */
	if (eventfd_take(region->doorbells[index].fd) && region->ops->doorbell)
		region->ops->doorbell(region->opaque, index);
}
