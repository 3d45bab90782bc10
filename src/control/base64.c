/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/base64.h"

#include <stdint.h>
#include <stdlib.h>

char *base64_encode(const void *data, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";
	const uint8_t *in = data;
	char *text, *out;

	if (size > SIZE_MAX / 4 * 3 - 4)
		return NULL;
	text = out = malloc((size + 2) / 3 * 4 + 1);
	if (!text)
		return NULL;

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t group = (uint32_t)in[i] << 16;

		if (left > 1)
			group |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			group |= in[i + 2];
		*out++ = digits[group >> 18];
		*out++ = digits[group >> 12 & 63];
		*out++ = left > 1 ? digits[group >> 6 & 63] : '=';
		*out++ = left > 2 ? digits[group & 63] : '=';
	}
	*out = '\0';
	return text;
}
