/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X, PCI 3.0, 6.8.2: as a guest sees it whose VMM hands table and PBA on,
 * and as one does whose VMM keeps a table of its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "pci/function.h"
#include "unit.h"

enum {
	MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,
	VECTORS = 70, /* more than one qword of the PBA */
	BAR = 1,
	TABLE = 0x100,
	PBA = 0x800,
	BAR_SIZE = 0x1000,
};

static struct vfio_device dev;
static struct pci_function fn;
static uint64_t cap;

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned int width)
{
	uint64_t value = 0xeeeeeeeeeeeeeeee;

	pci_msix_read(&fn, BAR, offset, width, &value);
	return value;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	pci_msix_write(&fn, BAR, offset, value, width);
}

static const struct vfio_region_ops bar_ops = {
	.read = bar_read,
	.write = bar_write,
	.max_width = 8,
};

static void reset(void *opaque)
{
	pci_function_reset(&fn);
}

static int power_cycle(void *opaque)
{
	reset(opaque);
	return 0;
}

static const struct vfio_device_ops dev_ops = { .reset = reset, .power_cycle = power_cycle };

static uint64_t get(unsigned int region, uint64_t offset, unsigned int width)
{
	uint8_t buf[8];

	assert_int_equal(vfio_region_read(&dev.regions[region], offset, buf, width), 0);
	return get_le(buf, width);
}

static void set(unsigned int region, uint64_t offset, unsigned int width, uint64_t value)
{
	uint8_t buf[8];

	put_le(buf, value, width);
	assert_int_equal(vfio_region_write(&dev.regions[region], offset, buf, width), 0);
}

static uint64_t find_capability(uint8_t id)
{
	uint64_t at = get(CONFIG, PCI_CAPABILITY_LIST, 1);

	while (at && get(CONFIG, at, 1) != id)
		at = get(CONFIG, at + 1, 1);
	return at;
}

static void make_function(void)
{
	static const struct pci_identity identity = { .vendor = 0x1234, .device = 1 };

	assert_int_equal(vfio_device_init(&dev, "test", &dev_ops, NULL), 0);
	pci_function_init(&fn, &dev, &identity, NULL, NULL);
	dev.regions[BAR].size = BAR_SIZE;
	dev.regions[BAR].flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	dev.regions[BAR].ops = &bar_ops;
	assert_int_equal(pci_bar_add(&fn, BAR, 0), 0);
}

static int setup(void **state)
{
	make_function();
	assert_int_equal(pci_msix_add(&fn, VECTORS, BAR, TABLE, BAR, PBA), 0);
	pci_function_ready(&fn);
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	cap = find_capability(PCI_CAP_ID_MSIX);
	return !cap;
}

static int teardown(void **state)
{
	pci_function_done(&fn);
	vfio_device_done(&dev);
	return 0;
}

static int bind(uint32_t vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), theirs = dup(fd);

	assert_int_equal(vfio_irqs_set(&dev.irqs,
				       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				       MSIX, vector, 1, NULL, 0, &theirs, 1),
			 0);
	return fd;
}

static uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static uint64_t entry(unsigned int vector, unsigned int field)
{
	return TABLE + vector * PCI_MSIX_ENTRY_SIZE + field;
}

static void set_flags(uint16_t flags)
{
	set(CONFIG, cap + PCI_MSIX_FLAGS, 2, flags);
}

static void set_masked(unsigned int vector, bool masked)
{
	set(BAR, entry(vector, PCI_MSIX_ENTRY_VECTOR_CTRL), 4, masked);
}

static bool is_pending(unsigned int vector)
{
	return get(BAR, PBA + vector / 64 * 8, 8) & (uint64_t)1 << vector % 64;
}

static void the_capability_says_where_things_are(void **state)
{
	struct vfio_irq_info info;

	assert_int_equal(get(CONFIG, cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_TABLE, 4), TABLE | BAR);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_PBA, 4), PBA | BAR);
	set(CONFIG, cap + PCI_MSIX_FLAGS, 2, 0xffff);
	set(CONFIG, cap + PCI_MSIX_TABLE, 4, 0xffffffff);
	set(CONFIG, cap + PCI_MSIX_PBA, 4, 0xffffffff);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_FLAGS, 2),
			 (VECTORS - 1) | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_TABLE, 4), TABLE | BAR);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_PBA, 4), PBA | BAR);

	assert_int_equal(vfio_irqs_fill_info(&dev.irqs, MSIX, &info), 0);
	assert_int_equal(info.count, VECTORS);
	assert_int_equal(info.flags, VFIO_IRQ_INFO_EVENTFD); /* vectors come one by one */
}

static void layouts_are_checked(void **state)
{
	static const struct {
		unsigned int vectors, table_bar;
		uint32_t table;
		unsigned int pba_bar;
		uint32_t pba;
	} bad[] = {
		{ 0, BAR, 0, BAR, 0x800 },	   { 2049, BAR, 0, BAR, 0x800 },
		{ 4, 6, 0, BAR, 0x800 },	   { 4, BAR, 0, 6, 0x800 },
		{ 4, 0, 0, BAR, 0x800 }, /* there is no BAR 0 */
		{ 4, BAR, 4, BAR, 0x800 },	   { 4, BAR, 0, BAR, 0x804 },
		{ 4, BAR, BAR_SIZE - 56, BAR, 0 }, { 257, BAR, 0, BAR, 0x800 },
		{ 65, BAR, 0, BAR, BAR_SIZE - 8 }, { 4, BAR, 0x100, BAR, 0x138 },
		{ 4, BAR, 0x100, BAR, 0x100 },	   { 65, BAR, 0x100, BAR, 0xf8 },
		{ 4, BAR, 0xfffffff8, BAR, 0 },
	};

	assert_int_equal(pci_msix_add(&fn, 4, BAR, 0, BAR, 0x800), -EINVAL); /* twice */
	teardown(NULL);
	make_function();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = pci_msix_add(&fn, bad[i].vectors, bad[i].table_bar, bad[i].table,
				     bad[i].pba_bar, bad[i].pba);

		if (r != -EINVAL)
			fail_msg("layout %zu: %d", i, r);
	}
	assert_int_equal(find_capability(PCI_CAP_ID_MSIX), 0);
	assert_int_equal(pci_msix_add(&fn, 64, BAR, 0x100, BAR, 0xf8), 0); /* back to back */
}

static void the_table_is_read_and_written(void **state)
{
	for (unsigned int v = 0; v < VECTORS; v++) {
		assert_int_equal(get(BAR, entry(v, 0), 8), 0);
		assert_int_equal(get(BAR, entry(v, 8), 8), 0x100000000); /* masked after reset */
	}
	set(BAR, entry(3, PCI_MSIX_ENTRY_LOWER_ADDR), 4, 0xffffffff);
	set(BAR, entry(3, PCI_MSIX_ENTRY_UPPER_ADDR), 4, 0x11111111);
	set(BAR, entry(3, PCI_MSIX_ENTRY_DATA), 4, 0x22222222);
	set(BAR, entry(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 4, 0xfffffffe);
	assert_int_equal(get(BAR, entry(3, 0), 8), 0x11111111fffffffc);
	assert_int_equal(get(BAR, entry(3, 8), 8), 0x22222222);
	set(BAR, entry(3, 8), 8, 0xffffffff33333333);
	assert_int_equal(get(BAR, entry(3, PCI_MSIX_ENTRY_DATA), 4), 0x33333333);
	assert_int_equal(get(BAR, entry(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 4), 1);

	/* Widths that the specification does not know. */
	set(BAR, entry(3, PCI_MSIX_ENTRY_DATA), 2, 0);
	set(BAR, entry(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 1, 0);
	assert_int_equal(get(BAR, entry(3, 8), 8), 0x133333333);
	assert_int_equal(get(BAR, entry(3, PCI_MSIX_ENTRY_DATA) + 1, 1), 0x33);

	/* The neighbours are untouched, and what is outside is the device's. */
	assert_int_equal(get(BAR, entry(2, 8), 8), 0x100000000);
	assert_int_equal(get(BAR, entry(4, 0), 8), 0);
	assert_int_equal(get(BAR, TABLE - 8, 8), 0xeeeeeeeeeeeeeeee);
	assert_int_equal(get(BAR, entry(VECTORS, 0), 8), 0xeeeeeeeeeeeeeeee);
	assert_int_equal(get(BAR, PBA - 8, 8), 0xeeeeeeeeeeeeeeee);
	assert_int_equal(get(BAR, PBA + 8, 8), 0);
	assert_int_equal(get(BAR, PBA + 16, 8), 0xeeeeeeeeeeeeeeee);
	assert_false(pci_msix_write(&fn, BAR, TABLE - 4, 0, 4));
	assert_false(pci_msix_write(&fn, BAR + 1, TABLE, 0, 4));
}

/* A VMM like QEMU binds eventfds and writes nothing. */
static void an_unwritten_table_holds_nothing_back(void **state)
{
	int a = bind(0), b = bind(VECTORS - 1);

	pci_msix_raise(&fn, 0);
	pci_msix_raise(&fn, VECTORS - 1);
	pci_msix_raise(&fn, VECTORS); /* a device's mistake goes nowhere */
	assert_int_equal(signals(a), 1);
	assert_int_equal(signals(b), 1);
	assert_false(is_pending(0) || is_pending(VECTORS - 1));
	close(a);
	close(b);
}

static void a_masked_vector_is_pending_until_it_is_not(void **state)
{
	for (unsigned int v = 0; v < VECTORS; v += VECTORS - 1) {
		int fd = bind(v);

		/* As the specification wants it set up: address and data first, then the mask. */
		set(BAR, entry(v, 0), 8, 0xfee00000);
		set(BAR, entry(v, PCI_MSIX_ENTRY_DATA), 4, 0x40);
		pci_msix_raise(&fn, v);
		assert_int_equal(signals(fd), 0);
		assert_true(is_pending(v));
		assert_int_equal(get(BAR, PBA + v / 32 * 4, 4), 1U << v % 32);
		set(BAR, PBA, 8, 0); /* read-only */
		assert_true(is_pending(v));
		pci_msix_raise(&fn, v);

		set_masked(v, false);
		assert_int_equal(signals(fd), 1); /* one message, however often */
		assert_false(is_pending(v));
		pci_msix_raise(&fn, v);
		assert_int_equal(signals(fd), 1);

		set_masked(v, true);
		pci_msix_raise(&fn, v);
		assert_int_equal(signals(fd), 0);
		set(BAR, entry(v, 8), 8, 0x41); /* unmasked by a write of 8 bytes */
		assert_int_equal(signals(fd), 1);
		close(fd);
	}
}

static void function_mask_holds_all_back(void **state)
{
	int a = bind(1), b = bind(2), c = bind(VECTORS - 1);

	set_masked(2, true);
	set_masked(VECTORS - 1, false);
	set_flags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_raise(&fn, 1);
	pci_msix_raise(&fn, 2);
	pci_msix_raise(&fn, VECTORS - 1);
	assert_int_equal(signals(a) + signals(b) + signals(c), 0);
	assert_true(is_pending(1) && is_pending(2) && is_pending(VECTORS - 1));
	/* An entry's own bit does not matter meanwhile. */
	set_masked(2, false);
	assert_int_equal(signals(b), 0);
	set_masked(2, true);

	/* By a byte, as some write it. */
	set(CONFIG, cap + PCI_MSIX_FLAGS + 1, 1, PCI_MSIX_FLAGS_ENABLE >> 8);
	assert_int_equal(signals(a), 1);
	assert_int_equal(signals(b), 0);
	assert_int_equal(signals(c), 1);
	assert_true(is_pending(2));
	set_masked(2, false);
	assert_int_equal(signals(b), 1);
	close(a);
	close(b);
	close(c);
}

/* A message is a write to memory, which only a bus master makes (PCI 3.0, 6.2.2). */
static void messages_wait_for_bus_mastering(void **state)
{
	int a = bind(1), b = bind(2);

	set(CONFIG, PCI_COMMAND, 2, 0);
	set_masked(2, true);
	pci_msix_raise(&fn, 1);
	pci_msix_raise(&fn, 2);
	assert_int_equal(signals(a) + signals(b), 0);
	assert_true(is_pending(1) && is_pending(2));
	/* Nor does a mask that is cleared let them go. */
	set_masked(1, false);
	set_flags(PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(signals(a), 0);
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(signals(a), 1);
	assert_int_equal(signals(b), 0);
	assert_true(!is_pending(1) && is_pending(2));
	set_masked(2, false);
	assert_int_equal(signals(b), 1);
	close(a);
	close(b);
}

static void reset_returns_to_power_on(void **state)
{
	int a = bind(1), b = bind(2);

	set(BAR, entry(1, 0), 8, 0xfee00000);
	pci_msix_raise(&fn, 1);
	set_flags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_raise(&fn, 2);
	assert_true(is_pending(1) && is_pending(2));

	vfio_device_reset(&dev);
	assert_int_equal(get(CONFIG, cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	assert_int_equal(get(BAR, entry(1, 0), 8), 0);
	assert_int_equal(get(BAR, entry(1, 8), 8), 0x100000000);
	assert_false(is_pending(1) || is_pending(2));
	assert_int_equal(signals(a) + signals(b), 0);
	/* Eventfds stay; what the guest had masked does not. */
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pci_msix_raise(&fn, 1);
	pci_msix_raise(&fn, 2);
	assert_int_equal(signals(a), 1);
	assert_int_equal(signals(b), 1);
	/* The first write makes the mask bit, 1 after the reset, count. */
	set(BAR, entry(1, PCI_MSIX_ENTRY_DATA), 4, 1);
	pci_msix_raise(&fn, 1);
	assert_int_equal(signals(a), 0);
	assert_true(is_pending(1));
	close(a);
	close(b);
}

static void the_largest_table_works(void **state)
{
	int fd;

	teardown(NULL);
	make_function();
	dev.regions[2].size = 0x10000;
	dev.regions[2].flags = dev.regions[BAR].flags;
	assert_int_equal(pci_bar_add(&fn, 2, 0), 0);
	assert_int_equal(pci_msix_add(&fn, PCI_MSIX_MAX_VECTORS, 2, 0, BAR, 0), 0);
	pci_function_ready(&fn);
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	fd = bind(PCI_MSIX_MAX_VECTORS - 1);
	assert_true(pci_msix_write(&fn, 2, 0x8000 - 8, 0, 4));
	assert_false(pci_msix_write(&fn, 2, 0x8000, 0, 4));
	pci_msix_raise(&fn, PCI_MSIX_MAX_VECTORS - 1);
	assert_int_equal(signals(fd), 0);
	assert_int_equal(get(BAR, PCI_MSIX_MAX_VECTORS / 8 - 1, 1), 0x80);
	assert_true(pci_msix_write(&fn, 2, 0x8000 - 4, 0, 4));
	assert_int_equal(signals(fd), 1);
	close(fd);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_capability_says_where_things_are),
		T(layouts_are_checked),
		T(the_table_is_read_and_written),
		T(an_unwritten_table_holds_nothing_back),
		T(a_masked_vector_is_pending_until_it_is_not),
		T(function_mask_holds_all_back),
		T(messages_wait_for_bus_mastering),
		T(reset_returns_to_power_on),
		T(the_largest_table_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
