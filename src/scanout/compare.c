/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/compare.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#if defined(__x86_64__) || defined(__i386__)
#define COMPARE_X86 1
#include <immintrin.h>
#else
#define COMPARE_X86 0
#endif

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline __attribute__((always_inline)) bool differs_portable(const uint8_t *a,
								   const uint8_t *b, size_t n)
{
	uint64_t d = 0;

	for (size_t i = 0; i < n; i += 64)
		for (size_t j = 0; j < 64; j += 8)
			d |= load64(a + i + j) ^ load64(b + i + j);
	return d != 0;
}

/*
 * The loop over a row is the same for every instruction set, and is written
 * out for each so that the comparison of a tile is inlined into it.
 */
#define DEFINE_COMPARE_ROW(name, attributes)                                                       \
	attributes static void row_##name(const uint8_t *mem, const uint8_t *copy, size_t bytes,   \
					  size_t tile_bytes, uint64_t *tiles)                      \
	{                                                                                          \
		size_t at = 0, tile = 0;                                                           \
                                                                                                   \
		for (; at + tile_bytes <= bytes; at += tile_bytes, tile++) {                       \
			uint64_t bit = (uint64_t)1 << (tile & 63);                                 \
                                                                                                   \
			if (!(tiles[tile >> 6] & bit) &&                                           \
			    differs_##name(mem + at, copy + at, tile_bytes))                       \
				tiles[tile >> 6] |= bit;                                           \
		}                                                                                  \
		if (at < bytes && memcmp(mem + at, copy + at, bytes - at) != 0)                    \
			tiles[tile >> 6] |= (uint64_t)1 << (tile & 63);                            \
	}

DEFINE_COMPARE_ROW(portable, )

#if COMPARE_X86
static inline __attribute__((always_inline, target("sse2"))) bool
differs_sse2(const uint8_t *a, const uint8_t *b, size_t n)
{
	__m128i d = _mm_setzero_si128();

	for (size_t i = 0; i < n; i += 64)
		for (size_t j = 0; j < 64; j += 16) {
			__m128i x = _mm_loadu_si128((const __m128i *)(a + i + j));
			__m128i y = _mm_loadu_si128((const __m128i *)(b + i + j));

			d = _mm_or_si128(d, _mm_xor_si128(x, y));
		}
	return _mm_movemask_epi8(_mm_cmpeq_epi8(d, _mm_setzero_si128())) != 0xffff;
}

static inline __attribute__((always_inline, target("avx2"))) bool
differs_avx2(const uint8_t *a, const uint8_t *b, size_t n)
{
	__m256i d0 = _mm256_setzero_si256(), d1 = d0;

	for (size_t i = 0; i < n; i += 64) {
		__m256i a0 = _mm256_loadu_si256((const __m256i *)(a + i));
		__m256i a1 = _mm256_loadu_si256((const __m256i *)(a + i + 32));
		__m256i b0 = _mm256_loadu_si256((const __m256i *)(b + i));
		__m256i b1 = _mm256_loadu_si256((const __m256i *)(b + i + 32));

		d0 = _mm256_or_si256(d0, _mm256_xor_si256(a0, b0));
		d1 = _mm256_or_si256(d1, _mm256_xor_si256(a1, b1));
	}
	d0 = _mm256_or_si256(d0, d1);
	return !_mm256_testz_si256(d0, d0);
}

DEFINE_COMPARE_ROW(sse2, __attribute__((target("sse2"))))
DEFINE_COMPARE_ROW(avx2, __attribute__((target("avx2"))))
#endif

/* Fastest first. */
static const struct compare_kernel kernels[] = {
#if COMPARE_X86
	{ "avx2", row_avx2 },
	{ "sse2", row_sse2 },
#endif
	{ "portable", row_portable },
};

static bool runs_here(const struct compare_kernel *kernel)
{
#if COMPARE_X86
	if (kernel->row == row_avx2)
		return __builtin_cpu_supports("avx2");
	if (kernel->row == row_sse2)
		return __builtin_cpu_supports("sse2");
#endif
	return kernel->row == row_portable;
}

const struct compare_kernel *compare_nth(size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (runs_here(&kernels[i]) && n-- == 0)
			return &kernels[i];
	return NULL;
}

const struct compare_kernel *compare_best(void)
{
	return compare_nth(0);
}
