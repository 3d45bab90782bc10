/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI 3.0, 6.8.2). There are two kinds of VMM. One hands the guest's
 * accesses to table and PBA on, and then they work as the specification says.
 * The other, QEMU for one, shows the guest a table of its own, so that it can
 * translate the messages; it masks and unmasks there, and ours stays as a reset
 * left it: with every vector masked. Yet it binds eventfds and expects them to
 * be signalled. So the mask bit of an entry that nobody has written since the
 * reset holds nothing back.
 *
 * Function Mask always counts, and so do Bus Master Enable and the power state,
 * without which there are no messages: both kinds hand config space on. MSI-X
 * Enable does not: who has bound an eventfd has enabled the vector.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "pci/capability.h"

enum { PBA_QWORD = 64 }; /* vectors */

static uint64_t table_size(const struct pci_msix *msix)
{
	return (uint64_t)msix->vectors * PCI_MSIX_ENTRY_SIZE;
}

/* The PBA comes in whole qwords. */
static uint64_t pba_size(const struct pci_msix *msix)
{
	return (msix->vectors + PBA_QWORD - 1) / PBA_QWORD * sizeof(uint64_t);
}

static bool layout_is_valid(const struct pci_function *fn, const struct pci_msix *msix)
{
	const struct vfio_region *regions = fn->vfio->regions;

	if (!msix->vectors || msix->vectors > PCI_MSIX_MAX_VECTORS || msix->table_bar > 5 ||
	    msix->pba_bar > 5 || (msix->table_offset | msix->pba_offset) & PCI_MSIX_TABLE_BIR)
		return false;
	if (!range_within(msix->table_offset, table_size(msix), regions[msix->table_bar].size) ||
	    !range_within(msix->pba_offset, pba_size(msix), regions[msix->pba_bar].size))
		return false;
	return msix->table_bar != msix->pba_bar ||
	       !ranges_overlap(msix->table_offset, table_size(msix), msix->pba_offset,
			       pba_size(msix));
}

int pci_msix_add(struct pci_function *fn, unsigned int vectors, unsigned int table_bar,
		 uint32_t table_offset, unsigned int pba_bar, uint32_t pba_offset)
{
	struct pci_msix msix = {
		.vectors = vectors,
		.table_bar = table_bar,
		.table_offset = table_offset,
		.pba_bar = pba_bar,
		.pba_offset = pba_offset,
	};
	int at, r;

	if (fn->msix.cap || !layout_is_valid(fn, &msix))
		return -EINVAL;
	at = pci_capability_add(fn, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	if (at < 0)
		return at;
	r = vfio_irqs_offer(&fn->vfio->irqs, VFIO_PCI_MSIX_IRQ_INDEX, vectors);
	if (r < 0)
		return r;
	msix.entries = calloc(vectors, sizeof(*msix.entries));
	if (!msix.entries)
		return -ENOMEM;

	put_le16(fn->config + at + PCI_MSIX_FLAGS, (uint16_t)(vectors - 1));
	put_le16(fn->writable + at + PCI_MSIX_FLAGS,
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put_le32(fn->config + at + PCI_MSIX_TABLE, table_offset | table_bar);
	put_le32(fn->config + at + PCI_MSIX_PBA, pba_offset | pba_bar);
	msix.cap = (uint8_t)at;
	fn->msix = msix;
	pci_msix_reset(fn);
	pci_msix_update(fn);
	return 0;
}

void pci_msix_reset(struct pci_function *fn)
{
	for (unsigned int v = 0; v < fn->msix.vectors; v++) {
		struct pci_msix_entry *entry = &fn->msix.entries[v];

		*entry = (struct pci_msix_entry){ 0 };
		put_le32(entry->bytes + PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	}
}

void pci_msix_done(struct pci_function *fn)
{
	free(fn->msix.entries);
	fn->msix = (struct pci_msix){ 0 };
}

static bool entry_is_masked(const struct pci_msix_entry *entry)
{
	return entry->written &&
	       get_le32(entry->bytes + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static bool function_is_held(const struct pci_function *fn)
{
	return !pci_may_master(fn) ||
	       get_le16(fn->config + fn->msix.cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_MASKALL;
}

static void update_vector(struct pci_function *fn, unsigned int vector, bool all)
{
	vfio_irq_set_mask(&fn->vfio->irqs, VFIO_PCI_MSIX_IRQ_INDEX, vector,
			  all || entry_is_masked(&fn->msix.entries[vector]));
}

void pci_msix_update(struct pci_function *fn)
{
	bool all = function_is_held(fn);

	for (unsigned int v = 0; v < fn->msix.vectors; v++)
		update_vector(fn, v, all);
}

void pci_msix_raise(struct pci_function *fn, unsigned int vector)
{
	if (vector < fn->msix.vectors)
		vfio_irq_trigger(&fn->vfio->irqs, VFIO_PCI_MSIX_IRQ_INDEX, vector);
}

static uint64_t table_read(const struct pci_msix *msix, uint64_t at, unsigned int width)
{
	return get_le(msix->entries[at / PCI_MSIX_ENTRY_SIZE].bytes + at % PCI_MSIX_ENTRY_SIZE,
		      width);
}

static uint64_t pba_read(const struct pci_function *fn, uint64_t at, unsigned int width)
{
	const struct vfio_irq *irq = &fn->vfio->irqs.index[VFIO_PCI_MSIX_IRQ_INDEX];
	uint64_t bits = 0;

	for (unsigned int i = 0; i < width * 8; i++) {
		uint64_t vector = at * 8 + i;

		if (vector < irq->count && irq->vectors[vector].pending)
			bits |= (uint64_t)1 << i;
	}
	return bits;
}

bool pci_msix_read(const struct pci_function *fn, unsigned int bar, uint64_t offset,
		   unsigned int width, uint64_t *ret)
{
	const struct pci_msix *msix = &fn->msix;

	if (bar == msix->table_bar && offset >= msix->table_offset &&
	    range_within(offset - msix->table_offset, width, table_size(msix)))
		*ret = table_read(msix, offset - msix->table_offset, width);
	else if (bar == msix->pba_bar && offset >= msix->pba_offset &&
		 range_within(offset - msix->pba_offset, width, pba_size(msix)))
		*ret = pba_read(fn, offset - msix->pba_offset, width);
	else
		return false;
	return true;
}

static void table_write_dword(struct pci_function *fn, uint64_t at, uint32_t value)
{
	static const uint32_t writable[PCI_MSIX_ENTRY_SIZE / 4] = { ~3U, ~0U, ~0U,
								    PCI_MSIX_ENTRY_CTRL_MASKBIT };
	unsigned int vector = (unsigned int)(at / PCI_MSIX_ENTRY_SIZE);
	struct pci_msix_entry *entry = &fn->msix.entries[vector];
	unsigned int dword = at % PCI_MSIX_ENTRY_SIZE / 4;

	put_le32(entry->bytes + 4 * dword, value & writable[dword]);
	entry->written = true;
	update_vector(fn, vector, function_is_held(fn));
}

bool pci_msix_write(struct pci_function *fn, unsigned int bar, uint64_t offset, uint64_t value,
		    unsigned int width)
{
	const struct pci_msix *msix = &fn->msix;

	if (bar == msix->pba_bar && offset >= msix->pba_offset &&
	    range_within(offset - msix->pba_offset, width, pba_size(msix)))
		return true; /* read-only */
	if (bar != msix->table_bar || offset < msix->table_offset ||
	    !range_within(offset - msix->table_offset, width, table_size(msix)))
		return false;
	if (width >= 4)
		table_write_dword(fn, offset - msix->table_offset, (uint32_t)value);
	if (width == 8)
		table_write_dword(fn, offset - msix->table_offset + 4, (uint32_t)(value >> 32));
	return true;
}
