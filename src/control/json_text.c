/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/json_text.h"

#include "base/cleanup.h"
#include "base/text.h"

json_t *json_text(const char *text)
{
	_cleanup_free_ char *clean = text ? text_utf8(text) : NULL;

	return clean ? json_string(clean) : json_null();
}
