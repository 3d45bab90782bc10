/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device, as lspci -vv would show it, and what VFIO says of it. All of it is
 * collected first, as JSON; the text is made from that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "pci.h"
#include "probe.h"
#include "server.h"
#include "vfio/device.h"

static json_t *hex_of(uint64_t value, int digits)
{
	_cleanup_free_ char *text = text_format("0x%0*llx", digits, (unsigned long long)value);

	return json_string(text);
}

static json_t *hex(uint64_t value)
{
	return hex_of(value, 1);
}

static void add_flags(json_t *object, const char *key, uint32_t value,
		      const struct probe_flag *flags, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		if (value & flags[i].bit)
			json_array_append_new(array, json_string(flags[i].name));
	json_object_set_new(object, key, array);
}

/*
 * Collecting
 */

static const char *trapping(const struct probe_region *region)
{
	if (!(region->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return "trapped";
	return region->sparse ? "mixed" : "mapped";
}

static json_t *region_json(const struct probe_region *region)
{
	static const struct probe_flag flags[] = {
		{ VFIO_REGION_INFO_FLAG_READ, "read" },
		{ VFIO_REGION_INFO_FLAG_WRITE, "write" },
		{ VFIO_REGION_INFO_FLAG_MMAP, "mmap" },
	};
	const char *name = vfio_region_index_name(region->index);
	json_t *object = json_pack("{s:i, s:s, s:I, s:s}", "index", (int)region->index, "name",
				   name ? name : "device specific", "size",
				   (json_int_t)region->size, "access", trapping(region));
	json_t *areas;

	add_flags(object, "flags", region->flags, flags, ARRAY_SIZE(flags));
	if (!region->sparse)
		return object;
	areas = json_array();
	for (uint32_t i = 0; i < region->n_areas; i++)
		json_array_append_new(areas, json_pack("{s:o, s:I}", "offset",
						       hex(region->areas[i].offset), "size",
						       (json_int_t)region->areas[i].size));
	json_object_set_new(object, "mapped_areas", areas);
	return object;
}

static void add_bar(json_t *object, const struct pci_config *config, uint32_t index)
{
	struct pci_bar bar;

	if (index >= PCI_N_BARS)
		return;
	pci_config_bar(config, index, &bar);
	json_object_set_new(object, "type", json_string(bar.io ? "I/O ports" : "memory"));
	json_object_set_new(object, "address", hex_of(bar.address, bar.is_64 ? 16 : 8));
	json_object_set_new(object, "address_64", json_boolean(bar.is_64));
	json_object_set_new(object, "prefetchable", json_boolean(bar.prefetch));
}

static void add_doorbells(json_t *object, struct probe_device *dev, uint32_t index)
{
	struct probe_io_fds io_fds;
	json_t *array;

	if (dev->ops->get_io_fds(dev, index, &io_fds) < 0 || !io_fds.n)
		return;
	array = json_array();
	for (uint32_t i = 0; i < io_fds.n; i++) {
		const struct probe_io_fd *entry = &io_fds.entries[i];

		json_array_append_new(array,
				      json_pack("{s:o, s:I, s:s}", "offset", hex(entry->offset),
						"size", (json_int_t)entry->size, "kind",
						entry->type ? "ioregionfd" : "ioeventfd"));
	}
	json_object_set_new(object, "doorbells", array);
	close_fds(io_fds.fds, io_fds.n_fds);
}

static int collect_regions(struct probe_device *dev, const struct vfio_device_info *info,
			   const struct pci_config *config, json_t *ret)
{
	uint32_t n = info->num_regions < PROBE_MAX_REGIONS ? info->num_regions : PROBE_MAX_REGIONS;

	for (uint32_t i = 0; i < n; i++) {
		struct probe_region region;
		json_t *object;
		int r = dev->ops->get_region(dev, i, &region);

		if (probe_is_broken(r))
			return r;
		if (r < 0 || !region.size)
			continue;
		object = region_json(&region);
		if (config)
			add_bar(object, config, i);
		add_doorbells(object, dev, i);
		json_array_append_new(ret, object);
		probe_region_done(&region);
	}
	return 0;
}

static int collect_irqs(struct probe_device *dev, const struct vfio_device_info *info, json_t *ret)
{
	static const struct probe_flag flags[] = {
		{ VFIO_IRQ_INFO_EVENTFD, "eventfd" },
		{ VFIO_IRQ_INFO_MASKABLE, "maskable" },
		{ VFIO_IRQ_INFO_AUTOMASKED, "automasked" },
		{ VFIO_IRQ_INFO_NORESIZE, "noresize" },
	};
	uint32_t n = info->num_irqs < PROBE_MAX_IRQS ? info->num_irqs : PROBE_MAX_IRQS;

	for (uint32_t i = 0; i < n; i++) {
		const char *name = vfio_irq_name(i);
		struct vfio_irq_info irq;
		json_t *object;
		int r = dev->ops->get_irq(dev, i, &irq);

		if (probe_is_broken(r))
			return r;
		if (r < 0)
			continue;
		object = json_pack("{s:i, s:s, s:I}", "index", (int)i, "name",
				   name ? name : "device specific", "count", (json_int_t)irq.count);
		add_flags(object, "flags", irq.flags, flags, ARRAY_SIZE(flags));
		json_array_append_new(ret, object);
	}
	return 0;
}

static const struct probe_flag command_flags[] = {
	{ PCI_COMMAND_IO, "I/O" },	     { PCI_COMMAND_MEMORY, "Mem" },
	{ PCI_COMMAND_MASTER, "BusMaster" }, { PCI_COMMAND_PARITY, "ParErr" },
	{ PCI_COMMAND_SERR, "SERR" },	     { PCI_COMMAND_INTX_DISABLE, "DisINTx" },
};

static const struct probe_flag status_flags[] = {
	{ PCI_STATUS_CAP_LIST, "Cap" },
	{ PCI_STATUS_66MHZ, "66MHz" },
	{ PCI_STATUS_FAST_BACK, "FastB2B" },
	{ PCI_STATUS_PARITY, "ParErr" },
	{ PCI_STATUS_SIG_TARGET_ABORT, ">TAbort" },
	{ PCI_STATUS_REC_TARGET_ABORT, "<TAbort" },
	{ PCI_STATUS_REC_MASTER_ABORT, "<MAbort" },
	{ PCI_STATUS_SIG_SYSTEM_ERROR, ">SERR" },
	{ PCI_STATUS_DETECTED_PARITY, "<PERR" },
	{ PCI_STATUS_INTERRUPT, "INTx" },
};

static json_t *bytes_json(const struct pci_config *config)
{
	_cleanup_free_ char *text = calloc(2, config->size + 1);

	for (uint32_t i = 0; text && i < config->size; i++)
		snprintf(text + 2 * i, 3, "%02x", config->bytes[i]);
	return json_string(text);
}

static json_t *pci_json(const struct pci_config *config)
{
	const uint8_t *c = config->bytes;
	json_t *caps = json_array();
	json_t *object = json_pack(
		"{s:o, s:o, s:o, s:s, s:i, s:o, s:o, s:i, s:I}", "vendor",
		hex_of(get_le16(c + PCI_VENDOR_ID), 4), "device",
		hex_of(get_le16(c + PCI_DEVICE_ID), 4), "class",
		hex_of(get_le32(c + PCI_CLASS_REVISION) >> 8, 6), "class_name",
		pci_class_name(c[PCI_CLASS_DEVICE + 1]), "revision", (int)c[PCI_REVISION_ID],
		"subsystem_vendor", hex_of(get_le16(c + PCI_SUBSYSTEM_VENDOR_ID), 4), "subsystem",
		hex_of(get_le16(c + PCI_SUBSYSTEM_ID), 4), "interrupt_pin",
		(int)c[PCI_INTERRUPT_PIN], "config_size", (json_int_t)config->size);

	add_flags(object, "command", get_le16(c + PCI_COMMAND), command_flags,
		  ARRAY_SIZE(command_flags));
	add_flags(object, "status", get_le16(c + PCI_STATUS), status_flags,
		  ARRAY_SIZE(status_flags));
	for (unsigned int i = 0; i < config->n_capabilities; i++)
		json_array_append_new(caps, pci_capability_json(config, &config->capabilities[i]));
	json_object_set_new(object, "capabilities", caps);
	if (config->broken)
		json_object_set_new(object, "broken", json_string(config->broken));
	return object;
}

static json_t *protocol_json(const struct vfio_user_door *door)
{
	const struct vfio_user_agreed *agreed = &door->agreed;

	return json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:O?}", "name",
			 door->dev.ops->name, "major", (int)agreed->major, "minor",
			 (int)agreed->minor, "max_msg_fds", (json_int_t)agreed->max_msg_fds,
			 "max_data_xfer_size", (json_int_t)agreed->max_data_xfer_size,
			 "max_dma_maps", (json_int_t)agreed->max_dma_maps, "pgsizes",
			 (json_int_t)agreed->pgsizes, "write_multiple", agreed->write_multiple,
			 "reply", agreed->data);
}

static int collect(struct vfio_user_door *door, bool with_bytes, json_t *object)
{
	struct probe_device *dev = &door->dev;
	json_t *regions = json_array(), *irqs = json_array(), *pci;
	struct vfio_device_info info;
	struct pci_config config;
	bool is_pci;
	int r = dev->ops->get_info(dev, &info);

	json_object_set_new(object, "regions", regions);
	json_object_set_new(object, "irqs", irqs);
	if (r < 0)
		return r;
	is_pci = info.flags & VFIO_DEVICE_FLAGS_PCI;
	json_object_set_new(object, "reset", json_boolean(info.flags & VFIO_DEVICE_FLAGS_RESET));
	if (is_pci) {
		r = pci_config_read(dev, &config);
		if (r < 0)
			return r;
		pci = pci_json(&config);
		if (with_bytes)
			json_object_set_new(pci, "config", bytes_json(&config));
		json_object_set_new(object, "pci", pci);
	}
	r = collect_regions(dev, &info, is_pci ? &config : NULL, regions);
	return r < 0 ? r : collect_irqs(dev, &info, irqs);
}

/*
 * Text
 */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* 0x1af4 as 1af4. */
static const char *digits_of(const json_t *object, const char *key)
{
	const char *text = text_of(object, key);

	return strncmp(text, "0x", 2) == 0 ? text + 2 : text;
}

static bool has_flag(const json_t *array, const char *name)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		if (strcmp(json_string_value(json_array_get(array, i)), name) == 0)
			return true;
	return false;
}

/* "A+ B- C-": all that there are. */
static void say_signs(const char *label, const json_t *array, const struct probe_flag *flags,
		      size_t n)
{
	char *text = text_format("%s:", label);

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *before = text;

		text = text_format("%s %s%c", before, flags[i].name,
				   has_flag(array, flags[i].name) ? '+' : '-');
	}
	say("    %s", text);
	free(text);
}

/* "read write": those that are set. */
static char *join(const json_t *array)
{
	char *text = text_format("%s", "");

	for (size_t i = 0; i < json_array_size(array); i++) {
		_cleanup_free_ char *before = text;

		text = text_format("%s%s%s", before, *before ? " " : "",
				   json_string_value(json_array_get(array, i)));
	}
	return text;
}

static void say_region(json_t *region)
{
	long long index = number_of(region, "index");
	_cleanup_free_ char *flags = join(json_object_get(region, "flags"));
	const json_t *areas = json_object_get(region, "mapped_areas");
	const json_t *doorbells = json_object_get(region, "doorbells");
	const char *size = human_bytes((uint64_t)number_of(region, "size"));

	if (json_object_get(region, "address"))
		say("    Region %lld: %s at %s (%d-bit, %sprefetchable) [size=%s] %s", index,
		    strcmp(text_of(region, "type"), "memory") == 0 ? "Memory" : "I/O ports",
		    digits_of(region, "address"),
		    json_is_true(json_object_get(region, "address_64")) ? 64 : 32,
		    json_is_true(json_object_get(region, "prefetchable")) ? "" : "non-", size,
		    text_of(region, "access"));
	else
		say("    Region %lld: %s [size=%s] %s, %s", index, text_of(region, "name"), size,
		    text_of(region, "access"), flags);
	for (size_t i = 0; i < json_array_size(areas); i++) {
		const json_t *area = json_array_get(areas, i);

		say("        mapped: %s, %s", text_of(area, "offset"),
		    human_bytes((uint64_t)number_of(area, "size")));
	}
	for (size_t i = 0; i < json_array_size(doorbells); i++) {
		const json_t *doorbell = json_array_get(doorbells, i);

		say("        doorbell: %s, %lld bytes, %s", text_of(doorbell, "offset"),
		    number_of(doorbell, "size"), text_of(doorbell, "kind"));
	}
}

/* "enabled-", "vectors=4": one thing that the decoder found. */
static char *describe(const char *key, const json_t *value)
{
	if (json_is_boolean(value))
		return text_format("%s%c", key, json_is_true(value) ? '+' : '-');
	if (json_is_integer(value))
		return text_format("%s=%lld", key, (long long)json_integer_value(value));
	return text_format("%s=%s", key, json_string_value(value));
}

/* "[50] MSI: enabled- vectors=4": whatever the decoder found. */
static void say_capability(json_t *cap)
{
	_cleanup_free_ char *text = NULL;
	bool any = false;

	if (strcmp(text_of(cap, "name"), "Unknown") == 0) {
		say("    Capabilities: [%s] Unknown: id %s", digits_of(cap, "offset"),
		    text_of(cap, "id"));
		return;
	}
	text = text_format("Capabilities: [%s] %s", digits_of(cap, "offset"), text_of(cap, "name"));
	for (void *at = json_object_iter(cap); at; at = json_object_iter_next(cap, at)) {
		_cleanup_free_ char *before = NULL, *found = NULL;
		const char *key = json_object_iter_key(at);

		if (!strcmp(key, "offset") || !strcmp(key, "id") || !strcmp(key, "name"))
			continue;
		before = text;
		found = describe(key, json_object_iter_value(at));
		text = text_format("%s%s %s", before, any ? "" : ":", found);
		any = true;
	}
	say("    %s", text);
}

static void say_bytes(const char *text)
{
	for (size_t row = 0; text[2 * row]; row += 16) {
		char line[64] = "";

		for (size_t i = 0; i < 16 && text[2 * (row + i)]; i++)
			snprintf(line + 3 * i, 4, " %.2s", text + 2 * (row + i));
		say("%02zx:%s", row, line);
	}
}

static void say_pci(const json_t *pci)
{
	long long pin = number_of(pci, "interrupt_pin");

	say("%s:%s %s [%s] (rev %02llx)", digits_of(pci, "vendor"), digits_of(pci, "device"),
	    text_of(pci, "class_name"), digits_of(pci, "class"), number_of(pci, "revision"));
	say("    Subsystem: %s:%s", digits_of(pci, "subsystem_vendor"),
	    digits_of(pci, "subsystem"));
	say_signs("Control", json_object_get(pci, "command"), command_flags,
		  ARRAY_SIZE(command_flags));
	say_signs("Status", json_object_get(pci, "status"), status_flags, ARRAY_SIZE(status_flags));
	if (pin >= 1 && pin <= 4)
		say("    Interrupt: pin %c", (char)('A' + pin - 1));
}

static void say_protocol(const json_t *protocol)
{
	say("    Protocol: %s %lld.%lld, at most %lld descriptors and %s in a message, %lld DMA "
	    "maps",
	    text_of(protocol, "name"), number_of(protocol, "major"), number_of(protocol, "minor"),
	    number_of(protocol, "max_msg_fds"),
	    human_bytes((uint64_t)number_of(protocol, "max_data_xfer_size")),
	    number_of(protocol, "max_dma_maps"));
	say("        pgsizes=0x%llx write_multiple%c", number_of(protocol, "pgsizes"),
	    json_is_true(json_object_get(protocol, "write_multiple")) ? '+' : '-');
}

static void say_each(const json_t *array, void (*say_one)(json_t *one))
{
	for (size_t i = 0; i < json_array_size(array); i++)
		say_one(json_array_get(array, i));
}

static void say_irq(json_t *irq)
{
	_cleanup_free_ char *flags = join(json_object_get(irq, "flags"));

	say("    Interrupts %lld: %s, %lld vectors%s%s", number_of(irq, "index"),
	    text_of(irq, "name"), number_of(irq, "count"), *flags ? ", " : "", flags);
}

static void say_all(const json_t *object)
{
	const json_t *pci = json_object_get(object, "pci");
	const char *bytes = text_of(pci, "config");

	if (pci)
		say_pci(pci);
	say_each(json_object_get(object, "regions"), say_region);
	say_each(json_object_get(pci, "capabilities"), say_capability);
	if (json_object_get(pci, "broken"))
		say("    Broken: %s", text_of(pci, "broken"));
	say_each(json_object_get(object, "irqs"), say_irq);
	say("    Reset%c", json_is_true(json_object_get(object, "reset")) ? '+' : '-');
	say_protocol(json_object_get(object, "protocol"));
	if (*bytes)
		say_bytes(bytes);
}

int run_dump(const struct probe_options *options)
{
	char error[PROBE_ERROR_SIZE] = "";
	struct vfio_user_door *door;
	json_t *object;
	int r;

	if (server_open(options->server, options->timeout_ms, &door, error) < 0)
		return fail("connect", "%s", error);
	object = json_pack("{s:i, s:o}", "version", 1, "protocol", protocol_json(door));
	r = collect(door, options->hex, object);
	if (r < 0) {
		snprintf(error, sizeof(error), "%s",
			 probe_is_broken(r) ? probe_error(&door->dev) : probe_result(r));
		vfio_user_close(door);
		json_decref(object);
		return fail("dump", "the device cannot be read: %s", error);
	}
	vfio_user_close(door);
	if (output_is_json()) {
		print_json(object);
		return EXIT_OK;
	}
	say_all(object);
	json_decref(object);
	return EXIT_OK;
}
