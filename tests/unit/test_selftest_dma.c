/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The selftest device's DMA engine against the contract of selftest_regs.h, with
 * guest memory that is mapped, or travels as messages.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "selftest_fixture.h"
#include "unit.h"

static void dma_sums(void **state)
{
	give_guest_memory();
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_IDLE);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST + 3, 0, 100);
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_BUSY); /* after the answer */
	assert_int_equal(work_until_done(), 1);
	expect_done();
	assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8), sum_of(guest + 3, 100));

	/* In pieces, between which others are served, to the same end. */
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_true(work_until_done() >= 4);
	assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8), sum_of(guest, GUEST_SIZE));
}

static void dma_fills(void **state)
{
	const size_t length = 700001;
	uint8_t before, after;

	give_guest_memory();
	before = guest[4];
	after = guest[5 + length];
	set_reg(SELFTEST_DMA_SEED, 0x1234);
	command(SELFTEST_DMA_COMMAND_FILL, 0, GUEST + 5, length);
	work_until_done();
	expect_done();
	for (size_t n = 0; n < length; n++)
		assert_int_equal(guest[5 + n], SELFTEST_FILL_BYTE(0x1234, n));
	assert_int_equal(guest[4], before);
	assert_int_equal(guest[5 + length], after);
}

static void dma_copies(void **state)
{
	const size_t length = 600000, to = 2 << 20;
	uint8_t after;

	give_guest_memory();
	after = guest[to + length];
	command(SELFTEST_DMA_COMMAND_COPY, GUEST + 1, GUEST + to, length);
	work_until_done();
	expect_done();
	assert_memory_equal(guest + to, guest + 1, length);
	assert_int_equal(guest[to + length], after);
}

static void dma_errors_are_told(void **state)
{
	static const struct {
		uint32_t what;
		uint64_t source, target, length;
		int expected;
	} bad[] = {
		{ 0, GUEST, GUEST, 4, EINVAL },
		{ 4, GUEST, GUEST, 4, EINVAL },
		{ SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 0, EINVAL },
		{ SELFTEST_DMA_COMMAND_SUM, GUEST, 0, SELFTEST_DMA_MAX_LENGTH + 1, EINVAL },
		{ SELFTEST_DMA_COMMAND_SUM, GUEST, 0, UINT64_MAX, EINVAL },
		{ SELFTEST_DMA_COMMAND_SUM, UINT64_MAX - 3, 0, 8, EFAULT },
		{ SELFTEST_DMA_COMMAND_FILL, 0, UINT64_MAX, 1, EFAULT },
		{ SELFTEST_DMA_COMMAND_COPY, GUEST, GUEST + 99, 100, EINVAL },
		{ SELFTEST_DMA_COMMAND_COPY, GUEST + 99, GUEST, 100, EINVAL },
		{ SELFTEST_DMA_COMMAND_SUM, GUEST - 1, 0, 2, EFAULT },
		{ SELFTEST_DMA_COMMAND_SUM, GUEST + GUEST_SIZE - 1, 0, 2, EFAULT },
		{ SELFTEST_DMA_COMMAND_FILL, 0, GUEST + GUEST_SIZE, 1, EFAULT },
		{ SELFTEST_DMA_COMMAND_COPY, GUEST, 0, 16, EFAULT },
		{ SELFTEST_DMA_COMMAND_COPY, 0, GUEST, 16, EFAULT },
	};
	int msi = bind_irq(VFIO_PCI_MSI_IRQ_INDEX, 2);

	give_guest_memory();
	set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_MSI | 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		command(bad[i].what, bad[i].source, bad[i].target, bad[i].length);
		work_until_done();
		if (reg(SELFTEST_DMA_ERROR) != (uint32_t)bad[i].expected)
			fail_msg("command %zu: error %u", i, reg(SELFTEST_DMA_ERROR));
		expect_failed(bad[i].expected);
		assert_int_equal(signals(msi), 1);
	}

	/* And nothing sticks. */
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 16);
	work_until_done();
	expect_done();
	close(msi);
}

static void dma_needs_the_maps_permission(void **state)
{
	give_guest_memory();
	assert_int_equal(
		vfio_dma_map(&device->vfio.dma, MESSAGES, 4096, VFIO_DMA_MAP_FLAG_READ, -1, 0), 0);
	command(SELFTEST_DMA_COMMAND_FILL, 0, MESSAGES, 16);
	work_until_done();
	expect_failed(EFAULT);
}

static void dma_needs_bus_mastering(void **state)
{
	give_guest_memory();
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 16);
	work_until_done();
	expect_failed(EPERM);

	/* Taken away on the way. */
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_true(vfio_device_run(&device->vfio));
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_BUSY);
	set(CONFIG, PCI_COMMAND, 2, 0);
	assert_int_equal(work_until_done(), 1);
	expect_failed(EPERM);
}

/* PCI PM 1.2, 5.4.1: a function in D3hot does not master the bus. */
static void dma_needs_power(void **state)
{
	uint64_t pm = get(CONFIG, PCI_CAPABILITY_LIST, 1);

	give_guest_memory();
	assert_int_equal(get(CONFIG, pm, 1), PCI_CAP_ID_PM);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_true(vfio_device_run(&device->vfio));
	set(CONFIG, pm + PCI_PM_CTRL, 2, 3);
	work_until_done();
	expect_failed(EPERM);
	set(CONFIG, pm + PCI_PM_CTRL, 2, 0);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 16);
	work_until_done();
	expect_done();
}

static void dma_stops_where_memory_went_away(void **state)
{
	give_guest_memory();
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, GUEST_SIZE);
	assert_true(vfio_device_run(&device->vfio));
	assert_int_equal(vfio_dma_unmap(&device->vfio.dma, GUEST, GUEST_SIZE), 0);
	work_until_done();
	expect_failed(EFAULT);
}

static void a_command_while_busy_is_ignored(void **state)
{
	give_guest_memory();
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 64);
	/* The registers may be set up for the next one meanwhile. */
	command(SELFTEST_DMA_COMMAND_FILL, 0, GUEST, 32);
	work_until_done();
	expect_done();
	assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8), sum_of(guest, 64));
}

static void completions_come_as_asked(void **state)
{
	int intx = bind_irq(VFIO_PCI_INTX_IRQ_INDEX, 0), msi = bind_irq(VFIO_PCI_MSI_IRQ_INDEX, 5);
	int msix = bind_irq(VFIO_PCI_MSIX_IRQ_INDEX, 17);

	give_guest_memory();
	set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_MSIX | 17);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 64);
	work_until_done();
	assert_int_equal(signals(msix), 1);
	close(msix);

	set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_MSI | 5);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 64);
	assert_int_equal(signals(msi), 0);
	work_until_done();
	assert_int_equal(signals(msi), 1);

	set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_INTX);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 64);
	work_until_done();
	assert_int_equal(signals(intx), 1);
	assert_int_equal(reg(SELFTEST_INTX), 1);
	set_reg(SELFTEST_INTX, 0);

	set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_NONE);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST, 0, 64);
	work_until_done();
	assert_int_equal(signals(msi) + reg(SELFTEST_INTX), 0);
	close(intx);
	close(msi);
}

/* A client that is asked for bytes, and does something else before it answers. */
static struct {
	uint8_t memory[1 << 20];
	unsigned int reads, writes;
	int answer;
	void (*meanwhile)(void);
} client;

static int client_read(void *opaque, uint64_t iova, void *buf, size_t length)
{
	client.reads++;
	if (client.meanwhile)
		client.meanwhile();
	memcpy(buf, client.memory + (iova - MESSAGES), length);
	return client.answer;
}

static int client_write(void *opaque, uint64_t iova, const void *buf, size_t length)
{
	client.writes++;
	if (client.meanwhile)
		client.meanwhile();
	memcpy(client.memory + (iova - MESSAGES), buf, length);
	return client.answer;
}

static void give_client_memory(void)
{
	static const struct vfio_dma_ops ops = { .read = client_read, .write = client_write };

	memset(&client, 0, sizeof(client));
	for (size_t i = 0; i < sizeof(client.memory); i++)
		client.memory[i] = (uint8_t)(i * 31 + (i >> 7));
	assert_int_equal(
		vfio_dma_map(&device->vfio.dma, MESSAGES, sizeof(client.memory), DMA_RW, -1, 0), 0);
	vfio_dma_set_ops(&device->vfio.dma, &ops, NULL);
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
}

static void dma_works_by_message(void **state)
{
	const size_t length = 500000;

	give_guest_memory();
	give_client_memory();
	command(SELFTEST_DMA_COMMAND_SUM, MESSAGES, 0, sizeof(client.memory));
	work_until_done();
	expect_done();
	assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8),
			 sum_of(client.memory, sizeof(client.memory)));

	command(SELFTEST_DMA_COMMAND_COPY, GUEST, MESSAGES + 7, length);
	work_until_done();
	expect_done();
	assert_memory_equal(client.memory + 7, guest, length);
	command(SELFTEST_DMA_COMMAND_COPY, MESSAGES + 100, GUEST + 3, length);
	work_until_done();
	assert_memory_equal(guest + 3, client.memory + 100, length);

	set_reg(SELFTEST_DMA_SEED, 9);
	command(SELFTEST_DMA_COMMAND_FILL, 0, MESSAGES, length);
	work_until_done();
	for (size_t n = 0; n < length; n++)
		assert_int_equal(client.memory[n], SELFTEST_FILL_BYTE(9, n));

	client.answer = -ENODEV;
	command(SELFTEST_DMA_COMMAND_SUM, MESSAGES, 0, 16);
	work_until_done();
	expect_failed(ENODEV);
}

static void reset_it(void)
{
	client.meanwhile = NULL;
	vfio_device_reset(&device->vfio);
}

/* Resets, and gives it another command at once. */
static void reset_and_reuse(void)
{
	reset_it();
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	command(SELFTEST_DMA_COMMAND_SUM, GUEST + 8, 0, 24);
}

static void a_reset_on_the_way_forgets_the_command(void **state)
{
	int msi = bind_irq(VFIO_PCI_MSI_IRQ_INDEX, 1);

	give_guest_memory();
	give_client_memory();
	for (uint32_t what = SELFTEST_DMA_COMMAND_SUM; what <= SELFTEST_DMA_COMMAND_COPY; what++) {
		uint8_t before[64];

		memcpy(before, guest + 4096, sizeof(before));
		set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		set_reg(SELFTEST_DMA_COMPLETION, SELFTEST_COMPLETION_MSI | 1);
		client.meanwhile = reset_it;
		command(what, MESSAGES, what == SELFTEST_DMA_COMMAND_FILL ? MESSAGES : GUEST + 4096,
			64);
		assert_true(vfio_device_run(&device->vfio));
		assert_null(client.meanwhile);
		assert_false(vfio_device_run(&device->vfio));
		assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_IDLE);
		assert_int_equal(get(REGS, SELFTEST_DMA_LENGTH, 8), 0);
		assert_int_equal(signals(msi), 0);
		/* What was still to be written was not. */
		assert_memory_equal(guest + 4096, before, sizeof(before));

		set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		client.meanwhile = reset_and_reuse;
		command(what, MESSAGES, what == SELFTEST_DMA_COMMAND_FILL ? MESSAGES : GUEST + 4096,
			64);
		work_until_done();
		expect_done();
		assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8), sum_of(guest + 8, 24));
	}
	close(msi);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, selftest_setup, selftest_teardown)
	const struct CMUnitTest tests[] = {
		T(dma_sums),
		T(dma_fills),
		T(dma_copies),
		T(dma_errors_are_told),
		T(dma_needs_the_maps_permission),
		T(dma_needs_bus_mastering),
		T(dma_needs_power),
		T(dma_stops_where_memory_went_away),
		T(a_command_while_busy_is_ignored),
		T(completions_come_as_asked),
		T(dma_works_by_message),
		T(a_reset_on_the_way_forgets_the_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
