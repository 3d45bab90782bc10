/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

/* "3 maps", "1 map" */
#define COUNTED(n, word) (uintmax_t)(n), (n) == 1 ? word : word "s"

static void row(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *label, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = text_vformat(format, args);
	va_end(args);
	say("  %-9s %s", label, text);
}

static void show_client(const json_t *client)
{
	uint64_t pid, connections = number_or_0(client, "connections");

	if (!client)
		return;
	if (!get_flag(client, "connected"))
		row("client", "none (%ju %s so far)", COUNTED(connections, "connection"));
	else if (get_number(client, "pid", &pid))
		row("client", "connected, pid %ju (connection %ju)", (uintmax_t)pid,
		    (uintmax_t)connections);
	else
		row("client", "connected (connection %ju)", (uintmax_t)connections);
}

static void show_scanout(const json_t *scanout)
{
	const char *state = get_string(scanout, "state", NULL);
	uint64_t viewers = number_or_0(scanout, "viewers");

	if (!state)
		return;
	if (strcmp(state, "off") == 0)
		row("screen", "off; %ju %s", COUNTED(viewers, "viewer"));
	else
		row("screen", "%s, %ju x %ju, %ju bpp, stride %ju, offset 0x%jx; %ju %s", state,
		    (uintmax_t)number_or_0(scanout, "width"),
		    (uintmax_t)number_or_0(scanout, "height"),
		    (uintmax_t)number_or_0(scanout, "bpp"),
		    (uintmax_t)number_or_0(scanout, "stride"),
		    (uintmax_t)number_or_0(scanout, "offset"), COUNTED(viewers, "viewer"));
	row("frames", "%ju", (uintmax_t)number_or_0(scanout, "frames"));
}

static void show_consoles(const json_t *consoles)
{
	for (size_t i = 0; i < json_array_size(consoles); i++) {
		const json_t *console = json_array_get(consoles, i);
		uint64_t viewers = number_or_0(console, "viewers");

		row("console", "%s %s, %s, %ju %s", get_string(console, "kind", "?"),
		    get_string(console, "address", "?"),
		    get_flag(console, "password") ? "with a password" : "no password",
		    COUNTED(viewers, "viewer"));
	}
}

static void show_dma(const json_t *dma)
{
	uint64_t maps, bytes = number_or_0(dma, "bytes"), mapped = number_or_0(dma, "mapped_bytes");

	if (get_number(dma, "maps", &maps))
		row("memory", "%ju %s of %s, %s of it shared", COUNTED(maps, "map"),
		    human_bytes(bytes), mapped == bytes ? "all" : human_bytes(mapped));
}

static void show_irqs(const json_t *irqs)
{
	for (size_t i = 0; i < json_array_size(irqs); i++) {
		const json_t *irq = json_array_get(irqs, i);
		uint64_t count = number_or_0(irq, "count"), enabled = number_or_0(irq, "enabled");
		uint64_t triggered = number_or_0(irq, "triggered");

		if (count)
			row("irq", "%s, %ju of %ju enabled, triggered %ju %s",
			    get_string(irq, "name", "?"), (uintmax_t)enabled, (uintmax_t)count,
			    COUNTED(triggered, "time"));
	}
}

static void show_polling(const json_t *poll)
{
	uint64_t budget;

	if (get_number(poll, "budget_ns", &budget))
		row("polling", "%s before it sleeps; slept %ju %s",
		    budget ? human_ns(budget) : "not at all",
		    COUNTED(number_or_0(poll, "sleeps"), "time"));
}

static void add_access(struct table *table, const json_t *flags)
{
	char text[32] = "";

	for (size_t i = 0; i < json_array_size(flags); i++) {
		const char *flag = json_string_value(json_array_get(flags, i));

		if (!flag)
			continue;
		if (strcmp(flag, "read") == 0)
			strcat(text, "r");
		else if (strcmp(flag, "write") == 0)
			strcat(text, "w");
		else if (strcmp(flag, "mmap") == 0)
			strcat(text, " mmap");
		if (strlen(text) > sizeof(text) - 8)
			break;
	}
	table_add(table, "%s", text[0] ? text : "-");
}

static void add_latency(struct table *table, const json_t *latency, const char *key)
{
	uint64_t value;

	if (number_or_0(latency, "count") && get_number(latency, key, &value))
		table_add(table, "%s", human_ns(value));
	else
		table_add(table, "-");
}

static void show_regions(const json_t *regions)
{
	static const char *const head[] = { "REGION", "SIZE",  "ACCESS", "READS", "BYTES",
					    "WRITES", "BYTES", "P50",	 "P99",	  "MAX" };
	struct table table;

	if (!json_array_size(regions))
		return;
	table_init(&table, ARRAY_SIZE(head), 0x3fa, head);
	for (size_t i = 0; i < json_array_size(regions); i++) {
		const json_t *region = json_array_get(regions, i);
		const json_t *latency = json_object_get(region, "latency_ns");
		uint64_t size = number_or_0(region, "size");

		if (!size)
			continue;
		table_add(&table, "%ju %s", (uintmax_t)number_or_0(region, "index"),
			  get_string(region, "name", ""));
		table_add(&table, "%s", human_bytes(size));
		add_access(&table, json_object_get(region, "flags"));
		table_add(&table, "%ju", (uintmax_t)number_or_0(region, "reads"));
		table_add(&table, "%s", human_bytes(number_or_0(region, "read_bytes")));
		table_add(&table, "%ju", (uintmax_t)number_or_0(region, "writes"));
		table_add(&table, "%s", human_bytes(number_or_0(region, "write_bytes")));
		add_latency(&table, latency, "p50");
		add_latency(&table, latency, "p99");
		add_latency(&table, latency, "max");
	}
	say("%s", "");
	table_print(&table, 2);
	table_done(&table);
}

static void show_device(const json_t *device)
{
	const char *socket = get_string(device, "socket", NULL);
	uint64_t n;

	say("%s", "");
	say("%s: %s", get_string(device, "id", "?"), get_string(device, "model", "?"));
	if (socket)
		row("socket", "%s", socket);
	show_client(json_object_get(device, "client"));
	show_scanout(json_object_get(device, "scanout"));
	show_consoles(json_object_get(device, "consoles"));
	show_dma(json_object_get(device, "dma"));
	show_irqs(json_object_get(device, "irqs"));
	show_polling(json_object_get(device, "poll"));
	if (get_number(device, "resets", &n))
		row("resets", "%ju", (uintmax_t)n);
	if (get_number(device, "faults", &n))
		row("faults", "%ju", (uintmax_t)n);
	show_regions(json_object_get(device, "regions"));
}

static void show_sandbox(const json_t *sandbox)
{
	const char *seccomp = get_string(sandbox, "seccomp", NULL);

	if (seccomp)
		row("sandbox", "%s, %s, seccomp %s",
		    get_flag(sandbox, "namespaces") ? "namespaces" : "no namespaces",
		    get_flag(sandbox, "landlock") ? "Landlock" : "no Landlock", seccomp);
}

static void show_page(const json_t *show, const json_t *devices)
{
	const char *control = get_string(show, "control", NULL);
	const json_t *uptime = json_object_get(show, "uptime_seconds");

	say("%s: vgpud %s, pid %ju%s%s", get_string(show, "name", "?"),
	    get_string(show, "vgpud", "?"), (uintmax_t)number_or_0(show, "pid"),
	    json_is_number(uptime) ? ", up " : "",
	    json_is_number(uptime) ? human_duration(json_number_value(uptime)) : "");
	if (control)
		row("control", "%s", control);
	show_sandbox(json_object_get(show, "sandbox"));
	for (size_t i = 0; i < json_array_size(devices); i++)
		show_device(json_array_get(devices, i));
}

int run_show(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	json_t *show, *devices;
	int r;

	r = target_resolve(inv->operands[0], &target);
	if (r)
		return r;
	r = target_show(&target, &show, &devices);
	if (r)
		return r;
	if (output_is_json()) {
		json_object_set(show, "devices", devices);
		print_json(json_incref(show));
	} else {
		show_page(show, devices);
	}
	json_decref(devices);
	json_decref(show);
	return EXIT_OK;
}
