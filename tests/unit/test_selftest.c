/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The selftest device against the contract of selftest_regs.h: identity, regions,
 * registers, interrupts, reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "selftest_fixture.h"
#include "unit.h"

static void it_is_what_its_header_says(void **state)
{
	const struct vfio_region *r = device->vfio.regions;

	assert_true(vfio_device_is_valid(&device->vfio));
	assert_null(device->scanout);
	assert_int_equal(get(CONFIG, PCI_VENDOR_ID, 4), 0x7e571234);
	assert_int_equal(get(CONFIG, PCI_CLASS_REVISION, 4), 0xff000001);
	assert_int_equal(get(CONFIG, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(r[0].flags, RW);
	assert_int_equal(r[0].size, SELFTEST_REGS_SIZE);
	assert_int_equal(r[1].flags, RW);
	assert_int_equal(r[1].size, SELFTEST_MSIX_SIZE);
	assert_int_equal(r[2].flags, MAPPED);
	assert_int_equal(r[2].size, SELFTEST_MIXED_SIZE);
	assert_int_equal(r[2].n_areas, 2);
	assert_int_equal(r[3].size, 0);
	assert_int_equal(r[4].flags, MAPPED);
	assert_int_equal(r[4].n_areas, 0);
	assert_int_equal(r[4].size, 16 << 20);
	assert_int_equal(r[5].size, 0);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_0, 4), 0);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_2, 4), 0xc);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_4, 4), 0xc);

	assert_int_equal(reg(SELFTEST_ID), SELFTEST_ID_VALUE);
	assert_int_equal(reg(SELFTEST_REVISION), 1);
	assert_int_equal(reg(SELFTEST_N_MSI), 32);
	assert_int_equal(device->vfio.irqs.index[VFIO_PCI_MSI_IRQ_INDEX].count, 32);
	assert_int_equal(reg(SELFTEST_N_MSIX), 64);
	assert_int_equal(device->vfio.irqs.index[VFIO_PCI_MSIX_IRQ_INDEX].count, 64);
	assert_int_equal(reg(SELFTEST_N_DOORBELLS), SELFTEST_DOORBELLS);
}

/* What a register file that is a few bytes too long would show. */
static void what_is_not_listed_reads_as_zero(void **state)
{
	static const uint64_t holes[] = { 0x014,
					  0x048,
					  0x07c,
					  0x094,
					  0x0fc,
					  0x12c,
					  0x138,
					  0x1fc,
					  0x280,
					  0xffc,
					  0x1000,
					  0x1040,
					  SELFTEST_REGS_SIZE - 4 };

	for (uint64_t at = 0; at < SELFTEST_REGS_SIZE; at += 4)
		if (at < SELFTEST_INTX || at > SELFTEST_REQ)
			set_reg(at, 0xffffffff);
	for (size_t i = 0; i < ARRAY_SIZE(holes); i++)
		if (reg(holes[i]))
			fail_msg("0x%llx reads as %#x", (unsigned long long)holes[i],
				 reg(holes[i]));
	assert_int_equal(get(REGS, SELFTEST_REGS_SIZE - 8, 8), 0);
	assert_int_equal(reg(SELFTEST_ID), SELFTEST_ID_VALUE); /* constants are constant */
	assert_int_equal(reg(SELFTEST_N_MSI), 32);
	assert_int_equal(reg(SELFTEST_RUNG(3)), 1);
}

static void scratch_takes_any_width(void **state)
{
	static const struct {
		uint64_t offset, value;
		unsigned int width;
		uint64_t expected;
	} writes[] = {
		{ 0, 0x1122334455667788, 8, 0x1122334455667788 },
		{ 0, 0xaa, 1, 0x11223344556677aa },
		{ 7, 0xbb, 1, 0xbb223344556677aa },
		{ 2, 0xcccc, 2, 0xbb223344cccc77aa },
		{ 4, 0xdddddddd, 4, 0xddddddddcccc77aa },
	};

	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		set(REGS, SELFTEST_SCRATCH + writes[i].offset, writes[i].width, writes[i].value);
		assert_int_equal(get(REGS, SELFTEST_SCRATCH, 8), writes[i].expected);
		assert_int_equal(reg(SELFTEST_LAST_OFFSET), SELFTEST_SCRATCH + writes[i].offset);
		assert_int_equal(reg(SELFTEST_LAST_WIDTH), writes[i].width);
		assert_int_equal(get(REGS, SELFTEST_LAST_VALUE, 8), writes[i].value);
		assert_int_equal(get(REGS, SELFTEST_WRITES, 8), i + 1);
	}
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(get(REGS, SELFTEST_SCRATCH + i, 1),
				 0xddddddddcccc77aa >> 8 * i & 0xff);
	set(REGS, SELFTEST_LAST_WIDTH, 4, 9); /* read-only */
	assert_int_equal(reg(SELFTEST_LAST_WIDTH), 4);
}

static void sum_adds(void **state)
{
	set(REGS, SELFTEST_SUM, 8, 0xffffffff);
	set(REGS, SELFTEST_SUM, 4, 1);
	assert_int_equal(get(REGS, SELFTEST_SUM, 8), 0x100000000);
	set(REGS, SELFTEST_SUM + 4, 4, 2);
	assert_int_equal(get(REGS, SELFTEST_SUM, 8), 0x300000000);
	set(REGS, SELFTEST_SUM, 2, 1); /* narrow: ignored, but it came */
	set(REGS, SELFTEST_SUM, 8, ~0ULL);
	assert_int_equal(get(REGS, SELFTEST_SUM, 8), 0x2ffffffff);
	assert_int_equal(reg(SELFTEST_SUM + 4), 2);
	assert_int_equal(get(REGS, SELFTEST_WRITES, 8), 5);
}

static void interrupts_are_raised(void **state)
{
	int intx = bind_irq(VFIO_PCI_INTX_IRQ_INDEX, 0), msi = bind_irq(VFIO_PCI_MSI_IRQ_INDEX, 31);
	int msix = bind_irq(VFIO_PCI_MSIX_IRQ_INDEX, 63);
	int err = bind_irq(VFIO_PCI_ERR_IRQ_INDEX, 0), req = bind_irq(VFIO_PCI_REQ_IRQ_INDEX, 0);

	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	set_reg(SELFTEST_INTX, 1);
	assert_int_equal(signals(intx), 1);
	assert_int_equal(reg(SELFTEST_INTX), 1);
	assert_true(get(CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set_reg(SELFTEST_INTX, 0);
	assert_int_equal(reg(SELFTEST_INTX), 0);
	assert_false(get(CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);

	set_reg(SELFTEST_MSI, 31);
	assert_int_equal(signals(msi), 1);
	set_reg(SELFTEST_MSI, 32);
	set_reg(SELFTEST_MSI, UINT32_MAX);
	assert_int_equal(signals(msi), 0);
	set_reg(SELFTEST_MSIX, 63);
	assert_int_equal(signals(msix), 1);
	set_reg(SELFTEST_MSIX, 64);
	set_reg(SELFTEST_MSIX, UINT32_MAX);
	assert_int_equal(signals(msix), 0);
	set_reg(SELFTEST_ERR, 0);
	set_reg(SELFTEST_ERR, 1);
	assert_int_equal(signals(err), 1);
	set_reg(SELFTEST_REQ, 0);
	assert_int_equal(signals(req), 1);
	close(intx);
	close(msi);
	close(msix);
	close(err);
	close(req);
}

static void msix_table_is_in_bar_1(void **state)
{
	int fd = bind_irq(VFIO_PCI_MSIX_IRQ_INDEX, 63);

	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(get(MSIX, 63 * 16 + 12, 4), 1); /* masked */
	set(MSIX, 63 * 16 + 8, 4, 0x1234);
	set_reg(SELFTEST_MSIX, 63);
	assert_int_equal(signals(fd), 0);
	assert_int_equal(get(MSIX, SELFTEST_MSIX_PBA, 8), 1ULL << 63);
	set(MSIX, 63 * 16 + 12, 4, 0);
	assert_int_equal(signals(fd), 1);
	assert_int_equal(get(MSIX, SELFTEST_MSIX_PBA, 8), 0);
	set(MSIX, 64 * 16, 8, ~0ULL); /* behind the table */
	assert_int_equal(get(MSIX, 64 * 16, 8), 0);
	assert_int_equal(get(MSIX, SELFTEST_MSIX_SIZE - 1, 1), 0);
	close(fd);
}

static void mixed_bar_holds_what_was_written(void **state)
{
	static const struct {
		uint64_t at;
		bool mapped;
	} places[] = {
		{ 0x0000, false }, { 0x0ff8, false }, { 0x1000, true }, { 0x1ff8, true },
		{ 0x2000, false }, { 0x3ff8, false }, { 0x4000, true }, { 0xbff8, true },
		{ 0xc000, false }, { 0xfff8, false },
	};
	const struct vfio_region *region = &device->vfio.regions[MIXED];
	uint8_t *mapping = mmap(NULL, SELFTEST_MIXED_SIZE, PROT_READ, MAP_SHARED, region->fd, 0);

	assert_ptr_not_equal(mapping, MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t at = places[i].at, value = 0x0101010101010101 * (i + 1);

		set(MIXED, at, 8, value);
		assert_int_equal(get(MIXED, at, 8), value);
		assert_int_equal(get(MIXED, at + 6, 1), value & 0xff);
		/* Who maps more than the areas finds nothing of the rest. */
		assert_int_equal(get_le64(mapping + at), places[i].mapped ? value : 0);
	}
	munmap(mapping, SELFTEST_MIXED_SIZE);
}

static void aperture_is_memory(void **state)
{
	const struct vfio_region *region = &device->vfio.regions[APERTURE];
	uint8_t *mapping = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd,
				(off_t)region->fd_offset);

	assert_ptr_not_equal(mapping, MAP_FAILED);
	mapping[region->size - 1] = 0x5a;
	assert_int_equal(get(APERTURE, region->size - 1, 1), 0x5a);
	set(APERTURE, 0, 4, 0xdeadbeef);
	assert_int_equal(get_le32(mapping), 0xdeadbeef);
	munmap(mapping, region->size);
}

static void rom_has_an_image_that_nobody_runs(void **state)
{
	uint64_t pcir = get(ROM, 0x18, 2);

	assert_int_equal(device->vfio.regions[ROM].size, SELFTEST_ROM_SIZE);
	assert_int_equal(get(ROM, 0, 2), 0xaa55);
	assert_int_equal(get(ROM, 2, 1), SELFTEST_ROM_SIZE / 512);
	assert_int_equal(get(ROM, pcir, 4), 0x52494350); /* "PCIR" */
	assert_int_equal(get(ROM, pcir + 4, 4), 0x7e571234);
	assert_int_equal(get(ROM, pcir + 16, 2), SELFTEST_ROM_SIZE / 512);
	assert_true(get(ROM, pcir + 20, 1) > 3); /* the code types that there are */
	assert_int_equal(get(ROM, pcir + 21, 1), 0x80);
	for (uint64_t n = SELFTEST_ROM_PATTERN; n < SELFTEST_ROM_SIZE; n++)
		assert_int_equal(get(ROM, n, 1), SELFTEST_ROM_BYTE(n));
	assert_int_equal(vfio_region_write(&device->vfio.regions[ROM], 0x200, "", 1), -EINVAL);
}

static void doorbells_ring(void **state)
{
	struct vfio_region *region = &device->vfio.regions[REGS];
	const uint64_t three = 3;

	set_reg(SELFTEST_DOORBELL(0), 7);
	set_reg(SELFTEST_DOORBELL(0), 8);
	set(REGS, SELFTEST_DOORBELL(14), 8, 0x2222222211111111);
	set(REGS, SELFTEST_DOORBELL(5), 2, 1); /* too narrow to be one */
	set_reg(SELFTEST_DOORBELL(SELFTEST_DOORBELLS), 1);
	assert_int_equal(reg(SELFTEST_RUNG(0)), 2);
	assert_int_equal(reg(SELFTEST_RUNG_VALUE(0)), 8);
	assert_int_equal(reg(SELFTEST_RUNG_VALUE(14)), 0x11111111);
	assert_int_equal(reg(SELFTEST_RUNG(15)), 1);
	assert_int_equal(reg(SELFTEST_RUNG_VALUE(15)), 0x22222222);
	assert_int_equal(reg(SELFTEST_RUNG(5)), 0);

	assert_int_equal(region->n_doorbells, SELFTEST_DOORBELLS);
	assert_int_equal(vfio_region_open_doorbells(region), 0);
	assert_int_equal(region->doorbells[5].offset, SELFTEST_DOORBELL(5));
	assert_int_equal(write(region->doorbells[5].fd, &three, sizeof(three)), sizeof(three));
	vfio_region_doorbell_event(region, 5);
	vfio_region_doorbell_event(region, 5);
	assert_int_equal(reg(SELFTEST_RUNG(5)), 1);
	assert_int_equal(reg(SELFTEST_RUNG_VALUE(5)), 0);
	vfio_region_close_doorbells(region);
}

static void reset_returns_registers_and_keeps_memory(void **state)
{
	int intx = bind_irq(VFIO_PCI_INTX_IRQ_INDEX, 0);

	give_guest_memory();
	set(APERTURE, 64, 8, 0x1122);
	set(MIXED, 0, 8, 0x33);
	set(MIXED, 0x4000, 8, 0x44);
	set(REGS, SELFTEST_SCRATCH, 8, 5);
	set_reg(SELFTEST_DOORBELL(1), 5);
	set_reg(SELFTEST_INTX, 1);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_true(vfio_device_run(&device->vfio));

	vfio_device_reset(&device->vfio);
	assert_false(vfio_device_run(&device->vfio));
	for (uint64_t at = 0; at < SELFTEST_REGS_SIZE; at += 4)
		if (at != SELFTEST_ID && at != SELFTEST_REVISION && at != SELFTEST_N_MSI &&
		    at != SELFTEST_N_MSIX && at != SELFTEST_N_DOORBELLS)
			assert_int_equal(reg(at), 0);
	assert_int_equal(reg(SELFTEST_ID), SELFTEST_ID_VALUE);
	assert_int_equal(reg(SELFTEST_N_MSI), 32);
	assert_int_equal(get(CONFIG, PCI_COMMAND, 2), 0);
	assert_int_equal(get(APERTURE, 64, 8), 0x1122);
	assert_int_equal(get(MIXED, 0, 8), 0x33);
	assert_int_equal(get(MIXED, 0x4000, 8), 0x44);

	/* Maps and eventfds stay. */
	assert_int_equal(signals(intx), 1);
	set_reg(SELFTEST_INTX, 1);
	assert_int_equal(signals(intx), 1);
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 8);
	work_until_done();
	expect_done();
	close(intx);
}

static void the_next_client_finds_nothing(void **state)
{
	struct vfio_region *regions = device->vfio.regions;
	uint8_t *old =
		mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, regions[APERTURE].fd, 0);

	set(APERTURE, 64, 8, 0x1122);
	set(MIXED, 0, 8, 0x33);
	set(MIXED, 0x4000, 8, 0x44);
	set(REGS, SELFTEST_SCRATCH, 8, 5);
	assert_int_equal(vfio_device_disconnect(&device->vfio, false), 0);
	assert_int_equal(get(APERTURE, 64, 8), 0);
	assert_int_equal(get(MIXED, 0, 8), 0);
	assert_int_equal(get(MIXED, 0x4000, 8), 0);
	assert_int_equal(get(REGS, SELFTEST_SCRATCH, 8), 0);
	set(APERTURE, 64, 8, 0x55);
	assert_int_equal(get_le64(old + 64), 0x1122);
	old[0] = 0xff;
	assert_int_equal(get(APERTURE, 0, 1), 0);
	assert_true(vfio_device_is_valid(&device->vfio));
	munmap(old, 16 << 20);
}

/* A command that was under way when its client left ends: the next one can give another. */
static void kept_state_does_not_stay_busy(void **state)
{
	give_guest_memory();
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_int_equal(vfio_device_disconnect(&device->vfio, true), 0);
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_BUSY);
	work_until_done();
	expect_failed(EFAULT);
}

static void nothing_is_mapped_if_asked(void **state)
{
	static const char *const options[][2] = {
		{ "aperture", "1M" }, { "mmap", "off" }, { "msi", "0" }, { "msix", "0" }
	};

	selftest_teardown(NULL);
	assert_int_equal(selftest_create(options, ARRAY_SIZE(options)), 0);
	assert_true(vfio_device_is_valid(&device->vfio));
	for (unsigned int i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		assert_false(device->vfio.regions[i].flags & VFIO_REGION_INFO_FLAG_MMAP);
	set(MIXED, 0x1000, 4, 1);
	set(MIXED, 0, 4, 2);
	set(APERTURE, (1 << 20) - 4, 4, 3);
	assert_int_equal(get(MIXED, 0x1000, 4), 1);
	assert_int_equal(get(MIXED, 0, 4), 2);
	assert_int_equal(get(APERTURE, (1 << 20) - 4, 4), 3);
	assert_int_equal(vfio_device_disconnect(&device->vfio, false), 0);
	assert_int_equal(get(MIXED, 0, 4) | get(APERTURE, (1 << 20) - 4, 4), 0);

	assert_int_equal(reg(SELFTEST_N_MSI), 0);
	assert_int_equal(device->vfio.irqs.index[VFIO_PCI_MSI_IRQ_INDEX].count, 0);
	set_reg(SELFTEST_MSI, 0);
	assert_int_equal(reg(SELFTEST_N_MSIX), 0);
	set_reg(SELFTEST_MSIX, 0);
	set(MSIX, 0, 4, 1);
	assert_int_equal(get(MSIX, 0, 4), 0);
	assert_false(get(CONFIG, get(CONFIG, PCI_CAPABILITY_LIST, 1) + 1, 1)); /* PM is all */
}

static void the_aperture_is_beyond_4_gib_by_default(void **state)
{
	struct vfio_region *region;

	selftest_teardown(NULL);
	assert_int_equal(selftest_create(NULL, 0), 0);
	region = &device->vfio.regions[APERTURE];
	assert_true(region->size > UINT32_MAX);
	set(APERTURE, region->size - 4, 4, 0x1234);
	assert_int_equal(get(APERTURE, region->size - 4, 4), 0x1234);
	set(CONFIG, PCI_BASE_ADDRESS_4, 4, ~0U);
	set(CONFIG, PCI_BASE_ADDRESS_5, 4, ~0U);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_4, 4), 0xc);
	assert_int_equal(get(CONFIG, PCI_BASE_ADDRESS_5, 4), -(region->size >> 32) & 0xffffffff);
}

static void options_are_checked(void **state)
{
	static const char *const bad[][2] = {
		{ "msi", "3" },		 { "msi", "64" },	{ "msi", "x" },
		{ "msix", "2049" },	 { "aperture", "3M" },	{ "aperture", "4K" },
		{ "aperture", "2048G" }, { "aperture", "big" }, { "mmap", "yes" },
		{ "mmap", "" },		 { "vram", "16M" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct device *before = device;

		assert_int_equal(selftest_create(&bad[i], 1), -EINVAL);
		assert_ptr_equal(device, before);
		assert_non_null(error);
		assert_non_null(strstr(error, bad[i][0]));
		free(error);
		error = NULL;
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, selftest_setup, selftest_teardown)
	const struct CMUnitTest tests[] = {
		T(it_is_what_its_header_says),
		T(what_is_not_listed_reads_as_zero),
		T(scratch_takes_any_width),
		T(sum_adds),
		T(interrupts_are_raised),
		T(msix_table_is_in_bar_1),
		T(mixed_bar_holds_what_was_written),
		T(aperture_is_memory),
		T(rom_has_an_image_that_nobody_runs),
		T(doorbells_ring),
		T(reset_returns_registers_and_keeps_memory),
		T(the_next_client_finds_nothing),
		T(kept_state_does_not_stay_busy),
		T(nothing_is_mapped_if_asked),
		T(the_aperture_is_beyond_4_gib_by_default),
		T(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
