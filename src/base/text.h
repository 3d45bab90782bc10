/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts from and for people: options and messages. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* A new string, as printf() would print it; the caller frees it. Never NULL: aborts without memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *text_vformat(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/*
 * Puts '?' in the place of every control character, those of two bytes in UTF-8
 * (U+0080 to U+009F) included: what is left cannot move a terminal's cursor or
 * begin a new line of a log.
 */
void text_clean(char *text);

/*
 * A new string: text with '?' in the place of every byte that is not part of
 * well-formed UTF-8 (Unicode, table 3-7: no surrogates, nothing overlong, nothing
 * above U+10FFFF). What comes from outside and goes into JSON must go through
 * this. The caller frees it. Never NULL: aborts without memory.
 */
char *text_utf8(const char *text);

/*
 * Cuts the next item off *text, a list with commas between its items, and moves
 * *text behind it; ",," inside an item stands for a comma, as in QEMU's options.
 * Works in place: the item lies in the text that was given. NULL at the end,
 * which a comma that nothing follows is, too.
 */
char *text_next_item(char **text);

/* A decimal or 0x number and nothing else. 0, -EINVAL or -ERANGE. */
int text_parse_number(const char *text, uint64_t *ret);

/* A number with an optional suffix K, M or G (powers of 1024). 0, -EINVAL or -ERANGE. */
int text_parse_size(const char *text, uint64_t *ret);

/* "16M", "4096": what text_parse_size() reads back. Returns buf. */
const char *text_size(uint64_t bytes, char *buf, size_t size);
