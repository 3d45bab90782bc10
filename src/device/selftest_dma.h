/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DMA engine of the selftest device: one command at a time, piece by piece. */
#pragma once

#include <stdint.h>

#include "vfio/dma.h"

struct selftest_dma_command {
	uint32_t command; /* SELFTEST_DMA_COMMAND_* */
	uint64_t source, target; /* IOVA */
	uint64_t length; /* bytes */
	uint32_t seed;
};

/* Zero-initialised: idle. */
struct selftest_dma {
	struct selftest_dma_command command;
	uint64_t done; /* bytes */
	uint64_t sum; /* of those */
	uint64_t generation; /* of commands and cancellations */
};

/*
 * Takes a command in; one that was under way is forgotten. Returns 0; -EINVAL
 * for an unknown command, a length of 0 or more than 1 GiB, or a copy onto
 * itself; -EFAULT for a range that wraps.
 */
int selftest_dma_start(struct selftest_dma *dma, const struct selftest_dma_command *command);

/* Forgets the command under way, also from inside selftest_dma_step(). */
void selftest_dma_cancel(struct selftest_dma *dma);

/*
 * Carries out the next piece, so small that a guest who waits for an answer
 * notices nothing. Returns 1 if there is more to do; 0 at the end, and then sum
 * holds; -ECANCELED if the command was forgotten (or another one taken in) while
 * bytes were on their way; or what vfio_dma_begin() and vfio_dma_end() say.
 */
int selftest_dma_step(struct selftest_dma *dma, struct vfio_dma_space *space);
