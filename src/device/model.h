/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device models: what a vgpud can be. A new one is one file and one line in
 * model.c's table. A model is given its options as text, opens everything it
 * needs when it is created, and is served by a door through its vfio_device.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "scanout/scanout.h"
#include "vfio/device.h"

enum { DEVICE_MAX_OPTIONS = 16 };

/* KEY=VALUE pairs of --device=; the strings are the caller's. */
struct device_options {
	struct {
		const char *key, *value;
	} items[DEVICE_MAX_OPTIONS];
	size_t n;
};

/* One option that a model takes, for checking and for help. */
struct device_option {
	const char *key;
	const char *value_name; /* e.g. "SIZE" */
	const char *help;
};

struct device {
	const struct device_model *model;
	struct vfio_device vfio;
	struct scanout *scanout; /* NULL: it has no screen */
};

struct device_model {
	const char *name;
	const char *summary;
	const struct device_option *options; /* ends with a NULL key */
	/*
	 * Creates a device in power-on state; name is the vGPU's. Returns 0, or a
	 * negative errno with *ret_error, a sentence that the caller frees.
	 */
	int (*create)(const char *name, const struct device_options *options, struct device **ret,
		      char **ret_error);
	void (*destroy)(struct device *device);
};

/* The i-th model; NULL beyond the last. */
const struct device_model *device_model_at(size_t i);

/*
 * Creates a device of the model called model_name, after checking that it
 * knows every option. Errors as create()'s.
 */
int device_create(const char *model_name, const char *name, const struct device_options *options,
		  struct device **ret, char **ret_error);

/* NULL is allowed. No door may serve the device, and no viewer look at it. */
void device_destroy(struct device *device);

/* The value of an option, or NULL. */
const char *device_option(const struct device_options *options, const char *key);

/*
 * A size in bytes, with an optional suffix K, M or G (powers of 1024), from min
 * to max and a multiple of 4096; `fallback` if the option was not given.
 * Returns 0, or -EINVAL with *ret_error.
 */
int device_option_size(const struct device_options *options, const char *key, uint64_t fallback,
		       uint64_t min, uint64_t max, uint64_t *ret, char **ret_error);

/* A number from min to max; `fallback` if the option was not given. As above. */
int device_option_number(const struct device_options *options, const char *key, uint32_t fallback,
			 uint32_t min, uint32_t max, uint32_t *ret, char **ret_error);
