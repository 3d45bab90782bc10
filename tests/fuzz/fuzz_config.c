/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI config space against a model of it: which bits the specifications let
 * software change (PCI 3.0 chapter 6, PCI PM 1.2), written down here once more.
 * After every access the whole space must be as the model says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "fuzz.h"
#include "pci/function.h"

enum { SIZE = PCI_CONFIG_SIZE, VECTORS = 8, ROM_SIZE = 64 << 10 };

static struct vfio_device device;
static struct pci_function fn;
static bool powered; /* as the function told us */

static struct {
	uint8_t config[SIZE], power_on[SIZE];
	uint8_t writable[SIZE], clearable[SIZE];
	unsigned int pm, msi, msix; /* offsets of the capabilities */
	uint32_t pending; /* MSI vectors */
} model;

static void power_changed(void *opaque, bool on)
{
	FUZZ_CHECK(on != powered);
	powered = on;
}

static void do_reset(void *opaque)
{
	pci_function_reset(&fn);
}

static int do_power_cycle(void *opaque)
{
	pci_function_reset(&fn);
	return 0;
}

static const struct pci_function_ops ops = { power_changed };
static const struct vfio_device_ops device_ops = { .reset = do_reset,
						   .power_cycle = do_power_cycle };

static void add_bar(unsigned int bar, uint64_t size, uint8_t flags)
{
	device.regions[bar].size = size;
	FUZZ_CHECK(pci_bar_add(&fn, bar, flags) == 0);
	put_le32(model.writable + PCI_BASE_ADDRESS_0 + 4 * bar, (uint32_t) ~(size - 1) & ~15U);
	if (flags & PCI_BASE_ADDRESS_MEM_TYPE_64)
		put_le32(model.writable + PCI_BASE_ADDRESS_0 + 4 * bar + 4,
			 (uint32_t)(~(size - 1) >> 32));
}

/* Follows the list as a driver does. Returns the offset of the capability. */
static unsigned int find_capability(uint8_t id)
{
	unsigned int at = fn.config[PCI_CAPABILITY_LIST];

	for (int i = 0; at && i < 48; i++, at = fn.config[at + PCI_CAP_LIST_NEXT])
		if (fn.config[at] == id)
			return at;
	FUZZ_CHECK(at); /* or it is missing */
	return 0;
}

/* PCI 3.0, 6.2.2, 6.2.3, 6.2.4, 6.2.5.2, 6.8.1, 6.8.2; PCI PM 1.2, 3.2.4. */
static void make_model(void)
{
	uint8_t *w = model.writable;

	put_le16(w + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
					  PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	put_le16(model.clearable + PCI_STATUS, 0xf900);
	w[PCI_CACHE_LINE_SIZE] = 0xff;
	w[PCI_INTERRUPT_LINE] = 0xff;
	put_le32(w + PCI_ROM_ADDRESS, (uint32_t) ~(ROM_SIZE - 1) | PCI_ROM_ADDRESS_ENABLE);
	model.pm = find_capability(PCI_CAP_ID_PM);
	w[model.pm + PCI_PM_CTRL] = 3;
	model.msi = find_capability(PCI_CAP_ID_MSI);
	put_le16(w + model.msi + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	put_le32(w + model.msi + PCI_MSI_ADDRESS_LO, 0xfffffffc);
	put_le32(w + model.msi + PCI_MSI_ADDRESS_HI, 0xffffffff);
	put_le16(w + model.msi + PCI_MSI_DATA_64, 0xffff);
	put_le32(w + model.msi + PCI_MSI_MASK_64, (1U << VECTORS) - 1);
	model.msix = find_capability(PCI_CAP_ID_MSIX);
	put_le16(w + model.msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	memcpy(model.power_on, fn.config, SIZE);
}

static void set_up(void)
{
	static const struct pci_identity identity = { 0x1234, 0x5678, 0x1af4, 0x1100, 2, 0x038000 };
	uint8_t *rom = calloc(1, ROM_SIZE);

	FUZZ_CHECK(vfio_device_init(&device, "fuzz", &device_ops, NULL) == 0);
	pci_function_init(&fn, &device, &identity, &ops, NULL);
	add_bar(0, 16 << 20, PCI_BASE_ADDRESS_MEM_PREFETCH);
	add_bar(1, 16, 0);
	add_bar(2, (uint64_t)8 << 30, PCI_BASE_ADDRESS_MEM_TYPE_64);
	add_bar(4, (uint64_t)1 << 31, 0);
	add_bar(5, 4096, 0);
	FUZZ_CHECK(rom && pci_rom_add(&fn, rom, ROM_SIZE) == 0);
	FUZZ_CHECK(pci_pm_add(&fn) == 0);
	FUZZ_CHECK(pci_msi_add(&fn, VECTORS) == 0);
	FUZZ_CHECK(pci_msix_add(&fn, VECTORS, 5, 0, 5, 2048) == 0);
	FUZZ_CHECK(pci_intx_add(&fn) == 0);
	pci_function_ready(&fn);
	make_model();
}

static bool in_region(uint64_t offset, uint64_t length)
{
	return range_within(offset, length, SIZE);
}

/* Writes to memory are DMA and messages alike: for masters that are in D0. */
static bool may_master(void)
{
	return get_le16(model.config + PCI_COMMAND) & PCI_COMMAND_MASTER &&
	       !(model.config[model.pm + PCI_PM_CTRL] & 3);
}

static bool vector_masked(unsigned int vector)
{
	return !may_master() || get_le32(model.config + model.msi + PCI_MSI_MASK_64) >> vector & 1;
}

/* A write of one register's bytes: D1 and D2 do not exist, so the state stays. */
static void model_write(unsigned int at, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t *byte = &model.config[at + i], w = model.writable[at + i];
		uint8_t value = bytes[i];

		if (at + i == model.pm + PCI_PM_CTRL && ((value & 3) == 1 || (value & 3) == 2))
			value = (uint8_t)((value & ~3) | (*byte & 3));
		*byte = (uint8_t)((*byte & ~w & ~(value & model.clearable[at + i])) | (value & w));
	}
	/* What is unmasked is delivered, and not pending any more. */
	for (unsigned int v = 0; v < VECTORS; v++)
		if (!vector_masked(v))
			model.pending &= ~(1U << v);
	put_le32(model.config + model.msi + PCI_MSI_PENDING_64, model.pending);
}

static void do_write(struct fuzz_input *in)
{
	uint8_t bytes[16];
	uint64_t offset = fuzz_number(in, PCI_COMMAND);
	size_t length = fuzz_u8(in) % (sizeof(bytes) + 1);
	int r;

	if (length == 16 && fuzz_u8(in) % 2)
		offset = fuzz_u8(in);
	memset(bytes, 0, sizeof(bytes));
	fuzz_bytes(in, bytes, length);
	r = vfio_region_write(&device.regions[VFIO_PCI_CONFIG_REGION_INDEX], offset, bytes, length);
	FUZZ_CHECK(r == (in_region(offset, length) ? 0 : -EINVAL));
	if (r == 0)
		model_write((unsigned int)offset, bytes, length);
}

/* A whole, aligned register: what a driver writes. */
static void do_write_register(struct fuzz_input *in)
{
	uint8_t bytes[4];
	unsigned int offset = fuzz_u8(in) & 0xfc;

	put_le32(bytes, (uint32_t)fuzz_number(in, UINT32_MAX));
	FUZZ_CHECK(vfio_region_write(&device.regions[VFIO_PCI_CONFIG_REGION_INDEX], offset, bytes,
				     4) == 0);
	model_write(offset, bytes, 4);
}

static void do_read(struct fuzz_input *in)
{
	uint8_t bytes[32];
	uint64_t offset = fuzz_number(in, 0);
	size_t length = fuzz_u8(in) % (sizeof(bytes) + 1);
	int r = vfio_region_read(&device.regions[VFIO_PCI_CONFIG_REGION_INDEX], offset, bytes,
				 length);

	FUZZ_CHECK(r == (in_region(offset, length) ? 0 : -EINVAL));
	if (r == 0)
		FUZZ_CHECK(!memcmp(bytes, model.config + offset, length));
}

static void do_intx(bool level)
{
	pci_intx_set(&fn, level);
	model.config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (level)
		model.config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
}

static void do_msi(unsigned int vector)
{
	pci_msi_raise(&fn, vector);
	if (vector < VECTORS && vector_masked(vector))
		model.pending |= 1U << vector;
	put_le32(model.config + model.msi + PCI_MSI_PENDING_64, model.pending);
}

static void reset_all(void)
{
	vfio_device_reset(&device);
	memcpy(model.config, model.power_on, SIZE);
	model.pending = 0;
	powered = true; /* a reset does not call back */
}

static void check(void)
{
	const struct vfio_irq *irqs = device.irqs.index;
	uint16_t command = get_le16(model.config + PCI_COMMAND);
	bool intx = model.config[PCI_STATUS] & PCI_STATUS_INTERRUPT;

	FUZZ_CHECK(!memcmp(fn.config, model.config, SIZE));
	FUZZ_CHECK(pci_powered(&fn) == powered);
	FUZZ_CHECK(powered == !(model.config[model.pm + PCI_PM_CTRL] & 3));
	FUZZ_CHECK(pci_may_master(&fn) == may_master());
	FUZZ_CHECK(irqs[VFIO_PCI_INTX_IRQ_INDEX].level ==
		   (intx && powered && !(command & PCI_COMMAND_INTX_DISABLE)));
	for (unsigned int v = 0; v < VECTORS; v++) {
		FUZZ_CHECK(irqs[VFIO_PCI_MSI_IRQ_INDEX].vectors[v].masked == vector_masked(v));
		FUZZ_CHECK(irqs[VFIO_PCI_MSIX_IRQ_INDEX].vectors[v].masked ==
			   (!may_master() || get_le16(model.config + model.msix + PCI_MSIX_FLAGS) &
						     PCI_MSIX_FLAGS_MASKALL));
	}
}

static void step(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	switch (what % 8) {
	case 0:
	case 1:
		do_write(in);
		break;
	case 2:
	case 3:
		do_write_register(in);
		break;
	case 4:
		do_read(in);
		break;
	case 5:
		do_intx(what & 8);
		break;
	case 6:
		do_msi(what >> 3);
		break;
	default:
		reset_all();
	}
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	if (!fn.vfio)
		set_up();
	fuzz_begin();
	reset_all();
	while (in.left)
		step(&in);
	fuzz_end();
	return 0;
}
