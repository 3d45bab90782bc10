/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "selftest_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/memfd.h"
#include "unit.h"

struct device *device;
char *error;
uint8_t *guest;

int selftest_create(const char *const pairs[][2], size_t n)
{
	struct device_options options = { .n = n };

	for (size_t i = 0; i < n; i++) {
		options.items[i].key = pairs[i][0];
		options.items[i].value = pairs[i][1];
	}
	return device_create("selftest", "test", &options, &device, &error);
}

int selftest_setup(void **state)
{
	static const char *const options[][2] = { { "aperture", "16M" } };

	return selftest_create(options, ARRAY_SIZE(options));
}

int selftest_teardown(void **state)
{
	device_destroy(device);
	device = NULL;
	if (guest)
		munmap(guest, GUEST_SIZE);
	guest = NULL;
	free(error);
	error = NULL;
	return 0;
}

uint64_t get(unsigned int region, uint64_t offset, unsigned int width)
{
	uint8_t buf[8];

	assert_int_equal(vfio_region_read(&device->vfio.regions[region], offset, buf, width), 0);
	return get_le(buf, width);
}

void set(unsigned int region, uint64_t offset, unsigned int width, uint64_t value)
{
	uint8_t buf[8];

	put_le(buf, value, width);
	assert_int_equal(vfio_region_write(&device->vfio.regions[region], offset, buf, width), 0);
}

uint32_t reg(uint64_t offset)
{
	return (uint32_t)get(REGS, offset, 4);
}

void set_reg(uint64_t offset, uint32_t value)
{
	set(REGS, offset, 4, value);
}

int bind_irq(uint32_t index, uint32_t vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), theirs = dup(fd);

	assert_int_equal(vfio_irqs_set(&device->vfio.irqs,
				       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				       index, vector, 1, NULL, 0, &theirs, 1),
			 0);
	return fd;
}

uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* Guest memory at GUEST, by descriptor. */
void give_guest_memory(void)
{
	_cleanup_close_ int fd = memfd_new("guest");

	assert_int_equal(ftruncate(fd, GUEST_SIZE), 0);
	guest = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(guest, MAP_FAILED);
	assert_int_equal(vfio_dma_map(&device->vfio.dma, GUEST, GUEST_SIZE, DMA_RW, fd, 0), 0);
	for (size_t i = 0; i < GUEST_SIZE; i++)
		guest[i] = (uint8_t)(i * 13 + (i >> 9));
	set(CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void command(uint32_t what, uint64_t source, uint64_t target, uint64_t length)
{
	set(REGS, SELFTEST_DMA_SOURCE, 8, source);
	set(REGS, SELFTEST_DMA_TARGET, 8, target);
	set(REGS, SELFTEST_DMA_LENGTH, 8, length);
	set_reg(SELFTEST_DMA_COMMAND, what);
}

unsigned int work_until_done(void)
{
	unsigned int steps = 0;

	while (vfio_device_run(&device->vfio))
		steps++;
	assert_int_not_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_BUSY);
	return steps;
}

uint64_t sum_of(const uint8_t *data, size_t length)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = SELFTEST_SUM_STEP(sum, data[i]);
	return sum;
}

void expect_done(void)
{
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_DONE);
	assert_int_equal(reg(SELFTEST_DMA_ERROR), 0);
}

void expect_failed(int with)
{
	assert_int_equal(reg(SELFTEST_DMA_STATUS), SELFTEST_DMA_STATUS_FAILED);
	assert_int_equal(reg(SELFTEST_DMA_ERROR), with);
	assert_int_equal(get(REGS, SELFTEST_DMA_RESULT, 8), 0);
}
