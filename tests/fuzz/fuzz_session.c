/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole server but its thread: a session on a device with a bit of everything. */
#include <stdio.h>

#include "full_device.h"
#include "fuzz.h"
#include "vmm.h"

static struct full_device device;

static void ask_for_dma(struct fuzz_input *in)
{
	vmm_write(2, FULL_IOVA, fuzz_number(in, 0), 8);
	vmm_write(2, FULL_LENGTH, fuzz_number(in, 0x1000), 4);
	vmm_write(2, FULL_COMMAND, fuzz_u8(in) % 6, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *what;

	if (!device.buffer)
		FUZZ_CHECK(full_device_init(&device) == 0);
	fuzz_pool_restore();
	fuzz_begin();
	vmm_run(&device.vfio, ask_for_dma, data, size);
	if (!full_device_is_clean(&device, &what)) {
		fprintf(stderr, "the next client finds: %s\n", what);
		FUZZ_CHECK(false);
	}
	fuzz_end();
	return 0;
}
