/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Config space, bit by bit: PCI Local Bus Specification 3.0, chapter 6. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "check.h"

enum { CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

static uint32_t config_read(struct check_run *t, uint64_t at, unsigned int width)
{
	return (uint32_t)check_read(t, CONFIG, at, width);
}

static void config_write(struct check_run *t, uint64_t at, unsigned int width, uint32_t value)
{
	check_write(t, CONFIG, at, width, value);
}

static void identity(struct check_run *t)
{
	const uint8_t *c = t->facts->config.bytes;
	uint16_t vendor = get_le16(c + PCI_VENDOR_ID);

	EXPECT(t, vendor && vendor != 0xffff, "the vendor is %#x", vendor);
	EXPECT(t, (c[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_NORMAL,
	       "the header is of type %#x, and an endpoint's is 0", c[PCI_HEADER_TYPE]);
	ADVISE_UNLESS(t, !(c[PCI_HEADER_TYPE] & 0x80), "it says that it has several functions");
	EXPECT(t, c[PCI_INTERRUPT_PIN] <= 4, "the interrupt pin is %u", c[PCI_INTERRUPT_PIN]);
}

/* What a write of every value leaves as it is. */
static void read_only(struct check_run *t)
{
	static const struct {
		uint8_t at, width;
	} fields[] = {
		{ PCI_VENDOR_ID, 2 },		{ PCI_DEVICE_ID, 2 },	 { PCI_REVISION_ID, 1 },
		{ PCI_CLASS_PROG, 1 },		{ PCI_CLASS_DEVICE, 2 }, { PCI_HEADER_TYPE, 1 },
		{ PCI_SUBSYSTEM_VENDOR_ID, 2 }, { PCI_SUBSYSTEM_ID, 2 }, { PCI_CAPABILITY_LIST, 1 },
		{ PCI_INTERRUPT_PIN, 1 },	{ PCI_MIN_GNT, 1 },	 { PCI_MAX_LAT, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		uint32_t before = config_read(t, fields[i].at, fields[i].width);

		config_write(t, fields[i].at, fields[i].width, ~before);
		EXPECT(t, config_read(t, fields[i].at, fields[i].width) == before,
		       "the %u bytes at %#x are read-only, and were written", fields[i].width,
		       fields[i].at);
		config_write(t, fields[i].at, fields[i].width, 0);
		EXPECT(t, config_read(t, fields[i].at, fields[i].width) == before,
		       "the %u bytes at %#x are read-only, and were written", fields[i].width,
		       fields[i].at);
	}
}

static void command(struct check_run *t)
{
	const uint32_t reserved = 0xf800;
	uint32_t before = config_read(t, PCI_COMMAND, 2), all, none;
	bool memory = false;

	for (uint32_t i = 0; i < PCI_N_BARS; i++) {
		struct pci_bar bar;

		pci_config_bar(&t->facts->config, i, &bar);
		memory = memory || (t->facts->regions[i].size && !bar.io);
	}
	config_write(t, PCI_COMMAND, 2, 0xffff);
	all = config_read(t, PCI_COMMAND, 2);
	config_write(t, PCI_COMMAND, 2, 0);
	none = config_read(t, PCI_COMMAND, 2);
	config_write(t, PCI_COMMAND, 2, before);
	EXPECT(t, !(all & reserved), "command: reserved bits can be set: %#x", all);
	EXPECT(t, !none, "command: %#x can't be cleared", none);
	EXPECT(t, !memory || all & PCI_COMMAND_MEMORY,
	       "command: there is a memory BAR, and memory can't be enabled");
	ADVISE_UNLESS(t, all & PCI_COMMAND_MASTER, "command: bus mastering can't be enabled");
	ADVISE_UNLESS(t,
		      !t->facts->config.bytes[PCI_INTERRUPT_PIN] || all & PCI_COMMAND_INTX_DISABLE,
		      "command: there is an interrupt pin, and INTx can't be disabled");
}

static void status(struct check_run *t)
{
	uint32_t before = config_read(t, PCI_STATUS, 2), after;
	const uint32_t w1c = PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT |
			     PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT |
			     PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY;

	config_write(t, PCI_STATUS, 2, 0xffff);
	after = config_read(t, PCI_STATUS, 2);
	EXPECT(t, after == (before & ~w1c),
	       "status was %#x, and is %#x after a write of 1 to every bit, which clears some and "
	       "sets none",
	       before, after);
}

/*
 * Writes all ones and reads what of it is kept: PCI 3.0, 6.2.5.1. Decoding is
 * off in the meantime, as it must be.
 */
static uint64_t size_bar(struct check_run *t, uint32_t i, const struct pci_bar *bar)
{
	uint64_t at = PCI_BASE_ADDRESS_0 + 4 * i;
	uint32_t low = config_read(t, at, 4), high = bar->is_64 ? config_read(t, at + 4, 4) : 0;
	uint64_t mask;

	config_write(t, at, 4, 0xffffffff);
	if (bar->is_64)
		config_write(t, at + 4, 4, 0xffffffff);
	mask = config_read(t, at, 4);
	EXPECT(t, (mask & 15) == (low & 15) || bar->io, "BAR %u: the type bits can be written", i);
	mask &= bar->io ? (uint32_t)PCI_BASE_ADDRESS_IO_MASK : (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
	if (bar->is_64)
		mask |= (uint64_t)config_read(t, at + 4, 4) << 32;
	else if (mask)
		mask |= 0xffffffff00000000ULL;
	config_write(t, at, 4, low);
	if (bar->is_64)
		config_write(t, at + 4, 4, high);
	return mask ? ~mask + 1 : 0;
}

static void bar_sizes(struct check_run *t)
{
	uint32_t before = config_read(t, PCI_COMMAND, 2);

	config_write(t, PCI_COMMAND, 2, 0);
	for (uint32_t i = 0; i < PCI_N_BARS; i++) {
		struct pci_bar bar;
		uint64_t size;

		pci_config_bar(&t->facts->config, i, &bar);
		if (bar.upper) {
			EXPECT(t, !t->facts->regions[i].size,
			       "BAR %u is the upper half of another, and a region of its own", i);
			continue;
		}
		size = size_bar(t, i, &bar);
		/* An I/O BAR's upper 16 bits may be hard-wired to 0. */
		if (bar.io && size)
			size &= 0xffff;
		EXPECT(t, !size || is_power_of_two(size),
		       "BAR %u: %#llx bytes, which is no power of two", i,
		       (unsigned long long)size);
		EXPECT(t, size == t->facts->regions[i].size,
		       "BAR %u: %#llx bytes in config space, and %#llx in VFIO", i,
		       (unsigned long long)size, (unsigned long long)t->facts->regions[i].size);
	}
	config_write(t, PCI_COMMAND, 2, before);
}

static void bar_addresses(struct check_run *t)
{
	for (uint32_t i = 0; i < PCI_N_BARS; i++) {
		const uint64_t size = t->facts->regions[i].size;
		uint64_t at = PCI_BASE_ADDRESS_0 + 4 * i, address = 0x3456789abcdef000ULL, now;
		uint32_t low, high;
		struct pci_bar bar;

		pci_config_bar(&t->facts->config, i, &bar);
		if (!size || bar.io)
			continue;
		address = round_down(address, size < 4096 ? 4096 : size);
		if (!bar.is_64)
			address &= 0xffffffff;
		low = config_read(t, at, 4);
		high = bar.is_64 ? config_read(t, at + 4, 4) : 0;
		config_write(t, at, 4, (uint32_t)address);
		if (bar.is_64)
			config_write(t, at + 4, 4, (uint32_t)(address >> 32));
		now = config_read(t, at, 4) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
		if (bar.is_64)
			now |= (uint64_t)config_read(t, at + 4, 4) << 32;
		config_write(t, at, 4, low);
		if (bar.is_64)
			config_write(t, at + 4, 4, high);
		EXPECT(t, now == address, "BAR %u: %#llx was written, and %#llx read", i,
		       (unsigned long long)address, (unsigned long long)now);
	}
}

/* A byte at a time must do the same. */
static void bar_bytes(struct check_run *t)
{
	for (uint32_t i = 0; i < PCI_N_BARS; i++) {
		uint64_t at = PCI_BASE_ADDRESS_0 + 4 * i;
		uint32_t before, dword, bytes;
		struct pci_bar bar;

		pci_config_bar(&t->facts->config, i, &bar);
		if (!t->facts->regions[i].size || bar.upper)
			continue;
		before = config_read(t, at, 4);
		config_write(t, at, 4, 0xffffffff);
		dword = config_read(t, at, 4);
		config_write(t, at, 4, before);
		for (unsigned int b = 0; b < 4; b++)
			config_write(t, at + b, 1, 0xff);
		bytes = config_read(t, at, 4);
		config_write(t, at, 4, before);
		EXPECT(t, bytes == dword,
		       "BAR %u: %#x after 4 writes of a byte, %#x after one of 4", i, bytes, dword);
	}
}

static void rom_size(struct check_run *t)
{
	const uint64_t size = t->facts->regions[VFIO_PCI_ROM_REGION_INDEX].size;
	uint32_t before = config_read(t, PCI_ROM_ADDRESS, 4), mask, enabled;

	config_write(t, PCI_ROM_ADDRESS, 4, (uint32_t)PCI_ROM_ADDRESS_MASK);
	mask = config_read(t, PCI_ROM_ADDRESS, 4) & (uint32_t)PCI_ROM_ADDRESS_MASK;
	config_write(t, PCI_ROM_ADDRESS, 4, PCI_ROM_ADDRESS_ENABLE);
	enabled = config_read(t, PCI_ROM_ADDRESS, 4);
	config_write(t, PCI_ROM_ADDRESS, 4, before);
	EXPECT(t, (mask ? (uint64_t)(uint32_t)(~mask + 1) : 0) == size,
	       "the ROM has %#x bytes in config space, and %#llx in VFIO", mask ? ~mask + 1 : 0,
	       (unsigned long long)size);
	EXPECT(t, !size || enabled & PCI_ROM_ADDRESS_ENABLE, "the ROM can't be enabled");
	EXPECT(t, size || !enabled, "there is no ROM, and it can be enabled");
}

static void rom_image(struct check_run *t)
{
	const uint64_t size = t->facts->regions[VFIO_PCI_ROM_REGION_INDEX].size;
	uint8_t head[0x1a], data[0x18];
	uint16_t at;

	EXPECT(t, is_power_of_two(size) && size >= 2048, "the ROM has %#llx bytes",
	       (unsigned long long)size);
	check_ok(t, t->dev->ops->read(t->dev, VFIO_PCI_ROM_REGION_INDEX, 0, head, sizeof(head)),
		 "a read of the ROM");
	EXPECT(t, get_le16(head) == 0xaa55, "the ROM begins with %#x", get_le16(head));
	at = get_le16(head + 0x18);
	EXPECT(t, range_within(at, sizeof(data), size), "the ROM's data structure lies at %#x", at);
	check_ok(t, t->dev->ops->read(t->dev, VFIO_PCI_ROM_REGION_INDEX, at, data, sizeof(data)),
		 "a read of the ROM");
	EXPECT(t, memcmp(data, "PCIR", 4) == 0, "the ROM has no data structure at %#x", at);
	ADVISE_UNLESS(t,
		      get_le16(data + 4) == get_le16(t->facts->config.bytes + PCI_VENDOR_ID) &&
			      get_le16(data + 6) ==
				      get_le16(t->facts->config.bytes + PCI_DEVICE_ID),
		      "the ROM is for %04x:%04x", get_le16(data + 4), get_le16(data + 6));
	check_read(t, VFIO_PCI_ROM_REGION_INDEX, size - 1, 1);
}

static void capabilities(struct check_run *t)
{
	const struct pci_config *config = &t->facts->config;

	EXPECT(t, !config->broken, "%s", config->broken);
	EXPECT(t,
	       config->n_capabilities - config->n_extended ||
		       !(get_le16(config->bytes + PCI_STATUS) & PCI_STATUS_CAP_LIST),
	       "status says that there are capabilities, and there is none");
	for (unsigned int i = 0; i < config->n_capabilities - config->n_extended; i++)
		EXPECT(t, config->capabilities[i].id, "the capability at %#x has ID 0",
		       config->capabilities[i].at);
	for (unsigned int i = 0; i < config->n_capabilities; i++) {
		uint16_t at = config->capabilities[i].at;
		uint32_t before = config_read(t, at, 2);

		config_write(t, at, 2, ~before);
		EXPECT(t, config_read(t, at, 2) == before,
		       "the head of the capability at %#x can be written", at);
	}
}

static void msi(struct check_run *t)
{
	uint16_t at = pci_config_find(&t->facts->config, PCI_CAP_ID_MSI);
	uint16_t flags = get_le16(t->facts->config.bytes + at + PCI_MSI_FLAGS);
	const uint16_t writable = PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE;
	bool is_64 = flags & PCI_MSI_FLAGS_64BIT;
	uint64_t mask = at + (uint64_t)(is_64 ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32);
	uint32_t vectors = 1U << ((flags & PCI_MSI_FLAGS_QMASK) >> 1), all, before;

	EXPECT(t, at, "VFIO has MSI, and config space has not");
	EXPECT(t, vectors <= 32, "MSI: %u vectors", vectors);
	EXPECT(t, !(flags & PCI_MSI_FLAGS_ENABLE), "MSI: it is enabled at power-on");
	config_write(t, at + PCI_MSI_FLAGS, 2, flags ^ (uint16_t)~writable);
	EXPECT(t, config_read(t, at + PCI_MSI_FLAGS, 2) == flags,
	       "MSI: read-only bits of its control can be written");
	config_write(t, at + PCI_MSI_FLAGS, 2, flags | PCI_MSI_FLAGS_ENABLE);
	EXPECT(t, config_read(t, at + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE,
	       "MSI: it can't be enabled");
	config_write(t, at + PCI_MSI_FLAGS, 2, flags);
	config_write(t, at + PCI_MSI_ADDRESS_LO, 4, 0xfee01237);
	EXPECT(t, config_read(t, at + PCI_MSI_ADDRESS_LO, 4) == 0xfee01234,
	       "MSI: the address holds %#x of 0xfee01237",
	       config_read(t, at + PCI_MSI_ADDRESS_LO, 4));
	config_write(t, at + PCI_MSI_ADDRESS_LO, 4, 0);
	if (!(flags & PCI_MSI_FLAGS_MASKBIT))
		return;
	all = vectors == 32 ? 0xffffffff : (1U << vectors) - 1;
	config_write(t, mask, 4, 0xffffffff);
	ADVISE_UNLESS(t, config_read(t, mask, 4) == all, "MSI: of its mask bits %#x can be set",
		      config_read(t, mask, 4));
	config_write(t, mask, 4, 0);
	EXPECT(t, config_read(t, mask, 4) == 0, "MSI: mask bits can't be cleared");
	before = config_read(t, mask + 4, 4);
	config_write(t, mask + 4, 4, ~before);
	EXPECT(t, config_read(t, mask + 4, 4) == before, "MSI: pending bits can be written");
}

static void msix(struct check_run *t)
{
	uint16_t at = pci_config_find(&t->facts->config, PCI_CAP_ID_MSIX);
	const uint8_t *cap = t->facts->config.bytes + at;
	uint16_t flags = get_le16(cap + PCI_MSIX_FLAGS);
	uint32_t vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1U;
	uint32_t table = get_le32(cap + PCI_MSIX_TABLE), pba = get_le32(cap + PCI_MSIX_PBA);
	uint32_t table_bar = table & PCI_MSIX_TABLE_BIR, pba_bar = pba & PCI_MSIX_PBA_BIR;
	uint64_t table_at = table & (uint32_t)PCI_MSIX_TABLE_OFFSET, table_size = vectors * 16;
	uint64_t pba_at = pba & (uint32_t)PCI_MSIX_PBA_OFFSET, pba_size = (vectors + 63) / 64 * 8;

	EXPECT(t, at, "VFIO has MSI-X, and config space has not");
	EXPECT(t,
	       table_bar < PCI_N_BARS &&
		       range_within(table_at, table_size, t->facts->regions[table_bar].size),
	       "MSI-X: the table, %#llx bytes at %#llx, is not in BAR %u",
	       (unsigned long long)table_size, (unsigned long long)table_at, table_bar);
	EXPECT(t,
	       pba_bar < PCI_N_BARS &&
		       range_within(pba_at, pba_size, t->facts->regions[pba_bar].size),
	       "MSI-X: the PBA, %#llx bytes at %#llx, is not in BAR %u",
	       (unsigned long long)pba_size, (unsigned long long)pba_at, pba_bar);
	EXPECT(t, table_bar != pba_bar || !ranges_overlap(table_at, table_size, pba_at, pba_size),
	       "MSI-X: table and PBA overlap");
	EXPECT(t, !(flags & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)),
	       "MSI-X: it is enabled or masked at power-on: %#x", flags);
	config_write(t, at + PCI_MSIX_FLAGS, 2, 0xffff);
	EXPECT(t,
	       config_read(t, at + PCI_MSIX_FLAGS, 2) ==
		       (flags | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL),
	       "MSI-X: control is %#x after a write of 0xffff",
	       config_read(t, at + PCI_MSIX_FLAGS, 2));
	config_write(t, at + PCI_MSIX_FLAGS, 2, 0);
	EXPECT(t, config_read(t, at + PCI_MSIX_FLAGS, 2) == flags,
	       "MSI-X: control is %#x after a write of 0", config_read(t, at + PCI_MSIX_FLAGS, 2));
	for (uint64_t i = 4; i < 12; i += 4) {
		config_write(t, at + i, 4, ~get_le32(cap + i));
		EXPECT(t, config_read(t, at + i, 4) == get_le32(cap + i),
		       "MSI-X: where its table or PBA lie can be written");
	}
}

static void power(struct check_run *t)
{
	uint16_t at = pci_config_find(&t->facts->config, PCI_CAP_ID_PM);
	uint16_t capabilities_ = get_le16(t->facts->config.bytes + at + PCI_PM_PMC);
	uint32_t control;

	if (!at)
		check_skip(t, "there is no power management");
	control = config_read(t, at + PCI_PM_CTRL, 2);
	EXPECT(t, !(control & PCI_PM_CTRL_STATE_MASK), "it is in D%u at power-on", control & 3);
	for (uint32_t state = 3; state > 0; state--) {
		bool has =
			state == 3 || capabilities_ & (state == 2 ? PCI_PM_CAP_D2 : PCI_PM_CAP_D1);
		uint32_t now;

		config_write(t, at + PCI_PM_CTRL, 2, state);
		now = config_read(t, at + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK;
		EXPECT(t, now == (has ? state : 0), "D%u was asked for, and it is in D%u", state,
		       now);
		config_write(t, at + PCI_PM_CTRL, 2, 0);
		EXPECT(t, !(config_read(t, at + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK),
		       "it does not return to D0");
	}
}

static void scratch(struct check_run *t)
{
	uint32_t before = config_read(t, PCI_INTERRUPT_LINE, 1);
	uint32_t around = config_read(t, PCI_INTERRUPT_LINE, 4) & 0xffffff00;

	for (uint32_t i = 0; i < 256; i += 51) {
		config_write(t, PCI_INTERRUPT_LINE, 1, i);
		EXPECT(t, config_read(t, PCI_INTERRUPT_LINE, 4) == (around | i),
		       "%#x was written to the interrupt line; it and its neighbours read as %#x",
		       i, config_read(t, PCI_INTERRUPT_LINE, 4));
	}
	config_write(t, PCI_INTERRUPT_LINE, 1, before);
}

/* The power-on state, whoever was there before. */
static void power_on(struct check_run *t)
{
	struct pci_config now;

	config_write(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	config_write(t, PCI_INTERRUPT_LINE, 1, 0x77);
	check_close(t);
	check_open(t);
	check_ok(t, pci_config_read(t->dev, &now), "a read of config space");
	for (uint32_t i = 0; i < now.size; i++)
		if (now.bytes[i] != t->facts->config.bytes[i]) {
			check_advise(
				t, "what a client wrote to config space at %#x is seen by the next",
				i);
			break;
		}
}

#define CHECK(name, what, clause, needs, run)                                                      \
	{                                                                                          \
		"config." name, what, "PCI 3.0: " clause, NEED_PCI | (needs), run                  \
	}

const struct check checks_config[] = {
	CHECK("identity", "there is a device", "6.2.1", 0, identity),
	CHECK("read-only", "what is read-only is", "6.1", 0, read_only),
	CHECK("command", "the command register has its bits, and no others", "6.2.2", 0, command),
	CHECK("status", "1 clears a bit of the status register, and sets none", "6.2.3", 0, status),
	CHECK("scratch", "a byte is written without its neighbours", "6.2.4", 0, scratch),
	CHECK("bar-sizes", "BARs have the sizes of their regions", "6.2.5.1", 0, bar_sizes),
	CHECK("bar-addresses", "BARs hold addresses", "6.2.5.1", 0, bar_addresses),
	CHECK("bar-bytes", "also if they are written byte by byte", "6.2.5.1", 0, bar_bytes),
	CHECK("rom-size", "so does the ROM's", "6.2.5.2", 0, rom_size),
	CHECK("rom-image", "the ROM is one", "6.3.1", NEED_ROM, rom_image),
	CHECK("capabilities", "the list of capabilities has an end", "6.7", 0, capabilities),
	CHECK("msi", "MSI has its bits", "6.8.1", NEED_MSI, msi),
	CHECK("msix", "MSI-X has its bits, table and PBA", "6.8.2", NEED_MSIX, msix),
	{ "config.power", "power states are those that there are", "PCI PM 1.2: 3.2.4", NEED_PCI,
	  power },
	{ "config.power-on", "the next client finds power-on values", "vgpud(1)", NEED_PCI,
	  power_on },
	{ 0 },
};
