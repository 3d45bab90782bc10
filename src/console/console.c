/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console/console.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "console/kind.h"

/* The consoles there are. */
static const struct console_kind *const kinds[] = {
	&console_vnc,
};

int console_fail(char **ret_error, int err, const char *format, ...)
{
	char *text;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	*ret_error = text;
	return err;
}

const char *console_spec_get(const struct console_spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_options; i++)
		if (!strcmp(spec->options[i].key, key))
			return spec->options[i].value;
	return NULL;
}

/* "a, b and c", into a buffer that is large enough for all we have. */
static const char *enumerate(char *buffer, size_t size, const char *(*nth)(const void *, size_t),
			     const void *list)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; nth(list, i); i++) {
		const char *separator = !i ? "" : nth(list, i + 1) ? ", " : " and ";
		int n = snprintf(buffer + used, size - used, "%s%s", separator, nth(list, i));

		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
	return buffer;
}

const char *console_kind_name(size_t i)
{
	return i < ARRAY_SIZE(kinds) ? kinds[i]->name : NULL;
}

static const char *nth_kind(const void *unused, size_t n)
{
	return console_kind_name(n);
}

static const char *nth_key(const void *keys, size_t n)
{
	return ((const char *const *)keys)[n];
}

static const struct console_kind *find_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	return NULL;
}

static int split(const char *text, struct console_spec *ret, char **ret_error)
{
	struct console_spec spec = { .text = strdup(text) };
	char *rest = spec.text, *item, *value;

	if (!spec.text) {
		console_fail(ret_error, -ENOMEM, "There is no memory for a console.");
		return -ENOMEM;
	}

	spec.kind = strsep(&rest, "=");
	spec.address = rest ? text_next_item(&rest) : NULL;
	if (!spec.address || !*spec.address)
		goto malformed;
	while ((item = text_next_item(&rest))) {
		value = strchr(item, '=');
		if (!value || value == item || spec.n_options == CONSOLE_MAX_OPTIONS)
			goto malformed;
		*value++ = '\0';
		if (console_spec_get(&spec, item)) {
			console_fail(ret_error, -EINVAL,
				     "The console '%s' is given '%s' twice; once is enough.", text,
				     item);
			goto fail;
		}
		spec.options[spec.n_options].key = item;
		spec.options[spec.n_options++].value = value;
	}
	*ret = spec;
	return 0;

malformed:
	console_fail(ret_error, -EINVAL,
		     "The console '%s' is not of the form KIND=ADDRESS[,KEY=VALUE...], "
		     "for example vnc=127.0.0.1:5901.",
		     text);
fail:
	free(spec.text);
	return -EINVAL;
}

static int check(const struct console_spec *spec, const struct console_kind *kind, char **ret_error)
{
	char list[256];

	if (!kind)
		return console_fail(ret_error, -EINVAL,
				    "There is no console of the kind '%s'; the kinds are: %s.",
				    spec->kind, enumerate(list, sizeof(list), nth_kind, NULL));

	for (size_t i = 0; i < spec->n_options; i++) {
		const char *const *key = kind->keys;

		while (*key && strcmp(*key, spec->options[i].key))
			key++;
		if (!*key)
			return console_fail(ret_error, -EINVAL,
					    "A %s console has no option '%s'; its options are: %s.",
					    kind->name, spec->options[i].key,
					    enumerate(list, sizeof(list), nth_key, kind->keys));
	}
	return 0;
}

int console_open(const char *text, struct scanout *so, const char *title,
		 struct console **ret_console, char **ret_error)
{
	_cleanup_free_ char *owned = NULL;
	const struct console_kind *kind;
	struct console_spec spec = { 0 };
	int r;

	r = split(text, &spec, ret_error);
	if (r < 0)
		return r;
	owned = spec.text;

	kind = find_kind(spec.kind);
	r = check(&spec, kind, ret_error);
	if (r < 0)
		return r;
	r = kind->open(&spec, so, title, ret_console, ret_error);
	if (r < 0)
		return r;
	(*ret_console)->kind = kind;
	return 0;
}

int console_start(struct console *console, char **ret_error)
{
	return console->kind->start(console, ret_error);
}

void console_close(struct console *console)
{
	if (console)
		console->kind->close(console);
}

json_t *console_describe(struct console *console)
{
	json_t *description = console->kind->describe(console);

	if (description)
		json_object_set_new(description, "kind", json_string(console->kind->name));
	return description;
}

static char help[1024];

static void make_help(void)
{
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && used < sizeof(help); i++)
		used += (size_t)snprintf(help + used, sizeof(help) - used, "%s\n", kinds[i]->help);
}

const char *console_help(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_help);
	return help;
}
