/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>

/*
 * A new JSON string of a text from outside, such as a path, which need not be
 * UTF-8 as JSON's strings must: text_utf8() of it. A new null for NULL.
 */
json_t *json_text(const char *text);
