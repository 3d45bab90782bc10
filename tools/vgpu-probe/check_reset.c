/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFIO_DEVICE_RESET: what it undoes, and what stays. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "check.h"
#include "fault.h"

static const char clause[] = "vfio-user: VFIO_USER_DEVICE_RESET";
static const char linux_clause[] = "linux/vfio.h: VFIO_DEVICE_RESET";

enum { CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

static void basic(struct check_run *t)
{
	for (int i = 0; i < 3; i++)
		check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	check_in_step(t, "DEVICE_RESET");
}

static void payload(struct check_run *t)
{
	check_answered(
		t,
		link_call(&t->door->link, VFIO_USER_DEVICE_RESET, "12345678", 8, NULL, 0, 0, NULL),
		"DEVICE_RESET with a payload");
	check_in_step(t, "DEVICE_RESET with a payload");
}

static void config(struct check_run *t)
{
	uint64_t before = check_read(t, CONFIG, PCI_COMMAND, 2), after;

	check_write(t, CONFIG, PCI_COMMAND, 2, before | PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	after = check_read(t, CONFIG, PCI_COMMAND, 2);
	ADVISE_UNLESS(t, !(after & PCI_COMMAND_MASTER),
		      "the command register is %#llx after a reset: the device may do DMA",
		      (unsigned long long)after);
	EXPECT(t,
	       check_read(t, CONFIG, PCI_VENDOR_ID, 4) ==
		       get_le32(t->facts->config.bytes + PCI_VENDOR_ID),
	       "the device is another one after a reset");
}

static void keeps_maps(struct check_run *t)
{
	int fd = check_memfd(t, 0x4000);
	const uint32_t rw = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

	check_ok(t, t->dev->ops->dma_map(t->dev, 0x100000, 0x4000, rw, fd, 0), "DMA_MAP");
	check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	/* Some servers take the very same map twice: that it can be unmapped tells. */
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 0x4000), "DMA_UNMAP after a reset");
}

static void keeps_eventfds(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_irqs; i++) {
		int fd;

		if (!t->facts->irqs[i].count || !(t->facts->irqs[i].flags & VFIO_IRQ_INFO_EVENTFD))
			continue;
		fd = check_eventfd(t);
		check_ok(t,
			 t->dev->ops->set_irqs(
				 t->dev, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, i,
				 0, 1, NULL, 0, &fd, 1),
			 "an eventfd for interrupt %u", i);
		check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
		check_ok(t,
			 t->dev->ops->set_irqs(t->dev,
					       VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
					       i, 0, 1, NULL, 0, NULL, 0),
			 "a trigger of interrupt %u after a reset", i);
		EXPECT(t, check_signalled(t, fd, true) == 1,
		       "interrupt %u: the eventfd is not bound after a reset", i);
	}
}

static void keeps_memory(struct check_run *t)
{
	uint32_t index = check_mappable(t, false);
	static const uint8_t pattern[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t old[8], now[8] = { 0 };
	struct probe_region region;
	uint64_t at;
	uint8_t *memory;

	check_region(t, index, &region);
	at = region.sparse && region.n_areas ? region.areas[0].offset : 0;
	memory = check_map(t, &region, at, 4096);
	EXPECT(t, guarded_copy(old, memory, 8) == 0 && guarded_copy(memory, pattern, 8) == 0,
	       "the mapped region %u is not there", index);
	check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	EXPECT(t, guarded_copy(now, memory, 8) == 0, "the mapped region %u is gone", index);
	ADVISE_UNLESS(t, memcmp(now, pattern, 8) == 0,
		      "region %u: mapped memory does not keep its content", index);
	check_ok(t, t->dev->ops->read(t->dev, index, at, now, 8), "a read of region %u", index);
	ADVISE_UNLESS(t, memcmp(now, pattern, 8) == 0, "region %u: memory is another after a reset",
		      index);
	guarded_copy(memory, old, 8);
}

const struct check checks_reset[] = {
	{ "reset.reset", "a reset is answered", clause, NEED_RESET, basic },
	{ "reset.payload", "it has no payload", clause, NEED_RESET | NEED_SOCKET, payload },
	{ "reset.config", "it stops DMA", linux_clause, NEED_RESET | NEED_PCI, config },
	{ "reset.maps", "maps stay", linux_clause, NEED_RESET, keeps_maps },
	{ "reset.eventfds", "eventfds stay", linux_clause, NEED_RESET | NEED_IRQ, keeps_eventfds },
	{ "reset.memory", "what is mapped stays mapped", linux_clause, NEED_RESET | NEED_MMAP,
	  keeps_memory },
	{ 0 },
};
