/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/* RFC 4648, section 4, with padding. A new string, or NULL without memory. */
char *base64_encode(const void *data, size_t size);
