/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The selftest device behind a session: every kind of region, its DMA engine on
 * mapped and on message memory. After each client it is as it was at first.
 */
#include "device/selftest_regs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "device/model.h"
#include "fuzz.h"
#include "vmm.h"

enum { REGISTERS = SELFTEST_RUNG_VALUE(SELFTEST_DOORBELLS), CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

static struct device *device;
static uint8_t first_registers[REGISTERS], first_config[256];

static void read_all(uint8_t *registers, uint8_t *config)
{
	struct vfio_region *regions = device->vfio.regions;

	FUZZ_CHECK(!vfio_region_read(&regions[SELFTEST_BAR_REGS], 0, registers, REGISTERS));
	FUZZ_CHECK(!vfio_region_read(&regions[CONFIG], 0, config, sizeof(first_config)));
}

static void set_up(void)
{
	const struct device_options options = { .items = { { "aperture", "1M" } }, .n = 1 };
	char *error = NULL;

	FUZZ_CHECK(device_create("selftest", "fuzz", &options, &device, &error) == 0);
	read_all(first_registers, first_config);
}

static void check_memory_is_empty(uint32_t bar)
{
	FUZZ_CHECK(lseek(device->vfio.regions[bar].fd, 0, SEEK_DATA) < 0 && errno == ENXIO);
}

static void check_is_new(void)
{
	static const uint8_t nothing[0x1000];
	uint8_t registers[REGISTERS], config[sizeof(first_config)], trapped[0x1000];
	const struct vfio_device *vfio = &device->vfio;

	read_all(registers, config);
	FUZZ_CHECK(!memcmp(registers, first_registers, REGISTERS));
	FUZZ_CHECK(!memcmp(config, first_config, sizeof(config)));
	FUZZ_CHECK(!vfio_region_read(&device->vfio.regions[SELFTEST_BAR_MIXED], 0, trapped,
				     sizeof(trapped)));
	FUZZ_CHECK(!memcmp(trapped, nothing, sizeof(trapped)));
	check_memory_is_empty(SELFTEST_BAR_MIXED);
	check_memory_is_empty(SELFTEST_BAR_APERTURE);
	FUZZ_CHECK(!vfio->kicked && !vfio->dma.n_maps && !vfio->dma.ops);
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		FUZZ_CHECK(!counter_read(&vfio->irqs.index[i].bound));
}

static void ask_for_dma(struct fuzz_input *in)
{
	uint8_t command = fuzz_u8(in);

	vmm_write(CONFIG, 4, command & 0x80 ? 0 : 6, 4); /* memory and bus master, mostly */
	vmm_write(SELFTEST_BAR_REGS, SELFTEST_DMA_SOURCE, fuzz_number(in, 0), 8);
	vmm_write(SELFTEST_BAR_REGS, SELFTEST_DMA_TARGET, fuzz_number(in, 0x8000), 8);
	vmm_write(SELFTEST_BAR_REGS, SELFTEST_DMA_LENGTH, fuzz_number(in, 0x1000), 8);
	vmm_write(SELFTEST_BAR_REGS, SELFTEST_DMA_COMPLETION,
		  (uint32_t)(command >> 3 & 3) << 16 | command >> 5, 4);
	vmm_write(SELFTEST_BAR_REGS, SELFTEST_DMA_COMMAND, command % 8, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!device)
		set_up();
	fuzz_pool_restore();
	fuzz_begin();
	vmm_run(&device->vfio, ask_for_dma, data, size);
	check_is_new();
	fuzz_end();
	return 0;
}
