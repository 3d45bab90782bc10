/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "selftest.h"

uint32_t st_get(struct check_run *t, uint64_t reg)
{
	return (uint32_t)check_read(t, SELFTEST_BAR_REGS, reg, 4);
}

uint64_t st_get64(struct check_run *t, uint64_t reg)
{
	return check_read(t, SELFTEST_BAR_REGS, reg, 8);
}

void st_put(struct check_run *t, uint64_t reg, uint32_t value)
{
	check_write(t, SELFTEST_BAR_REGS, reg, 4, value);
}

void st_put64(struct check_run *t, uint64_t reg, uint64_t value)
{
	check_write(t, SELFTEST_BAR_REGS, reg, 8, value);
}

void st_bus_master(struct check_run *t, bool on)
{
	check_write(t, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2,
		    PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0));
}

void st_start(struct check_run *t, const struct st_dma *dma)
{
	st_put64(t, SELFTEST_DMA_SOURCE, dma->source);
	st_put64(t, SELFTEST_DMA_TARGET, dma->target);
	st_put64(t, SELFTEST_DMA_LENGTH, dma->length);
	st_put(t, SELFTEST_DMA_SEED, dma->seed);
	st_put(t, SELFTEST_DMA_COMPLETION, dma->completion);
	st_put(t, SELFTEST_DMA_COMMAND, dma->command);
}

uint32_t st_wait(struct check_run *t)
{
	uint64_t deadline_ns = clock_ns() + (uint64_t)t->timeout_ms * 1000000;
	uint32_t status;

	do
		status = st_get(t, SELFTEST_DMA_STATUS);
	while (status == SELFTEST_DMA_STATUS_BUSY && clock_ns() < deadline_ns);
	return status;
}

uint64_t st_run(struct check_run *t, const struct st_dma *dma, const char *what)
{
	uint32_t status;

	st_start(t, dma);
	status = st_wait(t);
	EXPECT(t, status == SELFTEST_DMA_STATUS_DONE,
	       "%s: expected status %d (done); came: %u, error %u (%s)", what,
	       SELFTEST_DMA_STATUS_DONE, status, st_get(t, SELFTEST_DMA_ERROR),
	       probe_result(-(int)st_get(t, SELFTEST_DMA_ERROR)));
	EXPECT(t, st_get(t, SELFTEST_DMA_ERROR) == 0, "%s: done, with an error", what);
	return st_get64(t, SELFTEST_DMA_RESULT);
}

uint32_t st_run_failing(struct check_run *t, const struct st_dma *dma, const char *what)
{
	uint32_t status, error;

	st_start(t, dma);
	status = st_wait(t);
	EXPECT(t, status == SELFTEST_DMA_STATUS_FAILED, "%s: expected status %d (failed); came: %u",
	       what, SELFTEST_DMA_STATUS_FAILED, status);
	error = st_get(t, SELFTEST_DMA_ERROR);
	EXPECT(t, error, "%s: failed, without an error", what);
	return error;
}

uint64_t st_sum(const uint8_t *data, uint64_t length)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < length; i++)
		sum = SELFTEST_SUM_STEP(sum, data[i]);
	return sum;
}

struct guest_range *st_memory(struct check_run *t, uint64_t iova, uint64_t size, bool by_fd)
{
	struct guest_range *range = check_memory(t, iova, size);

	for (uint64_t i = 0; i < size; i++)
		range->data[i] = (uint8_t)(i * 11 + (i >> 9) + (iova >> 12));
	check_ok(t,
		 t->dev->ops->dma_map(t->dev, iova, size,
				      VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
				      by_fd ? range->fd : -1, 0),
		 "DMA_MAP");
	return range;
}

void st_expect_sum(struct check_run *t, const struct guest_range *range, uint64_t offset,
		   uint64_t length)
{
	struct st_dma dma = { .command = SELFTEST_DMA_COMMAND_SUM,
			      .source = range->iova + offset,
			      .length = length };
	uint64_t got = st_run(t, &dma, "SUM"), expected = st_sum(range->data + offset, length);

	EXPECT(t, got == expected, "SUM of %llu bytes at %#llx is %#llx, expected %#llx",
	       (unsigned long long)length, (unsigned long long)dma.source, (unsigned long long)got,
	       (unsigned long long)expected);
}

void st_expect_fill(struct check_run *t, struct guest_range *range, uint64_t offset,
		    uint64_t length)
{
	struct st_dma dma = { .command = SELFTEST_DMA_COMMAND_FILL,
			      .target = range->iova + offset,
			      .length = length,
			      .seed = 0x7e };
	uint8_t before = offset ? range->data[offset - 1] : 0;
	uint8_t after = offset + length < range->size ? range->data[offset + length] : 0;

	st_run(t, &dma, "FILL");
	for (uint64_t i = 0; i < length; i++)
		EXPECT(t, range->data[offset + i] == SELFTEST_FILL_BYTE(dma.seed, i),
		       "FILL of %llu bytes at %#llx: byte %llu is wrong",
		       (unsigned long long)length, (unsigned long long)dma.target,
		       (unsigned long long)i);
	EXPECT(t, !offset || range->data[offset - 1] == before, "FILL wrote before its target");
	EXPECT(t, offset + length >= range->size || range->data[offset + length] == after,
	       "FILL wrote behind its target");
}

void st_bind(struct check_run *t, uint32_t index, int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		fds[i] = check_eventfd(t);
		check_ok(t,
			 t->dev->ops->set_irqs(
				 t->dev, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				 index, i, 1, NULL, 0, &fds[i], 1),
			 "an eventfd for vector %u of interrupt %u", i, index);
	}
}
