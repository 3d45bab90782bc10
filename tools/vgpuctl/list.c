/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "common/output.h"
#include "control/json_text.h"
#include "control/path.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

struct entry {
	const char *name; /* borrowed */
	char *path;
	struct control_client *client; /* asked, and has not answered yet */
	json_t *show; /* its answer */
	const char *state; /* "running", or why there is no answer */
};

static int left_ms(uint64_t start_ns)
{
	uint64_t spent = (clock_ns() - start_ns) / 1000000;

	return spent >= LIST_MS ? 0 : LIST_MS - (int)spent;
}

static void ask(struct entry *entry, uint64_t start_ns)
{
	int r = control_default_path(entry->name, &entry->path);

	if (r == 0)
		r = control_client_open(entry->path, left_ms(start_ns), &entry->client);
	if (r == 0)
		r = control_client_send(entry->client, "org.vgpud.Control.Show", NULL, false,
					left_ms(start_ns));
	entry->state = r < 0 ? open_error_word(r) : "no answer";
}

static void hear(struct entry *entry, uint64_t start_ns)
{
	struct control_reply reply;

	if (!entry->client || control_client_receive(entry->client, left_ms(start_ns), &reply) < 0)
		return;
	if (!reply.error) {
		entry->show = json_incref(reply.parameters);
		entry->state = "running";
	}
	control_reply_done(&reply);
}

static json_t *entry_json(const struct entry *entry)
{
	json_t *object = json_pack("{s:s, s:o, s:s}", "name", entry->name, "control",
				   json_text(entry->path), "state", entry->state);
	static const char *const taken[] = { "pid", "vgpud", "uptime_seconds", "devices" };

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		json_t *value = json_object_get(entry->show, taken[i]);

		if (value)
			json_object_set(object, taken[i], value);
	}
	return object;
}

static void add_screen(struct table *table, const json_t *scanout)
{
	const char *state = get_string(scanout, "state", "-");
	uint64_t width, height;

	if (strcmp(state, "on") == 0 && get_number(scanout, "width", &width) &&
	    get_number(scanout, "height", &height))
		table_add(table, "%ux%u", (unsigned int)width, (unsigned int)height);
	else
		table_add(table, "%s", state);
}

static void add_device(struct table *table, const struct entry *entry, const json_t *device,
		       bool alone)
{
	const json_t *client = json_object_get(device, "client");
	const json_t *scanout = json_object_get(device, "scanout");
	uint64_t pid;

	table_add(table, "%s%s%s", entry->name, alone ? "" : "/",
		  alone ? "" : get_string(device, "id", "?"));
	table_add(table, "%s", get_string(device, "model", "-"));
	if (!get_flag(client, "connected"))
		table_add(table, "none");
	else if (get_number(client, "pid", &pid))
		table_add(table, "pid %ju", (uintmax_t)pid);
	else
		table_add(table, "connected");
	add_screen(table, scanout);
	table_add(table, "%ju", (uintmax_t)number_or_0(scanout, "viewers"));
	table_add(table, "%ju", (uintmax_t)number_or_0(entry->show, "pid"));
	table_add(table, "%s", get_string(device, "socket", "-"));
}

static void add_silent(struct table *table, const struct entry *entry)
{
	table_add(table, "%s", entry->name);
	table_add(table, "-");
	table_add(table, "%s", entry->state);
	table_add(table, "-");
	table_add(table, "-");
	table_add(table, "-");
	table_add(table, "%s", entry->path ? entry->path : "-");
}

static void print_table(const struct entry *entries, size_t n)
{
	static const char *const head[] = { "NAME",    "MODEL", "CLIENT", "SCREEN",
					    "VIEWERS", "PID",	"SOCKET" };
	struct table table;

	table_init(&table, ARRAY_SIZE(head), 1 << 4 | 1 << 5, head);
	for (size_t i = 0; i < n; i++) {
		const json_t *devices = json_object_get(entries[i].show, "devices");

		if (json_array_size(devices) == 0)
			add_silent(&table, &entries[i]);
		for (size_t d = 0; d < json_array_size(devices); d++)
			add_device(&table, &entries[i], json_array_get(devices, d),
				   json_array_size(devices) == 1);
	}
	table_print(&table, 0);
	table_done(&table);
}

static void print_list(const struct names *names, const struct entry *entries)
{
	json_t *array;

	if (output_is_json()) {
		array = json_array();
		for (size_t i = 0; i < names->n; i++)
			json_array_append_new(array, entry_json(&entries[i]));
		print_json(json_pack("{s:i, s:o, s:o}", "version", 1, "directory",
				     json_text(names->directory), "vgpus", array));
	} else if (names->n) {
		print_table(entries, names->n);
	} else {
		remark("no vGPU runs (there is none in %s)", names->directory);
	}
}

static int print_names(const struct names *names)
{
	json_t *array = json_array();

	for (size_t i = 0; i < names->n; i++) {
		if (!output_is_json())
			say("%s", names->names[i]);
		json_array_append_new(array, json_string(names->names[i]));
	}
	if (output_is_json())
		print_json(json_pack("{s:i, s:o}", "version", 1, "names", array));
	else
		json_decref(array);
	return EXIT_OK;
}

/* All are asked before the first is listened to, so that they work at once. */
int run_list(const struct invocation *inv)
{
	_cleanup_(names_done) struct names names = { 0 };
	uint64_t start_ns = clock_ns();
	struct entry *entries;
	int r;

	r = names_read(&names);
	if (r < 0)
		return fail("directory", "cannot look for vGPUs: %s", strerror(-r));
	if (option_value(inv, "names"))
		return print_names(&names);
	entries = calloc(names.n + 1, sizeof(*entries));
	if (!entries)
		return fail("memory", "no memory");
	for (size_t i = 0; i < names.n; i++) {
		entries[i].name = names.names[i];
		ask(&entries[i], start_ns);
	}
	for (size_t i = 0; i < names.n; i++)
		hear(&entries[i], start_ns);
	print_list(&names, entries);
	for (size_t i = 0; i < names.n; i++) {
		control_client_close(entries[i].client);
		json_decref(entries[i].show);
		free(entries[i].path);
	}
	free(entries);
	return EXIT_OK;
}
