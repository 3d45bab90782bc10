/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A histogram of durations with a relative error of at most 1/8: a power of
 * two is divided into eight buckets. One thread records, without a locked
 * instruction; any thread may read, and sees each count whole.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 3,
	HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
	HISTOGRAM_MAX_BITS = 40, /* 2^40 ns = 18 minutes; longer ones count as that */
	HISTOGRAM_BUCKETS = (HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB,
};

struct histogram {
	_Atomic uint64_t max;
	_Atomic uint32_t buckets[HISTOGRAM_BUCKETS];
};

struct histogram_summary {
	uint64_t count;
	uint64_t p50, p90, p99, max; /* in the recorded unit; 0 if count is 0 */
};

/* Called by the one recording thread. */
void histogram_record(struct histogram *h, uint64_t value);

/* Called by any thread. */
void histogram_summarize(const struct histogram *h, struct histogram_summary *ret);
