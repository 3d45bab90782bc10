/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI function: the config space that a VFIO device shows in its config
 * region, with every bit read-only, read-write or write-1-to-clear as the PCI
 * Local Bus Specification 3.0, chapter 6, says; its BARs, capabilities and
 * interrupts. Register names are those of <linux/pci_regs.h>.
 *
 * A device sets up a function once (identity, BARs, capabilities); after that
 * the function answers config accesses by itself and tells the device through
 * struct pci_function_ops what concerns it.
 *
 * The VMM virtualises much of this for its guest (QEMU its BARs, for one), so
 * addresses in BARs decide nothing here: they are kept, and sized exactly.
 */
#pragma once

#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdint.h>

#include "vfio/device.h"

enum {
	PCI_CONFIG_SIZE = 256, /* conventional PCI: no extended config space */
	PCI_ROM_MAX_SIZE = 16 << 20, /* bytes; PCI 3.0, 6.2.5.2 */
	PCI_MSIX_MAX_VECTORS = 2048, /* PCI 3.0, 6.8.2.3 */
};

struct pci_identity {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: class, subclass, programming interface */
};

/* All may be NULL. Called on the device thread, from inside a config write. */
struct pci_function_ops {
	/* The function entered D0 (true) or left it. */
	void (*power_changed)(void *opaque, bool on);
};

struct pci_msix_entry {
	uint8_t bytes[PCI_MSIX_ENTRY_SIZE]; /* as the guest reads them */
	bool written; /* since the last reset */
};

/* Zero-initialised: there is none. */
struct pci_msix {
	uint8_t cap; /* offset in config space */
	unsigned int vectors;
	unsigned int table_bar, pba_bar;
	uint32_t table_offset, pba_offset;
	struct pci_msix_entry *entries; /* one a vector */
};

struct pci_function {
	struct vfio_device *vfio;
	const struct pci_function_ops *ops;
	void *opaque;

	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that a write sets */
	uint8_t clearable[PCI_CONFIG_SIZE]; /* bits that a write of 1 clears */
	uint8_t power_on[PCI_CONFIG_SIZE]; /* config after a reset */

	uint16_t next_cap; /* where the next capability goes */
	uint8_t last_cap; /* the one to link it to; 0: the header */
	uint8_t pm_cap, msi_cap; /* offsets; 0: none */
	struct pci_msix msix;
	bool intx_asserted;
};

/* Sets up the config region (index 7) of vfio. ops may be NULL. */
void pci_function_init(struct pci_function *fn, struct vfio_device *vfio,
		       const struct pci_identity *identity, const struct pci_function_ops *ops,
		       void *opaque);

/*
 * Describes region `bar` (0 to 5), which the device has filled in already, as
 * a memory BAR. flags: PCI_BASE_ADDRESS_MEM_TYPE_64 (takes bar + 1 too) and
 * PCI_BASE_ADDRESS_MEM_PREFETCH. Returns 0; -EINVAL if its size is not a power
 * of two of at least 16 bytes, does not fit the type, or the BAR is taken.
 */
int pci_bar_add(struct pci_function *fn, unsigned int bar, uint8_t flags);

/*
 * Gives the function an option ROM: region 6 reads image[0..length), padded
 * with 0xff to `size`, a power of two of at least 2048. The function takes the
 * memory over (malloc'ed, size bytes) and frees it in pci_function_done().
 */
int pci_rom_add(struct pci_function *fn, uint8_t *memory, uint64_t size);

/*
 * Links a capability of length bytes (header included) into the list, zeroed
 * but for its header. Returns its offset, or -ENOSPC.
 */
int pci_capability_add(struct pci_function *fn, uint8_t id, uint8_t length);

/* PCI Power Management 1.2: D0 and D3hot, no PME, no soft reset on the way back. */
int pci_pm_add(struct pci_function *fn);

/* True in D0. */
bool pci_powered(const struct pci_function *fn);

/*
 * Message signalled interrupts: `vectors` is a power of two, 1 to 32; 64-bit
 * address and per-vector masking. Offers VFIO's MSI index too.
 */
int pci_msi_add(struct pci_function *fn, unsigned int vectors);

/* Raises a vector; held back (pending) while the guest masks it, or without pci_may_master(). */
void pci_msi_raise(struct pci_function *fn, unsigned int vector);

/*
 * MSI-X (PCI 3.0, 6.8.2): `vectors`, 1 to 2048; the table (16 bytes a vector) at
 * table_offset of BAR table_bar, and the pending bits (8 bytes for 64 vectors) at
 * pba_offset of pba_bar. Both offsets are multiples of 8, both BARs are there
 * already and trapped in that place. Offers VFIO's MSI-X index too. Returns 0;
 * -EINVAL for a layout that does not fit or overlaps; -ENOSPC; -ENOMEM.
 */
int pci_msix_add(struct pci_function *fn, unsigned int vectors, unsigned int table_bar,
		 uint32_t table_offset, unsigned int pba_bar, uint32_t pba_offset);

/*
 * For the handlers of those BARs: the access, as struct vfio_region_ops has it,
 * is carried out if it is one of the table or the pending bits; false if it is
 * not. The specification knows accesses of 4 and 8 bytes: of others, reads give
 * the bytes and writes are ignored.
 */
bool pci_msix_read(const struct pci_function *fn, unsigned int bar, uint64_t offset,
		   unsigned int width, uint64_t *ret);
bool pci_msix_write(struct pci_function *fn, unsigned int bar, uint64_t offset, uint64_t value,
		    unsigned int width);

/* As pci_msi_raise(); the guest may also mask the whole function. */
void pci_msix_raise(struct pci_function *fn, unsigned int vector);

/* Interrupt pin INTA#. Offers VFIO's INTx index too. */
int pci_intx_add(struct pci_function *fn);

/* Drives INTA#; the command register's INTx Disable holds it down, and so does D3hot. */
void pci_intx_set(struct pci_function *fn, bool asserted);

/*
 * True if the function may write to and read from memory, i.e. do DMA and send
 * messages: the guest has made it a bus master (PCI 3.0, 6.2.2), and it is in D0
 * (PCI PM 1.2, 5.4.1).
 */
bool pci_may_master(const struct pci_function *fn);

/*
 * To be called last: what config space holds now is what a reset returns to.
 */
void pci_function_ready(struct pci_function *fn);

/* Config space and MSI-X table to their power-on values; INTx down. Does not call back. */
void pci_function_reset(struct pci_function *fn);

void pci_function_done(struct pci_function *fn);
