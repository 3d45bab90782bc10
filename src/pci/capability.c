/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pci/capability.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/checked.h"

/* The layout that 64-bit addresses and per-vector masking give (PCI 3.0, 6.8.1). */
enum { MSI_LENGTH = PCI_MSI_PENDING_64 + 4 };

int pci_capability_add(struct pci_function *fn, uint8_t id, uint8_t length)
{
	uint8_t at = (uint8_t)fn->next_cap;

	if (length < 2 || fn->next_cap + length > PCI_CONFIG_SIZE)
		return -ENOSPC;

	fn->config[at + PCI_CAP_LIST_ID] = id;
	if (fn->last_cap)
		fn->config[fn->last_cap + PCI_CAP_LIST_NEXT] = at;
	else
		fn->config[PCI_CAPABILITY_LIST] = at;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->last_cap = at;
	fn->next_cap = (uint16_t)((at + length + 3) & ~3); /* dword-aligned, 6.7 */
	return at;
}

int pci_pm_add(struct pci_function *fn)
{
	int at = pci_capability_add(fn, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	if (at < 0)
		return at;
	put_le16(fn->config + at + PCI_PM_PMC, 3); /* version 1.2 */
	put_le16(fn->config + at + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	put_le16(fn->writable + at + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
	fn->pm_cap = (uint8_t)at;
	return 0;
}

bool pci_may_master(const struct pci_function *fn)
{
	return get_le16(fn->config + PCI_COMMAND) & PCI_COMMAND_MASTER && pci_powered(fn);
}

bool pci_powered(const struct pci_function *fn)
{
	return !fn->pm_cap || !(fn->config[fn->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK);
}

void pci_pm_filter_write(const struct pci_function *fn, uint64_t offset, uint64_t *value,
			 unsigned int width)
{
	uint64_t at = fn->pm_cap + PCI_PM_CTRL;
	unsigned int shift, state;

	if (!fn->pm_cap || offset > at || at >= offset + width)
		return;
	shift = (unsigned int)(at - offset) * 8;
	state = (*value >> shift) & PCI_PM_CTRL_STATE_MASK;
	if (state == 0 || state == 3)
		return;
	*value &= ~((uint64_t)PCI_PM_CTRL_STATE_MASK << shift);
	*value |= (uint64_t)(fn->config[at] & PCI_PM_CTRL_STATE_MASK) << shift;
}

int pci_msi_add(struct pci_function *fn, unsigned int vectors)
{
	unsigned int log2 = (unsigned int)__builtin_ctz(vectors | 32);
	uint16_t flags;
	int at, r;

	if (!is_power_of_two(vectors) || vectors > 32 || fn->msi_cap)
		return -EINVAL;
	at = pci_capability_add(fn, PCI_CAP_ID_MSI, MSI_LENGTH);
	if (at < 0)
		return at;
	r = vfio_irqs_offer(&fn->vfio->irqs, VFIO_PCI_MSI_IRQ_INDEX, vectors);
	if (r < 0)
		return r;

	flags = (uint16_t)(PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | log2 << 1);
	put_le16(fn->config + at + PCI_MSI_FLAGS, flags);
	put_le16(fn->writable + at + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	put_le32(fn->writable + at + PCI_MSI_ADDRESS_LO, ~3U);
	put_le32(fn->writable + at + PCI_MSI_ADDRESS_HI, ~0U);
	put_le16(fn->writable + at + PCI_MSI_DATA_64, 0xffff);
	put_le32(fn->writable + at + PCI_MSI_MASK_64, (uint32_t)(((uint64_t)1 << vectors) - 1));
	fn->msi_cap = (uint8_t)at;
	pci_msi_update(fn);
	return 0;
}

static void set_pending_bit(struct pci_function *fn, unsigned int vector, bool pending)
{
	uint8_t *at = fn->config + fn->msi_cap + PCI_MSI_PENDING_64;
	uint32_t bits = get_le32(at);

	put_le32(at, pending ? bits | 1U << vector : bits & ~(1U << vector));
}

static bool vector_is_held(const struct pci_function *fn, unsigned int vector)
{
	return !pci_may_master(fn) ||
	       get_le32(fn->config + fn->msi_cap + PCI_MSI_MASK_64) & 1U << vector;
}

void pci_msi_raise(struct pci_function *fn, unsigned int vector)
{
	if (!fn->msi_cap || vector >= fn->vfio->irqs.index[VFIO_PCI_MSI_IRQ_INDEX].count)
		return;
	if (vector_is_held(fn, vector))
		set_pending_bit(fn, vector, true);
	vfio_irq_trigger(&fn->vfio->irqs, VFIO_PCI_MSI_IRQ_INDEX, vector);
}

void pci_msi_update(struct pci_function *fn)
{
	struct vfio_irqs *irqs = &fn->vfio->irqs;

	if (!fn->msi_cap)
		return;
	for (unsigned int v = 0; v < irqs->index[VFIO_PCI_MSI_IRQ_INDEX].count; v++) {
		bool held = vector_is_held(fn, v);

		if (!held)
			set_pending_bit(fn, v, false);
		vfio_irq_set_mask(irqs, VFIO_PCI_MSI_IRQ_INDEX, v, held);
	}
}
