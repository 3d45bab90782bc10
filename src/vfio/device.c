/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/device.h"

#include <errno.h>

#include "base/cleanup.h"

int vfio_device_init(struct vfio_device *dev, const char *label, const struct vfio_device_ops *ops,
		     void *opaque)
{
	int r;

	*dev = (struct vfio_device){
		.label = label,
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		.ops = ops,
		.opaque = opaque,
	};
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		dev->regions[i].name = vfio_region_index_name(i);
		dev->regions[i].fd = -1;
	}
	vfio_dma_space_init(&dev->dma);
	vfio_irqs_init(&dev->irqs);
	r = vfio_irqs_offer(&dev->irqs, VFIO_PCI_ERR_IRQ_INDEX, 1);
	if (r == 0)
		r = vfio_irqs_offer(&dev->irqs, VFIO_PCI_REQ_IRQ_INDEX, 1);
	if (r < 0)
		vfio_device_done(dev);
	return r;
}

void vfio_device_done(struct vfio_device *dev)
{
	vfio_irqs_done(&dev->irqs);
	vfio_dma_space_done(&dev->dma);
}

bool vfio_device_is_valid(const struct vfio_device *dev)
{
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		if (!vfio_region_is_valid(&dev->regions[i]))
			return false;
	return true;
}

void vfio_device_fill_info(const struct vfio_device *dev, struct vfio_device_info *ret)
{
	*ret = (struct vfio_device_info){
		.argsz = VFIO_DEVICE_INFO_SIZE,
		.flags = dev->flags,
		.num_regions = VFIO_PCI_NUM_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
}

struct vfio_region *vfio_device_region(struct vfio_device *dev, uint32_t index)
{
	return index < VFIO_PCI_NUM_REGIONS ? &dev->regions[index] : NULL;
}

void vfio_device_reset(struct vfio_device *dev)
{
	counter_add(&dev->resets, 1);
	vfio_irqs_reset(&dev->irqs);
	dev->kicked = false;
	dev->ops->reset(dev->opaque);
}

int vfio_device_disconnect(struct vfio_device *dev, bool keep_state)
{
	vfio_dma_set_ops(&dev->dma, NULL, NULL);
	vfio_dma_unmap_all(&dev->dma);
	vfio_irqs_unbind(&dev->irqs);
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		vfio_region_close_doorbells(&dev->regions[i]);
	if (keep_state)
		return 0; /* work that is under way goes on, or fails, with the next client */
	dev->kicked = false;
	vfio_irqs_reset(&dev->irqs);
	return dev->ops->power_cycle(dev->opaque);
}

void vfio_device_kick(struct vfio_device *dev)
{
	dev->kicked = true;
}

bool vfio_device_run(struct vfio_device *dev)
{
	if (!dev->kicked || !dev->ops->work)
		return false;
	dev->kicked = false;
	dev->ops->work(dev->opaque);
	return true;
}

const char *vfio_region_index_name(uint32_t index)
{
	static const char *const names[VFIO_PCI_NUM_REGIONS] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = "BAR0", [VFIO_PCI_BAR1_REGION_INDEX] = "BAR1",
		[VFIO_PCI_BAR2_REGION_INDEX] = "BAR2", [VFIO_PCI_BAR3_REGION_INDEX] = "BAR3",
		[VFIO_PCI_BAR4_REGION_INDEX] = "BAR4", [VFIO_PCI_BAR5_REGION_INDEX] = "BAR5",
		[VFIO_PCI_ROM_REGION_INDEX] = "ROM",   [VFIO_PCI_CONFIG_REGION_INDEX] = "config",
		[VFIO_PCI_VGA_REGION_INDEX] = "VGA",
	};

	return index < ARRAY_SIZE(names) ? names[index] : NULL;
}
