/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/histogram.h"

/*
 * Values below HISTOGRAM_SUB have a bucket each; above, the bucket is the
 * position of the highest bit and the HISTOGRAM_SUB_BITS bits that follow it.
 */
static unsigned int bucket_of(uint64_t value)
{
	unsigned int shift;

	if (value >> HISTOGRAM_MAX_BITS)
		value = ((uint64_t)1 << HISTOGRAM_MAX_BITS) - 1;
	if (value < HISTOGRAM_SUB)
		return (unsigned int)value;
	shift = 63U - (unsigned int)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (unsigned int)((value >> shift) & (HISTOGRAM_SUB - 1));
}

/* The middle of a bucket's values. */
static uint64_t bucket_value(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < 2 * HISTOGRAM_SUB)
		return bucket;
	shift = bucket / HISTOGRAM_SUB - 1;
	return ((uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << shift) +
	       ((uint64_t)1 << (shift - 1));
}

void histogram_record(struct histogram *h, uint64_t value)
{
	_Atomic uint32_t *bucket = &h->buckets[bucket_of(value)];

	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	if (value > atomic_load_explicit(&h->max, memory_order_relaxed))
		atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

void histogram_summarize(const struct histogram *h, struct histogram_summary *ret)
{
	uint32_t counts[HISTOGRAM_BUCKETS];
	uint64_t seen = 0;

	*ret = (struct histogram_summary){ 0 };
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		counts[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
		ret->count += counts[i];
	}
	ret->max = atomic_load_explicit(&h->max, memory_order_relaxed);

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t before = seen, value;

		if (!counts[i])
			continue;
		seen += counts[i];
		value = bucket_value(i) < ret->max ? bucket_value(i) : ret->max;
		/* The rank of a percentile is the smallest integer not below p * count. */
#define CROSSES(percent)                                                                           \
	(before * 100 < ret->count * (percent) && seen * 100 >= ret->count * (percent))
		if (CROSSES(50))
			ret->p50 = value;
		if (CROSSES(90))
			ret->p90 = value;
		if (CROSSES(99))
			ret->p99 = value;
#undef CROSSES
	}
}
