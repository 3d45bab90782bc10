/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile VMM for fuzz targets that speak vfio-user: it drives a session on
 * any device with what an input says, answers DMA messages, and checks that the
 * stream stays in step: that every reply that a command should have is there,
 * once, in order, and well formed, as long as the VMM itself did not break the stream.
 */
#pragma once

#include "fuzz.h"
#include "vfio/device.h"

/* Writes to a register, `width` 4 or 8, as a client does. */
void vmm_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t width);

/* Programs a device's DMA engine, by vmm_write(), with what the input says. */
typedef void vmm_ask_for_dma_fn(struct fuzz_input *in);

/*
 * Runs one input against dev from power-on to the end of the last client. The
 * device is the caller's, and has been power-cycled afterwards.
 */
void vmm_run(struct vfio_device *dev, vmm_ask_for_dma_fn *ask_for_dma, const uint8_t *data,
	     size_t size);
