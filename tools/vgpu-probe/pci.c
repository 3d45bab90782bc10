/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pci.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* PCI 3.0, 6.7: from a pointer in the header on, dword-aligned, behind the header, no loop. */
static void find_capabilities(struct pci_config *config)
{
	uint8_t at = config->bytes[PCI_CAPABILITY_LIST];

	if (!(get_le16(config->bytes + PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return;
	while (at) {
		if (at < PCI_STD_HEADER_SIZEOF || at & 3) {
			config->broken = "a capability's pointer is below 0x40 or no multiple of 4";
			return;
		}
		for (unsigned int i = 0; i < config->n_capabilities; i++)
			if (config->capabilities[i].at == at)
				config->broken = "the list of capabilities has a loop";
		if (config->broken || config->n_capabilities == PCI_MAX_CAPABILITIES)
			return;
		config->capabilities[config->n_capabilities++] =
			(struct pci_capability){ .at = at, .id = config->bytes[at] };
		at = config->bytes[at + PCI_CAP_LIST_NEXT];
	}
}

/* PCI Express: a list that begins at 0x100, whose first entry may be empty. */
static void find_extended(struct pci_config *config)
{
	uint32_t at = PCI_CFG_SPACE_SIZE;

	while (at >= PCI_CFG_SPACE_SIZE && at + 4 <= config->size && !config->broken) {
		uint32_t header = get_le32(config->bytes + at);

		if (!header || header == UINT32_MAX)
			return;
		for (unsigned int i = 0; i < config->n_capabilities; i++)
			if (config->capabilities[i].at == at)
				config->broken = "the list of extended capabilities has a loop";
		if (config->broken || config->n_capabilities == PCI_MAX_CAPABILITIES)
			return;
		config->capabilities[config->n_capabilities++] = (struct pci_capability){
			.at = (uint16_t)at,
			.id = (uint16_t)PCI_EXT_CAP_ID(header),
			.version = (uint8_t)PCI_EXT_CAP_VER(header),
		};
		config->n_extended++;
		at = PCI_EXT_CAP_NEXT(header) & ~3U;
	}
}

int pci_config_read(struct probe_device *dev, struct pci_config *ret)
{
	struct probe_region region;
	int r = dev->ops->get_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &region);

	if (r < 0)
		return r;
	probe_region_done(&region);
	if (region.size < PCI_STD_HEADER_SIZEOF)
		return -ENODEV;
	memset(ret, 0, sizeof(*ret));
	ret->size = region.size < PCI_MAX_CONFIG ? PCI_CFG_SPACE_SIZE : PCI_MAX_CONFIG;
	if (region.size < ret->size)
		return -ENODEV;
	/* In dwords: what every device has. */
	for (uint32_t at = 0; at < ret->size && r == 0; at += 4)
		r = dev->ops->read(dev, VFIO_PCI_CONFIG_REGION_INDEX, at, ret->bytes + at, 4);
	if (r < 0)
		return r;
	find_capabilities(ret);
	find_extended(ret);
	return 0;
}

uint16_t pci_config_find(const struct pci_config *config, uint8_t id)
{
	for (unsigned int i = 0; i < config->n_capabilities - config->n_extended; i++)
		if (config->capabilities[i].id == id)
			return config->capabilities[i].at;
	return 0;
}

void pci_config_bar(const struct pci_config *config, unsigned int bar, struct pci_bar *ret)
{
	const uint8_t *at = config->bytes + PCI_BASE_ADDRESS_0;
	uint32_t low = get_le32(at + 4 * bar);

	*ret = (struct pci_bar){ 0 };
	for (unsigned int i = 0; i < bar; i++) {
		uint32_t before = get_le32(at + 4 * i);

		if (!(before & PCI_BASE_ADDRESS_SPACE_IO) &&
		    (before & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 &&
		    ++i == bar) {
			ret->upper = true;
			return;
		}
	}
	ret->io = low & PCI_BASE_ADDRESS_SPACE_IO;
	if (ret->io) {
		ret->address = low & (uint32_t)PCI_BASE_ADDRESS_IO_MASK;
		return;
	}
	ret->prefetch = low & PCI_BASE_ADDRESS_MEM_PREFETCH;
	ret->is_64 = bar + 1 < PCI_N_BARS &&
		     (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	ret->address = low & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
	if (ret->is_64)
		ret->address |= (uint64_t)get_le32(at + 4 * bar + 4) << 32;
}

const char *pci_class_name(uint8_t base_class)
{
	static const char *const names[] = {
		"Unclassified device",
		"Mass storage controller",
		"Network controller",
		"Display controller",
		"Multimedia controller",
		"Memory controller",
		"Bridge",
		"Communication controller",
		"Generic system peripheral",
		"Input device controller",
		"Docking station",
		"Processor",
		"Serial bus controller",
		"Wireless controller",
		"Intelligent controller",
		"Satellite communications controller",
		"Encryption controller",
		"Signal processing controller",
		"Processing accelerator",
		"Non-essential instrumentation",
	};

	if (base_class == 0xff)
		return "Unassigned class";
	return base_class < ARRAY_SIZE(names) ? names[base_class] : "Unknown class";
}
