/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the capabilities in config space say; each decoder adds members to an object. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "pci.h"

static void add_flag(json_t *object, const char *key, bool value)
{
	json_object_set_new(object, key, json_boolean(value));
}

static void add_number(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void add_hex(json_t *object, const char *key, uint64_t value)
{
	_cleanup_free_ char *text = text_format("0x%llx", (unsigned long long)value);

	json_object_set_new(object, key, json_string(text));
}

static void decode_pm(const uint8_t *at, size_t room, json_t *ret)
{
	uint16_t pmc = get_le16(at + PCI_PM_PMC), control = get_le16(at + PCI_PM_CTRL);

	add_number(ret, "pm_version", pmc & PCI_PM_CAP_VER_MASK);
	add_flag(ret, "d1", pmc & PCI_PM_CAP_D1);
	add_flag(ret, "d2", pmc & PCI_PM_CAP_D2);
	add_number(ret, "state", control & PCI_PM_CTRL_STATE_MASK);
	add_flag(ret, "no_soft_reset", control & PCI_PM_CTRL_NO_SOFT_RESET);
	add_flag(ret, "pme_enabled", control & PCI_PM_CTRL_PME_ENABLE);
}

static void decode_msi(const uint8_t *at, size_t room, json_t *ret)
{
	uint16_t flags = get_le16(at + PCI_MSI_FLAGS);
	bool is_64 = flags & PCI_MSI_FLAGS_64BIT, maskable = flags & PCI_MSI_FLAGS_MASKBIT;
	size_t mask = is_64 ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32;

	add_flag(ret, "enabled", flags & PCI_MSI_FLAGS_ENABLE);
	add_number(ret, "vectors", 1U << ((flags & PCI_MSI_FLAGS_QMASK) >> 1));
	add_number(ret, "vectors_enabled", 1U << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4));
	add_flag(ret, "address_64", is_64);
	add_flag(ret, "maskable", maskable);
	if (!maskable || room < mask + 8)
		return;
	add_hex(ret, "mask", get_le32(at + mask));
	add_hex(ret, "pending", get_le32(at + mask + 4));
}

static void decode_msix(const uint8_t *at, size_t room, json_t *ret)
{
	uint16_t flags = get_le16(at + PCI_MSIX_FLAGS);
	uint32_t table = get_le32(at + PCI_MSIX_TABLE), pba = get_le32(at + PCI_MSIX_PBA);

	add_flag(ret, "enabled", flags & PCI_MSIX_FLAGS_ENABLE);
	add_flag(ret, "masked", flags & PCI_MSIX_FLAGS_MASKALL);
	add_number(ret, "vectors", (flags & PCI_MSIX_FLAGS_QSIZE) + 1U);
	add_number(ret, "table_bar", table & PCI_MSIX_TABLE_BIR);
	add_hex(ret, "table_offset", table & PCI_MSIX_TABLE_OFFSET);
	add_number(ret, "pba_bar", pba & PCI_MSIX_PBA_BIR);
	add_hex(ret, "pba_offset", pba & PCI_MSIX_PBA_OFFSET);
}

static const char *express_type(unsigned int type)
{
	switch (type) {
	case PCI_EXP_TYPE_ENDPOINT:
		return "endpoint";
	case PCI_EXP_TYPE_LEG_END:
		return "legacy endpoint";
	case PCI_EXP_TYPE_ROOT_PORT:
		return "root port";
	case PCI_EXP_TYPE_RC_END:
		return "root complex integrated endpoint";
	default:
		return "other";
	}
}

static void decode_express(const uint8_t *at, size_t room, json_t *ret)
{
	uint16_t flags = get_le16(at + PCI_EXP_FLAGS);
	uint32_t device = get_le32(at + PCI_EXP_DEVCAP);

	add_number(ret, "pcie_version", flags & PCI_EXP_FLAGS_VERS);
	json_object_set_new(ret, "type",
			    json_string(express_type((flags & PCI_EXP_FLAGS_TYPE) >> 4)));
	add_number(ret, "max_payload", 128U << (device & PCI_EXP_DEVCAP_PAYLOAD));
	add_flag(ret, "function_level_reset", device & PCI_EXP_DEVCAP_FLR);
	if (room < PCI_EXP_LNKSTA + 2)
		return;
	add_number(ret, "link_speed", get_le16(at + PCI_EXP_LNKSTA) & PCI_EXP_LNKSTA_CLS);
	add_number(ret, "link_width",
		   (get_le16(at + PCI_EXP_LNKSTA) & PCI_EXP_LNKSTA_NLW) >>
			   PCI_EXP_LNKSTA_NLW_SHIFT);
}

/* Its third byte is its length; virtio says in the next one what it is for. */
static void decode_vendor(const uint8_t *at, size_t room, json_t *ret)
{
	size_t length = at[2] < room ? at[2] : room;
	char hex[3 * 256 + 1] = "";

	for (size_t i = 0; i < length && i < 256; i++)
		snprintf(hex + 3 * i, 4, "%02x%s", at[i], i + 1 < length ? " " : "");
	add_number(ret, "length", at[2]);
	json_object_set_new(ret, "bytes", json_string(hex));
}

static const struct {
	uint8_t id;
	const char *name;
	size_t min_size;
	void (*decode)(const uint8_t *at, size_t room, json_t *ret);
} known[] = {
	{ PCI_CAP_ID_PM, "Power Management", PCI_PM_SIZEOF, decode_pm },
	{ PCI_CAP_ID_AGP, "AGP", 0, NULL },
	{ PCI_CAP_ID_VPD, "Vital Product Data", 0, NULL },
	{ PCI_CAP_ID_SLOTID, "Slot Identification", 0, NULL },
	{ PCI_CAP_ID_MSI, "MSI", PCI_MSI_MASK_32, decode_msi },
	{ PCI_CAP_ID_VNDR, "Vendor Specific", 3, decode_vendor },
	{ PCI_CAP_ID_SSVID, "Subsystem", 0, NULL },
	{ PCI_CAP_ID_EXP, "PCI Express", PCI_EXP_DEVCAP + 4, decode_express },
	{ PCI_CAP_ID_MSIX, "MSI-X", PCI_CAP_MSIX_SIZEOF, decode_msix },
	{ PCI_CAP_ID_AF, "Advanced Features", 0, NULL },
};

static const char *extended_name(uint16_t id)
{
	switch (id) {
	case PCI_EXT_CAP_ID_ERR:
		return "Advanced Error Reporting";
	case PCI_EXT_CAP_ID_VC:
		return "Virtual Channel";
	case PCI_EXT_CAP_ID_DSN:
		return "Device Serial Number";
	case PCI_EXT_CAP_ID_VNDR:
		return "Vendor Specific";
	case PCI_EXT_CAP_ID_ACS:
		return "Access Control Services";
	case PCI_EXT_CAP_ID_ARI:
		return "Alternative Routing-ID Interpretation";
	case PCI_EXT_CAP_ID_ATS:
		return "Address Translation Service";
	case PCI_EXT_CAP_ID_SRIOV:
		return "Single Root I/O Virtualization";
	case PCI_EXT_CAP_ID_REBAR:
		return "Resizable BAR";
	case PCI_EXT_CAP_ID_PASID:
		return "Process Address Space ID";
	default:
		return "Unknown";
	}
}

json_t *pci_capability_json(const struct pci_config *config, const struct pci_capability *cap)
{
	const uint8_t *at = config->bytes + cap->at;
	json_t *ret = json_object();

	add_hex(ret, "offset", cap->at);
	add_hex(ret, "id", cap->id);
	if (cap->at >= PCI_CFG_SPACE_SIZE) {
		json_object_set_new(ret, "name", json_string(extended_name(cap->id)));
		add_number(ret, "extended_version", cap->version);
		return ret;
	}
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t room = (size_t)(PCI_CFG_SPACE_SIZE - cap->at);

		if (known[i].id != cap->id)
			continue;
		json_object_set_new(ret, "name", json_string(known[i].name));
		if (known[i].decode && room >= known[i].min_size)
			known[i].decode(at, room, ret);
		return ret;
	}
	json_object_set_new(ret, "name", json_string("Unknown"));
	return ret;
}
