/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Config space of a device behind a door: a copy of it, and what it says. */
#pragma once

#include <jansson.h>
#include <linux/pci_regs.h>

#include "device.h"

enum {
	PCI_MAX_CONFIG = 4096,
	PCI_MAX_CAPABILITIES = 48,
	PCI_N_BARS = 6,
};

struct pci_capability {
	uint16_t at;
	uint16_t id;
	uint8_t version; /* of an extended capability; 0 else */
};

struct pci_config {
	uint8_t bytes[PCI_MAX_CONFIG];
	uint32_t size; /* 256 or 4096 */
	unsigned int n_capabilities;
	struct pci_capability capabilities[PCI_MAX_CAPABILITIES];
	unsigned int n_extended; /* the last n_extended of them are extended ones */
	const char *broken; /* what is wrong with the lists; NULL: nothing */
};

/* Reads all of region VFIO_PCI_CONFIG_REGION_INDEX and finds its capabilities. */
int pci_config_read(struct probe_device *dev, struct pci_config *ret);

/* Offset of the capability in config space, 0 if there is none. */
uint16_t pci_config_find(const struct pci_config *config, uint8_t id);

/* What a base address register says. */
struct pci_bar {
	bool io, is_64, prefetch;
	bool upper; /* the upper half of the one before */
	uint64_t address;
};

void pci_config_bar(const struct pci_config *config, unsigned int bar, struct pci_bar *ret);

/* A capability's fields as JSON: "name", "offset", "id", and what there is to know. */
json_t *pci_capability_json(const struct pci_config *config, const struct pci_capability *cap);

/* "Display controller"; "unknown class". */
const char *pci_class_name(uint8_t base_class);
