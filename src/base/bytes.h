/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unaligned little-endian accessors: the byte order of PCI and of our wires. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                      \
	static inline uint##bits##_t get_le##bits(const void *p)                                   \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return le##bits##toh(v);                                                           \
	}                                                                                          \
	static inline void put_le##bits(void *p, uint##bits##_t v)                                 \
	{                                                                                          \
		v = htole##bits(v);                                                                \
		memcpy(p, &v, sizeof(v));                                                          \
	}

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

/* A value of 1, 2, 4 or 8 bytes. */
static inline uint64_t get_le(const void *p, unsigned int width)
{
	uint64_t v = 0;

	memcpy(&v, p, width);
	return le64toh(v);
}

static inline void put_le(void *p, uint64_t v, unsigned int width)
{
	v = htole64(v);
	memcpy(p, &v, width);
}
