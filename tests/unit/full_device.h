/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device with a bit of everything, for tests that maltreat a door: a mapped
 * BAR, a trapped one with a DMA engine and doorbells, a sparse one of 64 bits,
 * a ROM, INTx and MSI. It keeps no secret: what it holds of a client can be
 * read, so that a test sees whether the next client finds it.
 */
#pragma once

#include <stdbool.h>

#include "pci/function.h"

enum {
	FULL_BAR0_SIZE = 1 << 20, /* mapped */
	FULL_BAR2_SIZE = 0x1000, /* trapped: the registers below */
	FULL_BAR4_SIZE = 0x8000, /* 64 bits, sparse: [0x1000, 0x3000) and [0x5000, 0x6000) mapped */
	FULL_ROM_SIZE = 2048,
	FULL_VECTORS = 8, /* MSI */
	FULL_BUFFER_SIZE = 3 << 20, /* what the DMA engine reads and writes */
	FULL_DOORBELLS = 2,
};

/* Registers in BAR 2. */
enum {
	FULL_IOVA = 0x00, /* 64 bits */
	FULL_LENGTH = 0x08, /* bytes, at most FULL_BUFFER_SIZE */
	FULL_COMMAND = 0x0c, /* asks for work: one of FULL_DMA_* */
	FULL_RESULT = 0x10, /* of the last work: 0 or a negative errno; read-only */
	FULL_WORKS = 0x14, /* times that work was done; read-only */
	FULL_INTX = 0x18, /* the level of INTA# */
	FULL_MSI = 0x1c, /* raises this vector */
	FULL_RESETS = 0x20, /* read-only */
	FULL_RUNG = 0x24, /* times that a doorbell rang by eventfd; read-only */
	FULL_DOORBELL = 0x28, /* FULL_DOORBELLS of 4 bytes */
	FULL_SCRATCH = 0x400, /* FULL_SCRATCH_SIZE bytes that keep what is written */
	FULL_BUFFER = 0x800, /* the start of the DMA buffer */

	FULL_SCRATCH_SIZE = 0x400,

	FULL_DMA_READ = 1, /* guest memory into the buffer */
	FULL_DMA_WRITE = 2,
	FULL_DMA_SCOPE = 3, /* adds 1 to every byte, in a scope */
	FULL_DMA_AGAIN = 4, /* as FULL_DMA_READ, and once more after it */
};

struct full_device {
	struct vfio_device vfio;
	struct pci_function pci;
	int fds[2]; /* of BAR 0 and 4 */
	uint8_t *memory[2];
	struct vfio_doorbell doorbells[FULL_DOORBELLS];

	uint8_t scratch[FULL_SCRATCH_SIZE];
	uint8_t *buffer;
	size_t dirty; /* bytes of buffer that may not be 0 */
	uint64_t iova;
	uint32_t length, command, works, resets, rung;
	int result;
};

/* Returns 0 or a negative errno. */
int full_device_init(struct full_device *device);
void full_device_done(struct full_device *device);

/*
 * True if nothing that a client wrote, mapped or bound is left; else false,
 * with what is in *ret_what.
 */
bool full_device_is_clean(const struct full_device *device, const char **ret_what);
