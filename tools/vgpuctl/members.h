/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of an answer from a vgpud that may be older or newer than we are:
 * what is missing or of another type is simply not there.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

static inline const char *get_string(const json_t *object, const char *key, const char *otherwise)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : otherwise;
}

/* False if there is no such number, or it is negative. */
static inline bool get_number(const json_t *object, const char *key, uint64_t *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

/* 0 if there is none. */
static inline uint64_t number_or_0(const json_t *object, const char *key)
{
	uint64_t value = 0;

	get_number(object, key, &value);
	return value;
}

static inline bool get_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}
