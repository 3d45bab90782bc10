/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pci/function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "unit.h"

enum {
	VECTORS = 4,
	PM = 0x40, /* where the capabilities come to lie */
	MSI = 0x48,
	ROM_SIZE = 64 << 10,
};

static struct vfio_device vfio;
static struct pci_function fn;
static struct vfio_region *config;
static unsigned int power_changes;
static bool power;

static void reset(void *opaque)
{
	pci_function_reset(&fn);
}

static int power_cycle(void *opaque)
{
	pci_function_reset(&fn);
	return 0;
}

static const struct vfio_device_ops vfio_ops = { .reset = reset, .power_cycle = power_cycle };

static void power_changed(void *opaque, bool on)
{
	power_changes++;
	power = on;
}

static const struct pci_function_ops pci_ops = { .power_changed = power_changed };

static const struct pci_identity identity = {
	.vendor = 0x1234,
	.device = 0x5678,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.revision = 7,
	.class_code = 0x038001,
};

static void add_bar(unsigned int bar, uint64_t size, uint8_t flags)
{
	vfio.regions[bar].size = size;
	vfio.regions[bar].flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	assert_int_equal(pci_bar_add(&fn, bar, flags), 0);
}

static int setup(void **state)
{
	uint8_t *rom = calloc(1, ROM_SIZE);

	assert_int_equal(vfio_device_init(&vfio, "test", &vfio_ops, NULL), 0);
	pci_function_init(&fn, &vfio, &identity, &pci_ops, NULL);
	config = &vfio.regions[VFIO_PCI_CONFIG_REGION_INDEX];
	add_bar(0, 4096, PCI_BASE_ADDRESS_MEM_PREFETCH);
	add_bar(2, 8ULL << 30, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	add_bar(4, 16, 0);
	assert_int_equal(pci_rom_add(&fn, rom, ROM_SIZE), 0);
	assert_int_equal(pci_pm_add(&fn), 0);
	assert_int_equal(pci_msi_add(&fn, VECTORS), 0);
	assert_int_equal(pci_intx_add(&fn), 0);
	pci_function_ready(&fn);
	power_changes = 0;
	power = true;
	return 0;
}

static int teardown(void **state)
{
	pci_function_done(&fn);
	vfio_device_done(&vfio);
	return 0;
}

static uint32_t get(uint64_t offset, unsigned int width)
{
	uint8_t buf[4];

	assert_int_equal(vfio_region_read(config, offset, buf, width), 0);
	return (uint32_t)get_le(buf, width);
}

static void set(uint64_t offset, unsigned int width, uint32_t value)
{
	uint8_t buf[4];

	put_le(buf, value, width);
	assert_int_equal(vfio_region_write(config, offset, buf, width), 0);
}

static int bind(uint32_t index, uint32_t vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), theirs = dup(fd);

	assert_int_equal(vfio_irqs_set(&vfio.irqs,
				       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				       index, vector, 1, NULL, 0, &theirs, 1),
			 0);
	return fd;
}

static uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void the_header_says_what_it_is(void **state)
{
	assert_int_equal(config->size, 256);
	assert_int_equal(get(PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(get(PCI_CLASS_REVISION, 4), 0x03800107);
	assert_int_equal(get(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), PCI_HEADER_TYPE_NORMAL);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	assert_int_equal(get(PCI_INTERRUPT_PIN, 1), 1);
	assert_true(vfio_device_is_valid(&vfio));
}

/*
 * What PCI 3.0 lets software change of such a function: chapter 6.2, and 6.8.1
 * for MSI; PCI PM 1.2, 3.2 for power management. Everything else is read-only.
 */
static const struct {
	uint8_t at, width;
	uint32_t writable, clearable;
} registers[] = {
	{ PCI_COMMAND, 2, 0x0546, 0 },
	{ PCI_STATUS, 2, 0, 0xf900 },
	{ PCI_CACHE_LINE_SIZE, 1, 0xff, 0 },
	{ PCI_BASE_ADDRESS_0, 4, 0xfffff000, 0 },
	{ PCI_BASE_ADDRESS_2, 4, 0, 0 },
	{ PCI_BASE_ADDRESS_3, 4, 0xfffffffe, 0 },
	{ PCI_BASE_ADDRESS_4, 4, 0xfffffff0, 0 },
	{ PCI_ROM_ADDRESS, 4, 0xffff0001, 0 },
	{ PCI_INTERRUPT_LINE, 1, 0xff, 0 },
	{ PM + PCI_PM_CTRL, 2, 3, 0 },
	{ MSI + PCI_MSI_FLAGS, 2, 0x0071, 0 },
	{ MSI + PCI_MSI_ADDRESS_LO, 4, 0xfffffffc, 0 },
	{ MSI + PCI_MSI_ADDRESS_HI, 4, 0xffffffff, 0 },
	{ MSI + PCI_MSI_DATA_64, 2, 0xffff, 0 },
	{ MSI + PCI_MSI_MASK_64, 4, 0xf, 0 },
};

/* What a write does to one byte of the model. */
static void model_write(uint8_t *model, const uint8_t *writable, const uint8_t *clearable,
			uint64_t at, uint8_t value)
{
	uint8_t old = model[at];

	if (at == PM + PCI_PM_CTRL && ((value & 3) == 1 || (value & 3) == 2))
		value = (uint8_t)((value & ~3) | (old & 3)); /* no D1, no D2 */
	model[at] = (uint8_t)((old & ~(writable[at] | (clearable[at] & value))) |
			      (value & writable[at]));
}

static void every_byte_obeys_its_masks(void **state)
{
	uint8_t model[256], writable[256] = { 0 }, clearable[256] = { 0 }, seen[256];
	static const uint8_t patterns[] = { 0x00, 0xff, 0x55, 0xaa };
	unsigned int seed = 1;

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		put_le(writable + registers[i].at, registers[i].writable, registers[i].width);
		put_le(clearable + registers[i].at, registers[i].clearable, registers[i].width);
	}
	memcpy(model, fn.config, sizeof(model));

	for (unsigned int n = 0; n < 60000; n++) {
		static const unsigned int widths[] = { 1, 2, 4 };
		unsigned int width = widths[n % 3];
		/* First every offset with every pattern, then anything anywhere. */
		uint64_t offset = n < 3 * 256 * 4 ? n / 3 % 256 : (unsigned int)rand_r(&seed) % 256;
		uint8_t buf[4];

		if (offset + width > 256)
			continue;
		for (unsigned int i = 0; i < width; i++) {
			buf[i] = n < 3 * 256 * 4 ? patterns[n / (3 * 256)] : (uint8_t)rand_r(&seed);
			model_write(model, writable, clearable, offset + i, buf[i]);
		}
		assert_int_equal(vfio_region_write(config, offset, buf, width), 0);
		assert_int_equal(vfio_region_read(config, 0, seen, sizeof(seen)), 0);
		assert_memory_equal(seen, model, sizeof(seen));

		if (n % 16 == 0) { /* the device reports errors, which software clears */
			fn.config[PCI_STATUS + 1] |= 0xf9;
			model[PCI_STATUS + 1] |= 0xf9;
		}
	}
	/* Reads of any width and offset see the same bytes. */
	for (uint64_t offset = 0; offset < 253; offset++) {
		assert_int_equal(get(offset, 1), model[offset]);
		assert_int_equal(get(offset, 2), get_le16(model + offset));
		assert_int_equal(get(offset, 4), get_le32(model + offset));
	}
}

static void config_space_has_an_end(void **state)
{
	uint8_t buf[8] = { 0 };

	assert_int_equal(vfio_region_read(config, 253, buf, 4), -EINVAL);
	assert_int_equal(vfio_region_write(config, 256, buf, 1), -EINVAL);
}

/* PCI 3.0, 6.2.5.1: write all ones, read back, the lowest bit set is the size. */
static uint64_t size_of_bar(unsigned int at, bool is_64)
{
	uint32_t low, high = 0xffffffff;
	uint64_t mask;

	set(at, 4, 0xffffffff);
	low = get(at, 4) & ~15U;
	if (is_64) {
		set(at + 4, 4, 0xffffffff);
		high = get(at + 4, 4);
	}
	mask = (uint64_t)high << 32 | low;
	return -mask;
}

static void bars_are_sized_exactly(void **state)
{
	assert_int_equal(size_of_bar(PCI_BASE_ADDRESS_0, false), 4096);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4) & 15, PCI_BASE_ADDRESS_MEM_PREFETCH);
	assert_int_equal(size_of_bar(PCI_BASE_ADDRESS_2, true), 8ULL << 30);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4) & 15,
			 PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	assert_int_equal(size_of_bar(PCI_BASE_ADDRESS_4, false), 16);
	/* There is none. */
	set(PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	set(PCI_BASE_ADDRESS_5, 4, 0xffffffff);
	assert_int_equal(get(PCI_BASE_ADDRESS_1, 4), 0);
	assert_int_equal(get(PCI_BASE_ADDRESS_5, 4), 0);

	/* 6.2.5.2: the enable bit is no address bit. */
	set(PCI_ROM_ADDRESS, 4, 0xfffffffe);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), ~(uint32_t)(ROM_SIZE - 1));
	set(PCI_ROM_ADDRESS, 4, 0x12345601);
	assert_int_equal(get(PCI_ROM_ADDRESS, 4), 0x12340001);

	set(PCI_BASE_ADDRESS_0, 4, 0xfebf1234);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 0xfebf1008);
	set(PCI_BASE_ADDRESS_3, 4, 0x21);
	assert_int_equal(get(PCI_BASE_ADDRESS_3, 4), 0x20);
}

static void every_size_of_bar_works(void **state)
{
	static struct vfio_device other;

	for (unsigned int log2 = 4; log2 < 64; log2++) {
		struct pci_function f;

		memset(other.regions, 0, sizeof(other.regions));
		pci_function_init(&f, &other, &identity, NULL, NULL);
		config = &other.regions[VFIO_PCI_CONFIG_REGION_INDEX];
		other.regions[1].size = 1ULL << log2;
		if (log2 <= 31) {
			assert_int_equal(pci_bar_add(&f, 1, 0), 0);
			assert_int_equal(size_of_bar(PCI_BASE_ADDRESS_1, false), 1ULL << log2);
			assert_int_equal(pci_bar_add(&f, 1, 0), -EINVAL);
			pci_function_init(&f, &other, &identity, NULL, NULL);
		} else {
			assert_int_equal(pci_bar_add(&f, 1, 0), -EINVAL);
		}
		assert_int_equal(pci_bar_add(&f, 1, PCI_BASE_ADDRESS_MEM_TYPE_64), 0);
		assert_int_equal(size_of_bar(PCI_BASE_ADDRESS_1, true), 1ULL << log2);
		assert_int_equal(get(PCI_BASE_ADDRESS_1, 4) & 15, PCI_BASE_ADDRESS_MEM_TYPE_64);
		/* Taken: either half, by either kind. */
		assert_int_equal(pci_bar_add(&f, 1, PCI_BASE_ADDRESS_MEM_TYPE_64), -EINVAL);
		assert_int_equal(pci_bar_add(&f, 1, 0), -EINVAL);
		other.regions[2].size = 4096;
		assert_int_equal(pci_bar_add(&f, 2, 0), -EINVAL);
	}
}

static void bad_bars_are_refused(void **state)
{
	vfio.regions[1].size = 4096;
	assert_int_equal(pci_bar_add(&fn, 1, PCI_BASE_ADDRESS_SPACE_IO), -EINVAL);
	assert_int_equal(pci_bar_add(&fn, 1, PCI_BASE_ADDRESS_MEM_TYPE_1M), -EINVAL);
	assert_int_equal(pci_bar_add(&fn, 1, PCI_BASE_ADDRESS_MEM_TYPE_64),
			 -EINVAL); /* BAR 2 is there */
	assert_int_equal(pci_bar_add(&fn, 6, 0), -EINVAL);
	vfio.regions[1].size = 4095;
	assert_int_equal(pci_bar_add(&fn, 1, 0), -EINVAL);
	vfio.regions[1].size = 8;
	assert_int_equal(pci_bar_add(&fn, 1, 0), -EINVAL);
	vfio.regions[1].size = 0;
	assert_int_equal(pci_bar_add(&fn, 1, 0), -EINVAL);
	vfio.regions[5].size = 4096;
	assert_int_equal(pci_bar_add(&fn, 5, PCI_BASE_ADDRESS_MEM_TYPE_64), -EINVAL);
	assert_int_equal(pci_bar_add(&fn, 0, 0), -EINVAL);
	assert_int_equal(pci_rom_add(&fn, NULL, ROM_SIZE), -EINVAL);
	vfio.regions[1].size = vfio.regions[5].size = 0;
}

static void the_rom_is_read_only_content(void **state)
{
	struct vfio_region *rom = &vfio.regions[VFIO_PCI_ROM_REGION_INDEX];
	uint8_t byte = 1;

	rom->memory[ROM_SIZE - 1] = 0xa5;
	assert_int_equal(rom->size, ROM_SIZE);
	assert_int_equal(rom->flags, VFIO_REGION_INFO_FLAG_READ);
	assert_int_equal(vfio_region_read(rom, ROM_SIZE - 1, &byte, 1), 0);
	assert_int_equal(byte, 0xa5);
	assert_int_equal(vfio_region_write(rom, 0, &byte, 1), -EINVAL);
}

static void the_capability_list_can_be_walked(void **state)
{
	uint8_t ids[8];
	unsigned int n = 0;

	for (uint32_t at = get(PCI_CAPABILITY_LIST, 1); at; at = get(at + PCI_CAP_LIST_NEXT, 1)) {
		assert_int_equal(at % 4, 0);
		assert_true(at >= 0x40 && n < ARRAY_SIZE(ids));
		ids[n++] = (uint8_t)get(at, 1);
	}
	assert_int_equal(n, 2);
	assert_int_equal(ids[0], PCI_CAP_ID_PM);
	assert_int_equal(ids[1], PCI_CAP_ID_MSI);
	assert_int_equal(fn.pm_cap, PM);
	assert_int_equal(fn.msi_cap, MSI);
	assert_int_equal(get(PM + PCI_PM_PMC, 2), 3);
	/* 64 bits, maskable, four vectors. */
	assert_int_equal(get(MSI + PCI_MSI_FLAGS, 2), 0x0184);
}

static void capabilities_fill_config_space_and_no_more(void **state)
{
	struct vfio_device other;
	struct pci_function f;

	assert_int_equal(vfio_device_init(&other, "test", &vfio_ops, NULL), 0);
	pci_function_init(&f, &other, &identity, NULL, NULL);
	assert_int_equal(pci_capability_add(&f, PCI_CAP_ID_VNDR, 1), -ENOSPC);
	assert_int_equal(pci_capability_add(&f, PCI_CAP_ID_VNDR, 193), -ENOSPC);
	assert_int_equal(pci_capability_add(&f, PCI_CAP_ID_VNDR, 5), 0x40);
	assert_int_equal(pci_capability_add(&f, PCI_CAP_ID_VNDR, 184), 0x48);
	assert_int_equal(pci_capability_add(&f, PCI_CAP_ID_VNDR, 2), -ENOSPC);
	assert_int_equal(f.config[0x41], 0x48);
	assert_int_equal(f.config[0x49], 0);
	vfio_device_done(&other);
}

static void power_states(void **state)
{
	set(PM + PCI_PM_CTRL, 2, 3);
	assert_int_equal(power_changes, 1);
	assert_false(power);
	assert_false(pci_powered(&fn));
	assert_int_equal(get(PM + PCI_PM_CTRL, 2), PCI_PM_CTRL_NO_SOFT_RESET | 3);
	/* D1 and D2 do not exist: PCI PM 1.2, 3.2.4. */
	set(PM + PCI_PM_CTRL, 1, 1);
	set(PM + PCI_PM_CTRL, 2, 2);
	set(PM + PCI_PM_CTRL, 4, 1);
	set(PM + PCI_PM_PMC, 4, 0x00010000); /* PMC is read-only; the state is its third byte */
	assert_int_equal(get(PM + PCI_PM_CTRL, 2) & 3, 3);
	assert_int_equal(power_changes, 1);

	set(PM + PCI_PM_CTRL, 2, 0);
	assert_true(power && pci_powered(&fn));
	assert_int_equal(power_changes, 2);
	set(PM + PCI_PM_CTRL, 2, 2);
	assert_int_equal(get(PM + PCI_PM_CTRL, 2) & 3, 0);
	assert_int_equal(power_changes, 2);
}

static void intx_follows_the_device_and_the_command_register(void **state)
{
	int fd = bind(VFIO_PCI_INTX_IRQ_INDEX, 0);
	const uint32_t unmask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;

	pci_intx_set(&fn, true);
	assert_int_equal(signals(fd), 1);
	assert_true(get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	/* Masked until the client unmasks it, and then again: it is still up. */
	assert_int_equal(vfio_irqs_set(&vfio.irqs, unmask, 0, 0, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(signals(fd), 1);

	/* Disabled it is down, but the status bit tells: PCI 3.0, 6.2.3. */
	set(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(vfio_irqs_set(&vfio.irqs, unmask, 0, 0, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(signals(fd), 0);
	assert_true(get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set(PCI_COMMAND + 1, 1, 0);
	assert_int_equal(signals(fd), 1);

	pci_intx_set(&fn, false);
	assert_false(get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(vfio_irqs_set(&vfio.irqs, unmask, 0, 0, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(signals(fd), 0);
	close(fd);
}

static void msi_vectors_are_masked_and_pending(void **state)
{
	int fds[VECTORS];

	for (unsigned int i = 0; i < VECTORS; i++)
		fds[i] = bind(VFIO_PCI_MSI_IRQ_INDEX, i);
	set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pci_msi_raise(&fn, 0);
	assert_int_equal(signals(fds[0]), 1);
	pci_msi_raise(&fn, VECTORS);

	set(MSI + PCI_MSI_MASK_64, 4, 0x6); /* 1 and 2 */
	pci_msi_raise(&fn, 1);
	pci_msi_raise(&fn, 1);
	pci_msi_raise(&fn, 2);
	pci_msi_raise(&fn, 3);
	assert_int_equal(signals(fds[1]) + signals(fds[2]), 0);
	assert_int_equal(signals(fds[3]), 1);
	assert_int_equal(get(MSI + PCI_MSI_PENDING_64, 4), 0x6);

	/* Written by its lowest byte alone. */
	set(MSI + PCI_MSI_MASK_64, 1, 0x4);
	assert_int_equal(signals(fds[1]), 1);
	assert_int_equal(signals(fds[2]), 0);
	assert_int_equal(get(MSI + PCI_MSI_PENDING_64, 4), 0x4);

	/* Off and on again (QEMU unbinds and binds): the mask is the guest's, and stays. */
	assert_int_equal(vfio_irqs_set(&vfio.irqs,
				       VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
				       VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL, 0, NULL, 0),
			 0);
	close(fds[2]);
	fds[2] = bind(VFIO_PCI_MSI_IRQ_INDEX, 2);
	pci_msi_raise(&fn, 2);
	assert_int_equal(signals(fds[2]), 0);
	set(MSI + PCI_MSI_MASK_64, 4, 0);
	assert_int_equal(signals(fds[2]), 1);
	assert_int_equal(get(MSI + PCI_MSI_PENDING_64, 4), 0);
	close_fds(fds, VECTORS);
}

/* PCI 3.0, 6.2.2; PCI PM 1.2, 5.4.1: no memory without a master, no signal at all in D3hot. */
static void interrupts_wait_for_master_and_power(void **state)
{
	int msi = bind(VFIO_PCI_MSI_IRQ_INDEX, 1), intx = bind(VFIO_PCI_INTX_IRQ_INDEX, 0);

	for (unsigned int way = 0; way < 3; way++) {
		set(PCI_COMMAND, 2, way == 1 ? 0 : PCI_COMMAND_MASTER);
		set(PM + PCI_PM_CTRL, 2, way == 2 ? 3 : 0);
		pci_msi_raise(&fn, 1);
		pci_msi_raise(&fn, 1);
		assert_int_equal(signals(msi), way == 0 ? 2 : 0);
		assert_int_equal(get(MSI + PCI_MSI_PENDING_64, 4), way == 0 ? 0 : 2);
		if (way == 2) {
			pci_intx_set(&fn, true);
			assert_int_equal(signals(intx), 0);
		}
		/* A mask holds it, too, whatever else does. */
		set(MSI + PCI_MSI_MASK_64, 4, 2);
		set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		set(PM + PCI_PM_CTRL, 2, 0);
		assert_int_equal(signals(msi), 0);
		assert_int_equal(signals(intx), way == 2);
		set(MSI + PCI_MSI_MASK_64, 4, 0);
		assert_int_equal(signals(msi), way != 0);
		assert_int_equal(get(MSI + PCI_MSI_PENDING_64, 4), 0);
	}

	/* A reset forgets what waits. */
	set(PCI_COMMAND, 2, 0);
	pci_msi_raise(&fn, 1);
	vfio_device_reset(&vfio);
	set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(signals(msi) + signals(intx), 0);
	close(msi);
	close(intx);
}

static void msi_is_offered_once_in_a_power_of_two(void **state)
{
	struct vfio_device other;
	struct pci_function f;

	assert_int_equal(pci_msi_add(&fn, 1), -EINVAL);
	for (unsigned int vectors = 0; vectors <= 64; vectors++) {
		bool good = vectors && vectors <= 32 && !(vectors & (vectors - 1));

		assert_int_equal(vfio_device_init(&other, "test", &vfio_ops, NULL), 0);
		pci_function_init(&f, &other, &identity, NULL, NULL);
		assert_int_equal(pci_msi_add(&f, vectors), good ? 0 : -EINVAL);
		if (good) {
			assert_int_equal(1U << (f.config[MSI - 8 + PCI_MSI_FLAGS] >> 1 & 7),
					 vectors);
			assert_int_equal(get_le32(f.writable + 0x40 + PCI_MSI_MASK_64),
					 vectors == 32 ? 0xffffffff : (1U << vectors) - 1);
		}
		vfio_device_done(&other);
	}
}

static void reset_returns_to_power_on(void **state)
{
	int msi = bind(VFIO_PCI_MSI_IRQ_INDEX, 0), intx = bind(VFIO_PCI_INTX_IRQ_INDEX, 0);
	uint8_t before[256], after[256];

	assert_int_equal(vfio_region_read(config, 0, before, sizeof(before)), 0);
	for (unsigned int i = 0; i < 2; i++) {
		for (uint64_t at = 0; at < 256; at++)
			set(at, 1, 0xff);
		set(PM + PCI_PM_CTRL, 2, 0);
		set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		assert_true(pci_may_master(&fn));
		pci_intx_set(&fn, true);
		set(MSI + PCI_MSI_MASK_64, 4, 1);
		pci_msi_raise(&fn, 0);
		signals(intx);
		if (i == 0)
			vfio_device_reset(&vfio);
		else
			assert_int_equal(vfio_device_disconnect(&vfio, false), 0);
		assert_int_equal(vfio_region_read(config, 0, after, sizeof(after)), 0);
		assert_memory_equal(before, after, sizeof(before));
		assert_false(pci_may_master(&fn));
		assert_true(pci_powered(&fn));
		if (i == 0) {
			/* Bindings stay. Nothing is asserted, masked or pending. */
			assert_int_equal(signals(msi) + signals(intx), 0);
		} else {
			close(msi);
			close(intx);
			msi = bind(VFIO_PCI_MSI_IRQ_INDEX, 0);
			intx = bind(VFIO_PCI_INTX_IRQ_INDEX, 0);
			assert_int_equal(signals(msi) + signals(intx), 0);
		}
		set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		assert_int_equal(signals(msi), 0);
		pci_msi_raise(&fn, 0);
		pci_intx_set(&fn, true);
		assert_int_equal(signals(msi), 1);
		assert_int_equal(signals(intx), 1);
		pci_intx_set(&fn, false);
		vfio_device_reset(&vfio);
	}
	close(msi);
	close(intx);
}

/* --keep-state: what the guest had set is still set, and is still obeyed. */
static void kept_state_is_obeyed(void **state)
{
	int msi = bind(VFIO_PCI_MSI_IRQ_INDEX, 1);

	set(MSI + PCI_MSI_MASK_64, 4, 2);
	set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pci_intx_set(&fn, true);
	close(msi);
	assert_int_equal(vfio_device_disconnect(&vfio, true), 0);

	assert_true(pci_may_master(&fn));
	msi = bind(VFIO_PCI_MSI_IRQ_INDEX, 1);
	pci_msi_raise(&fn, 1);
	assert_int_equal(signals(msi), 0);
	set(MSI + PCI_MSI_MASK_64, 4, 0);
	assert_int_equal(signals(msi), 1);
	close(msi);
	msi = bind(VFIO_PCI_INTX_IRQ_INDEX, 0);
	assert_int_equal(signals(msi), 1);
	close(msi);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_header_says_what_it_is),
		T(every_byte_obeys_its_masks),
		T(config_space_has_an_end),
		T(bars_are_sized_exactly),
		T(every_size_of_bar_works),
		T(bad_bars_are_refused),
		T(the_rom_is_read_only_content),
		T(the_capability_list_can_be_walked),
		T(capabilities_fill_config_space_and_no_more),
		T(power_states),
		T(intx_follows_the_device_and_the_command_register),
		T(msi_vectors_are_masked_and_pending),
		T(interrupts_wait_for_master_and_power),
		T(msi_is_offered_once_in_a_power_of_two),
		T(reset_returns_to_power_on),
		T(kept_state_is_obeyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
