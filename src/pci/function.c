/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pci/function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "pci/capability.h"

/*
 * Writes one byte as its masks allow, and nothing else: what a change means is
 * seen to after all bytes of an access are in.
 */
static void write_byte(struct pci_function *fn, uint64_t at, uint8_t value)
{
	uint8_t old = fn->config[at];
	uint8_t kept = (uint8_t)(old & ~fn->writable[at] & ~(value & fn->clearable[at]));

	fn->config[at] = (uint8_t)(kept | (value & fn->writable[at]));
}

static void update_intx(struct pci_function *fn)
{
	bool disabled =
		get_le16(fn->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE || !pci_powered(fn);

	if (fn->intx_asserted)
		fn->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		fn->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	vfio_intx_set_level(&fn->vfio->irqs, fn->intx_asserted && !disabled);
}

/* All that config space says of them; what is as it was is left alone. */
static void update_interrupts(struct pci_function *fn)
{
	update_intx(fn);
	pci_msi_update(fn);
	pci_msix_update(fn);
}

static uint64_t config_read(void *opaque, uint64_t offset, unsigned int width)
{
	struct pci_function *fn = opaque;

	return get_le(fn->config + offset, width);
}

static void config_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct pci_function *fn = opaque;
	bool was_on = pci_powered(fn);

	pci_pm_filter_write(fn, offset, &value, width);
	for (unsigned int i = 0; i < width; i++)
		write_byte(fn, offset + i, (uint8_t)(value >> (8 * i)));

	update_interrupts(fn);
	if (pci_powered(fn) != was_on && fn->ops && fn->ops->power_changed)
		fn->ops->power_changed(fn->opaque, !was_on);
}

static const struct vfio_region_ops config_ops = {
	.read = config_read,
	.write = config_write,
	.max_width = 4,
};

void pci_function_init(struct pci_function *fn, struct vfio_device *vfio,
		       const struct pci_identity *identity, const struct pci_function_ops *ops,
		       void *opaque)
{
	struct vfio_region *region = &vfio->regions[VFIO_PCI_CONFIG_REGION_INDEX];
	uint8_t *c = fn->config;

	*fn = (struct pci_function){
		.vfio = vfio,
		.ops = ops,
		.opaque = opaque,
		.next_cap = PCI_STD_HEADER_SIZEOF,
	};

	put_le16(c + PCI_VENDOR_ID, identity->vendor);
	put_le16(c + PCI_DEVICE_ID, identity->device);
	put_le16(c + PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
	put_le16(c + PCI_SUBSYSTEM_ID, identity->subsystem);
	put_le32(c + PCI_CLASS_REVISION, identity->class_code << 8 | identity->revision);

	put_le16(fn->writable + PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
						     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	put_le16(fn->clearable + PCI_STATUS,
		 PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
			 PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
			 PCI_STATUS_DETECTED_PARITY);
	fn->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	fn->writable[PCI_INTERRUPT_LINE] = 0xff;

	region->size = PCI_CONFIG_SIZE;
	region->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	region->ops = &config_ops;
	region->opaque = fn;
}

/* Address bits below the size are fixed at 0: that is how a BAR is sized. */
static void set_bar_mask(struct pci_function *fn, unsigned int at, uint64_t size, bool is_64)
{
	put_le32(fn->writable + at, (uint32_t) ~(size - 1) & ~15U);
	if (is_64)
		put_le32(fn->writable + at + 4, (uint32_t)(~(size - 1) >> 32));
}

/* The low half of a 64-bit BAR of 4 GiB and more has no writable bit, but its type. */
static bool bar_is_taken(const struct pci_function *fn, unsigned int at)
{
	return get_le32(fn->writable + at) || get_le32(fn->config + at);
}

int pci_bar_add(struct pci_function *fn, unsigned int bar, uint8_t flags)
{
	bool is_64 = flags & PCI_BASE_ADDRESS_MEM_TYPE_64;
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint64_t size;

	if (bar > 5 || (is_64 && bar > 4) ||
	    flags & ~(PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH))
		return -EINVAL;
	size = fn->vfio->regions[bar].size;
	if (!is_power_of_two(size) || size < 16 || (!is_64 && size > (uint64_t)1 << 31))
		return -EINVAL;
	if (bar_is_taken(fn, at) ||
	    (is_64 && (bar_is_taken(fn, at + 4) || fn->vfio->regions[bar + 1].size)))
		return -EINVAL;

	put_le32(fn->config + at, flags);
	set_bar_mask(fn, at, size, is_64);
	fn->writable[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	return 0;
}

int pci_rom_add(struct pci_function *fn, uint8_t *memory, uint64_t size)
{
	struct vfio_region *region = &fn->vfio->regions[VFIO_PCI_ROM_REGION_INDEX];

	if (!is_power_of_two(size) || size < 2048 || size > PCI_ROM_MAX_SIZE || region->size)
		return -EINVAL;

	region->size = size;
	region->flags = VFIO_REGION_INFO_FLAG_READ;
	region->memory = memory;
	put_le32(fn->writable + PCI_ROM_ADDRESS,
		 ((uint32_t) ~(size - 1) & PCI_ROM_ADDRESS_MASK) | PCI_ROM_ADDRESS_ENABLE);
	fn->writable[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	return 0;
}

int pci_intx_add(struct pci_function *fn)
{
	int r = vfio_irqs_offer(&fn->vfio->irqs, VFIO_PCI_INTX_IRQ_INDEX, 1);

	if (r == 0)
		fn->config[PCI_INTERRUPT_PIN] = 1;
	return r;
}

void pci_intx_set(struct pci_function *fn, bool asserted)
{
	fn->intx_asserted = asserted;
	update_intx(fn);
}

void pci_function_ready(struct pci_function *fn)
{
	memcpy(fn->power_on, fn->config, sizeof(fn->power_on));
	update_interrupts(fn);
}

void pci_function_reset(struct pci_function *fn)
{
	memcpy(fn->config, fn->power_on, sizeof(fn->config));
	pci_msix_reset(fn);
	fn->intx_asserted = false;
	update_interrupts(fn);
}

void pci_function_done(struct pci_function *fn)
{
	struct vfio_region *rom = &fn->vfio->regions[VFIO_PCI_ROM_REGION_INDEX];

	free(rom->memory);
	*rom = (struct vfio_region){ .name = rom->name, .fd = -1 };
	pci_msix_done(fn);
}
