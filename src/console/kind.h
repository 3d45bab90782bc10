/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kind of console implements, and what it is given. Private to console/. */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "console/console.h"

enum {
	CONSOLE_MAX_OPTIONS = 16,
};

/* KIND=ADDRESS[,KEY=VALUE...], taken apart. */
struct console_spec {
	char *text; /* what the others point into */
	const char *kind;
	const char *address;
	struct {
		const char *key, *value;
	} options[CONSOLE_MAX_OPTIONS];
	size_t n_options;
};

struct console_kind {
	const char *name;
	const char *help; /* one line: what the option takes, and what it makes */
	const char *const *keys; /* ends with NULL */
	/*
	 * As console_open(). The new object begins with a struct console, whose
	 * kind the caller fills in. spec is valid during the call only.
	 */
	int (*open)(const struct console_spec *spec, struct scanout *so, const char *title,
		    struct console **ret, char **ret_error);
	int (*start)(struct console *console, char **ret_error); /* as console_start() */
	void (*close)(struct console *console);
	json_t *(*describe)(struct console *console); /* without "kind" */
};

struct console {
	const struct console_kind *kind;
};

extern const struct console_kind console_vnc;

/* The value of a key, or NULL. */
const char *console_spec_get(const struct console_spec *spec, const char *key);

/* Sets *ret_error to the sentence (NULL without memory for it) and returns err. */
int console_fail(char **ret_error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
