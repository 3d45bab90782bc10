/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm_cmdline.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
	MAX_VALUE = 64, /* bytes of a value, with its NUL; the rest of a longer one is cut off */
};

struct arguments {
	const char *at, *end;
};

/* The next argument; NULL at the end. What a NUL is missing from is left out. */
static const char *next_argument(struct arguments *args)
{
	const char *argument = args->at;
	const char *nul = argument < args->end
				  ? memchr(argument, '\0', (size_t)(args->end - argument))
				  : NULL;

	if (!nul)
		return NULL;
	args->at = nul + 1;
	return argument;
}

/*
 * Properties: "value,key=value,..." or JSON
 */

static bool find_in_json(const char *text, const char *key, char ret[static MAX_VALUE])
{
	json_t *object = json_loads(text, 0, NULL);
	const json_t *value = json_object_get(object, key);
	const char *found = json_is_boolean(value) ? (json_is_true(value) ? "on" : "off")
						   : json_string_value(value);

	if (found)
		snprintf(ret, MAX_VALUE, "%s", found);
	json_decref(object);
	return found;
}

/* The value of key. A first value without a key is that of the key called first. */
static bool find_property(const char *text, const char *first, const char *key,
			  char ret[static MAX_VALUE])
{
	size_t length = strlen(key);

	if (text[0] == '{')
		return find_in_json(text, key, ret);
	if (strcmp(key, first) == 0 && !memchr(text, '=', strcspn(text, ","))) {
		snprintf(ret, MAX_VALUE, "%.*s", (int)strcspn(text, ","), text);
		return true;
	}
	for (; text; text = strchr(text, ',')) {
		text += *text == ',';
		if (strncmp(text, key, length) == 0 && text[length] == '=') {
			text += length + 1;
			snprintf(ret, MAX_VALUE, "%.*s", (int)strcspn(text, ","), text);
			return true;
		}
	}
	return false;
}

static bool is_any_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static bool begins_with_any_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strncmp(text, *words, strlen(*words)) == 0)
			return true;
	return false;
}

static bool is_on(const char *value)
{
	static const char *const words[] = { "on", "yes", "true", "y", NULL };

	return is_any_of(value, words);
}

/*
 * QEMU
 */

/* The next option that takes a value and that is of interest here. */
static bool next_option(struct arguments *args, const char **ret_option, const char **ret_value)
{
	static const char *const interesting[] = { "-machine", "-M",   "-object", "-numa",
						   "-device",  "-vga", NULL };
	const char *option;

	while ((option = next_argument(args))) {
		if (option[0] == '-' && option[1] == '-')
			option++;
		if (!is_any_of(option, interesting))
			continue;
		*ret_option = strcmp(option, "-M") == 0 ? "-machine" : option;
		*ret_value = next_argument(args);
		return *ret_value;
	}
	return false;
}

/*
 * A backend is the guest's memory if something names it: the machine or a NUMA
 * node, or a device that plugs it in. An NVDIMM's, for example, is not.
 */
static bool main_memory(const char *option, const char *value, char ret_id[static MAX_VALUE])
{
	if (strcmp(option, "-machine") == 0)
		return find_property(value, "type", "memory-backend", ret_id);
	return strcmp(option, "-numa") == 0 && find_property(value, "type", "memdev", ret_id);
}

static bool plugged_memory(const char *option, const char *value, char ret_id[static MAX_VALUE])
{
	static const char *const drivers[] = { "pc-dimm", "virtio-mem", NULL };
	char driver[MAX_VALUE];

	return strcmp(option, "-device") == 0 && find_property(value, "driver", "driver", driver) &&
	       begins_with_any_of(driver, drivers) &&
	       find_property(value, "driver", "memdev", ret_id);
}

static bool is_guest_memory(struct arguments args, const char *id)
{
	const char *option, *value;
	char named[MAX_VALUE];

	while (next_option(&args, &option, &value))
		if ((main_memory(option, value, named) || plugged_memory(option, value, named)) &&
		    strcmp(named, id) == 0)
			return true;
	return false;
}

/* What an -object is as memory; unknown if it is something else. */
static enum vmm_memory classify_backend(const char *object)
{
	char type[MAX_VALUE], share[MAX_VALUE];

	if (!find_property(object, "qom-type", "qom-type", type) ||
	    strncmp(type, "memory-backend-", 15) != 0)
		return VMM_MEMORY_UNKNOWN;
	/* memory-backend-memfd is shared unless it is told not to be; the others are not. */
	if (find_property(object, "qom-type", "share", share)
		    ? is_on(share)
		    : strcmp(type, "memory-backend-memfd") == 0)
		return VMM_MEMORY_SHARED;
	return strcmp(type, "memory-backend-ram") == 0 ? VMM_MEMORY_ANONYMOUS : VMM_MEMORY_PRIVATE;
}

static bool has_argument(struct arguments args, const char *wanted)
{
	const char *argument;

	while ((argument = next_argument(&args)))
		if (strcmp(argument + (argument[0] == '-' && argument[1] == '-'), wanted) == 0)
			return true;
	return false;
}

/* Of several backends the worst one is what matters. */
static enum vmm_memory find_memory(struct arguments args)
{
	const struct arguments all = args;
	/* A file may name, or be, what is missing here. */
	bool named = has_argument(all, "-readconfig");
	enum vmm_memory worst = VMM_MEMORY_UNKNOWN;
	const char *option, *value;

	while (next_option(&args, &option, &value)) {
		enum vmm_memory memory;
		char id[MAX_VALUE];

		named = named || main_memory(option, value, id);
		if (strcmp(option, "-object") != 0)
			continue;
		memory = classify_backend(value);
		if (memory > worst && find_property(value, "qom-type", "id", id) &&
		    is_guest_memory(all, id))
			worst = memory;
	}
	return named ? worst : VMM_MEMORY_ANONYMOUS;
}

static bool is_display(const char *driver)
{
	static const char *const families[] = {
		"bochs-display", "qxl", "ramfb", "vhost-user-gpu", "virtio-gpu", "vmware-svga", NULL
	};

	return begins_with_any_of(driver, families) || strcasestr(driver, "vga");
}

/* Whether it makes QEMU leave out the display that the machine has of its own. */
static bool replaces_display(const char *driver)
{
	return (strcasestr(driver, "vga") && strcmp(driver, "secondary-vga") != 0) ||
	       strcmp(driver, "vmware-svga") == 0;
}

/* Whether a type of machine has a display of its own. */
static bool machine_has_display(const char *type)
{
	return strcmp(type, "microvm") != 0 && strcmp(type, "none") != 0;
}

static void find_displays(struct arguments args, bool usual, struct vmm_cmdline *ret)
{
	bool usual_display = usual && !has_argument(args, "-nodefaults");
	const char *option, *value, *vga = NULL;

	while (next_option(&args, &option, &value)) {
		char name[MAX_VALUE];

		if (strcmp(option, "-vga") == 0) {
			vga = value;
		} else if (strcmp(option, "-machine") == 0 &&
			   find_property(value, "type", "type", name)) {
			usual_display = usual_display && machine_has_display(name);
		} else if (strcmp(option, "-device") == 0 &&
			   find_property(value, "driver", "driver", name) && is_display(name)) {
			ret->display_device = true;
			usual_display = usual_display && !replaces_display(name);
		}
	}
	ret->other_display = vga ? strcmp(vga, "none") != 0 : usual_display;
}

/*
 * Cloud Hypervisor
 */

static void parse_cloud_hypervisor(struct arguments args, struct vmm_cmdline *ret)
{
	const char *argument;

	ret->memory = VMM_MEMORY_PRIVATE;
	while ((argument = next_argument(&args))) {
		char shared[MAX_VALUE];

		if (find_property(argument, "", "shared", shared) && is_on(shared))
			ret->memory = VMM_MEMORY_SHARED;
	}
}

/*
 * The program
 */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static enum vmm_kind kind_of(const char *program)
{
	if (strncmp(program, "qemu-system-", 12) == 0 || strcmp(program, "qemu-kvm") == 0 ||
	    strcmp(program, "kvm") == 0)
		return VMM_QEMU;
	return strcmp(program, "cloud-hypervisor") == 0 ? VMM_CLOUD_HYPERVISOR : VMM_UNKNOWN;
}

/* The program's name: the first argument, or a later one behind a dynamic loader. */
static const char *find_program(struct arguments *args)
{
	const char *program = next_argument(args), *argument;

	if (!program || strncmp(base_name(program), "ld-", 3) != 0)
		return program ? base_name(program) : NULL;
	while ((argument = next_argument(args)))
		if (kind_of(base_name(argument)) != VMM_UNKNOWN)
			return base_name(argument);
	return NULL;
}

void vmm_cmdline_parse(const char *data, size_t size, struct vmm_cmdline *ret)
{
	struct arguments args = { data, data + size };
	const char *program = find_program(&args);

	*ret = (struct vmm_cmdline){ 0 };
	if (!program)
		return;
	ret->kind = kind_of(program);
	if (ret->kind == VMM_QEMU) {
		bool pc = strstr(program, "x86_64") || strstr(program, "i386") ||
			  strstr(program, "kvm");

		ret->memory = find_memory(args);
		find_displays(args, pc, ret);
	} else if (ret->kind == VMM_CLOUD_HYPERVISOR) {
		parse_cloud_hypervisor(args, ret);
	}
}
