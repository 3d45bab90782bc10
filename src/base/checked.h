/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic on numbers that somebody else chose. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if [offset, offset + length) lies inside [0, size); never wraps. */
static inline bool range_within(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

/* True if [a, a + a_len) and [b, b + b_len) share a byte. Neither may wrap. */
static inline bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && a < b + b_len && b < a + a_len;
}

static inline bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static inline uint64_t round_down(uint64_t n, uint64_t power_of_two)
{
	return n & ~(power_of_two - 1);
}
