/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *text_vformat(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		abort();
	return text;
}

char *text_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = text_vformat(format, args);
	va_end(args);
	return text;
}

void text_clean(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

/* The length of the character at the start of c; 0 if it is not well-formed. */
static size_t utf8_length(const unsigned char *c)
{
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t length;

	if (c[0] < 0x80)
		return 1;
	if (c[0] < 0xc2 || c[0] > 0xf4)
		return 0;
	length = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
	if (c[0] == 0xe0)
		low = 0xa0;
	else if (c[0] == 0xed)
		high = 0x9f;
	else if (c[0] == 0xf0)
		low = 0x90;
	else if (c[0] == 0xf4)
		high = 0x8f;
	if (c[1] < low || c[1] > high)
		return 0;
	/* The terminating zero is no continuation either, so this stays inside. */
	for (size_t i = 2; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

char *text_utf8(const char *text)
{
	char *copy = text_format("%s", text);
	size_t length;

	for (char *c = copy; *c; c += length) {
		length = utf8_length((const unsigned char *)c);
		if (!length) {
			*c = '?';
			length = 1;
		}
	}
	return copy;
}

char *text_next_item(char **text)
{
	char *item = *text, *to = item, *from = item;

	if (!*from)
		return NULL;
	while (*from) {
		if (*from == ',' && from[1] == ',')
			from++;
		else if (*from == ',')
			break;
		*to++ = *from++;
	}
	*text = *from ? from + 1 : from;
	*to = '\0';
	return item;
}

/* The number at the start of text; *ret_rest is what follows it. */
static int parse_leading(const char *text, uint64_t *ret, const char **ret_rest)
{
	unsigned long long value;
	char *end;

	/* strtoull() would take blanks and signs. */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
	if (errno)
		return -ERANGE;
	*ret = value;
	*ret_rest = end;
	return 0;
}

int text_parse_number(const char *text, uint64_t *ret)
{
	const char *rest;
	uint64_t value;
	int r = parse_leading(text, &value, &rest);

	if (r < 0)
		return r;
	if (*rest)
		return -EINVAL;
	*ret = value;
	return 0;
}

int text_parse_size(const char *text, uint64_t *ret)
{
	static const char suffixes[] = "KMG";
	unsigned int shift = 0;
	const char *rest, *suffix;
	uint64_t value;
	int r = parse_leading(text, &value, &rest);

	if (r < 0)
		return r;
	if (*rest) {
		suffix = strchr(suffixes, toupper((unsigned char)*rest));
		if (!suffix || rest[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = value << shift;
	return 0;
}

const char *text_size(uint64_t bytes, char *buf, size_t size)
{
	static const char suffixes[] = "KMG";

	for (unsigned int i = 3; i > 0; i--) {
		uint64_t unit = (uint64_t)1 << (10 * i);

		if (bytes >= unit && bytes % unit == 0) {
			snprintf(buf, size, "%" PRIu64 "%c", bytes / unit, suffixes[i - 1]);
			return buf;
		}
	}
	snprintf(buf, size, "%" PRIu64, bytes);
	return buf;
}
