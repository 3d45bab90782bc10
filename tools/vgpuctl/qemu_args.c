/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arguments that give a QEMU guest this vGPU: shared memory, so that the
 * device can map it; no other display; and the devices.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

/* Digits and one of K, M, G, T: -m and the memory backend read it alike. */
static bool size_valid(const char *size)
{
	size_t digits = strspn(size, "0123456789");

	return digits > 0 && digits <= 12 && strspn(size, "0") < digits && size[digits] &&
	       strchr("KMGT", size[digits]) && !size[digits + 1];
}

/* A machine type, perhaps with options; memory-backend is ours to set. */
static bool machine_valid(const char *machine)
{
	return machine[0] &&
	       strspn(machine, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "0123456789.,=_-") == strlen(machine) &&
	       !strstr(machine, "memory-backend");
}

static void add(json_t *args, const char *option, char *value)
{
	json_array_append_new(args, json_string(option));
	json_array_append_new(args, json_string(value));
	free(value);
}

static int add_device(json_t *args, const struct target *target, const json_t *device)
{
	const char *socket = get_string(device, "socket", NULL);
	json_t *value;
	char *text;

	if (!socket)
		return fail("no-socket",
			    "%s/%s has no socket with a path (it was given to vgpud as a file "
			    "descriptor): QEMU cannot be told where it is",
			    target->name, get_string(device, "id", "?"));
	value = json_pack("{s:s, s:{s:s, s:s}}", "driver", "vfio-user-pci", "socket", "path",
			  socket, "type", "unix");
	/* ASCII, which no locale and no terminal changes on its way to a shell. */
	text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(value);
	if (!text)
		return fail("memory", "no memory");
	add(args, "-device", text);
	return EXIT_OK;
}

/* As a shell reads it back: in single quotes if it has to be. */
static char *quote(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789%+,-./:=@_";
	char *quoted, *out;

	if (*text && strspn(text, plain) == strlen(text))
		return text_format("%s", text);
	quoted = out = calloc(4, strlen(text) + 1);
	if (!quoted)
		return text_format("''");
	*out++ = '\'';
	for (; *text; text++) {
		if (*text == '\'')
			out = stpcpy(out, "'\\''");
		else
			*out++ = *text;
	}
	*out = '\'';
	return quoted;
}

static void print_args(json_t *args)
{
	size_t n = json_array_size(args);

	if (output_is_json()) {
		print_json(json_pack("{s:i, s:O}", "version", 1, "args", args));
		return;
	}
	for (size_t i = 0; i + 1 < n; i += 2) {
		_cleanup_free_ char *value = quote(json_string_value(json_array_get(args, i + 1)));

		/* Not say(): a shell is to read it back as it is. */
		printf("%s %s%s\n", json_string_value(json_array_get(args, i)), value,
		       i + 2 < n ? " \\" : "");
	}
}

static int make_args(const struct target *target, const json_t *devices, const char *memory,
		     const char *machine)
{
	json_t *args;
	int r = EXIT_OK;

	if (!json_array_size(devices))
		return fail("no-device",
			    "%s has no device that QEMU could be given; see: vgpuctl show %s",
			    target->name, target->name);
	args = json_array();
	add(args, "-machine", text_format("%s,memory-backend=mem0", machine));
	add(args, "-m", text_format("%s", memory));
	add(args, "-object", text_format("memory-backend-memfd,id=mem0,size=%s,share=on", memory));
	add(args, "-vga", text_format("none"));
	for (size_t i = 0; r == EXIT_OK && i < json_array_size(devices); i++)
		r = add_device(args, target, json_array_get(devices, i));
	if (r == EXIT_OK)
		print_args(args);
	json_decref(args);
	return r;
}

int run_qemu_args(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	const char *memory = option_value(inv, "memory"), *machine = option_value(inv, "machine");
	json_t *show, *devices;
	int r;

	memory = memory ? memory : "1G";
	machine = machine ? machine : "q35";
	if (!size_valid(memory))
		return usage_error("qemu-args: --memory=%s is no size like 512M or 4G", memory);
	if (!machine_valid(machine))
		return usage_error("qemu-args: --machine=%s is no machine type", machine);
	r = target_resolve(inv->operands[0], &target);
	if (r)
		return r;
	r = target_show(&target, &show, &devices);
	if (r)
		return r;
	r = make_args(&target, devices, memory, machine);
	json_decref(devices);
	json_decref(show);
	return r;
}
