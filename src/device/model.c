/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "device/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "device/bochs_display.h"
#include "device/selftest.h"

static const struct device_model *const models[] = {
	&bochs_display_model,
	&selftest_model,
};

const struct device_model *device_model_at(size_t i)
{
	return i < ARRAY_SIZE(models) ? models[i] : NULL;
}

static const struct device_model *find_model(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (!strcmp(models[i]->name, name))
			return models[i];
	return NULL;
}

static const struct device_option *find_option(const struct device_model *model, const char *key)
{
	for (const struct device_option *o = model->options; o->key; o++)
		if (!strcmp(o->key, key))
			return o;
	return NULL;
}

/* "a, b, c" of the names that there are, for an error message. */
static void list_models(char *buf, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(models) && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 models[i]->name);
}

static void list_options(const struct device_model *model, char *buf, size_t size)
{
	size_t used = 0;

	for (const struct device_option *o = model->options; o->key && used < size; o++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
					 o == model->options ? "" : ", ", o->key);
}

int device_create(const char *model_name, const char *name, const struct device_options *options,
		  struct device **ret, char **ret_error)
{
	const struct device_model *model = find_model(model_name);
	char known[256];

	if (!model) {
		list_models(known, sizeof(known));
		*ret_error = text_format("there is no device model \"%s\"; choose one of: %s",
					 model_name, known);
		return -EINVAL;
	}
	for (size_t i = 0; i < options->n; i++) {
		if (find_option(model, options->items[i].key))
			continue;
		list_options(model, known, sizeof(known));
		*ret_error = text_format("%s has no option \"%s\"; it has: %s", model_name,
					 options->items[i].key, known);
		return -EINVAL;
	}
	return model->create(name, options, ret, ret_error);
}

void device_destroy(struct device *device)
{
	if (device)
		device->model->destroy(device);
}

const char *device_option(const struct device_options *options, const char *key)
{
	for (size_t i = options->n; i > 0; i--) /* the last one wins */
		if (!strcmp(options->items[i - 1].key, key))
			return options->items[i - 1].value;
	return NULL;
}

int device_option_size(const struct device_options *options, const char *key, uint64_t fallback,
		       uint64_t min, uint64_t max, uint64_t *ret, char **ret_error)
{
	const char *text = device_option(options, key);
	char low[32], high[32];
	uint64_t value;

	if (!text) {
		*ret = fallback;
		return 0;
	}
	if (text_parse_size(text, &value) < 0 || value < min || value > max || value % 4096) {
		*ret_error = text_format("%s=%s: expected a size from %s to %s, such as %s=16M",
					 key, text, text_size(min, low, sizeof(low)),
					 text_size(max, high, sizeof(high)), key);
		return -EINVAL;
	}
	*ret = value;
	return 0;
}

int device_option_number(const struct device_options *options, const char *key, uint32_t fallback,
			 uint32_t min, uint32_t max, uint32_t *ret, char **ret_error)
{
	const char *text = device_option(options, key);
	uint64_t value;

	if (!text) {
		*ret = fallback;
		return 0;
	}
	if (text_parse_number(text, &value) < 0 || value < min || value > max) {
		*ret_error =
			text_format("%s=%s: expected a number from %u to %u", key, text, min, max);
		return -EINVAL;
	}
	*ret = (uint32_t)value;
	return 0;
}
