/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inner loop of damage detection: one row of pixel memory against its copy. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Compares a row of `bytes` bytes tile by tile (tile_bytes each, a multiple of
 * 64; the last tile may be short) and sets the bit of every tile that differs.
 * Tiles whose bit is set already are not looked at. mem may change meanwhile:
 * a change is then seen now or by the next call.
 */
typedef void (*compare_row_fn)(const uint8_t *mem, const uint8_t *copy, size_t bytes,
			       size_t tile_bytes, uint64_t *tiles);

struct compare_kernel {
	const char *name;
	compare_row_fn row;
};

/* The fastest one that this processor can run. */
const struct compare_kernel *compare_best(void);

/* All that this processor can run, for tests and benchmarks; NULL past the last. */
const struct compare_kernel *compare_nth(size_t n);
