/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control_fake.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static json_t *describe(void *opaque)
{
	struct fake_device *device = opaque;

	return json_deep_copy(device->about);
}

static int capture(void *opaque, struct scanout_image *ret)
{
	struct fake_device *device = opaque;
	size_t n = (size_t)device->width * device->height;

	if (!n)
		return -ENODATA;
	*ret = (struct scanout_image){ device->width, device->height, malloc(n * 4), SCANOUT_ON };
	assert(ret->pixels);
	for (size_t i = 0; i < n; i++)
		ret->pixels[i] = device->pixel;
	return 0;
}

static int on_reset(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fake_device *device = userdata;
	void (*done)(void *, int) = device->done;

	device->done = NULL;
	device->timer = sd_event_source_unref(device->timer);
	device->resets++;
	done(device->done_arg, device->reset_result);
	return 0;
}

static int reset(void *opaque, void (*done)(void *arg, int result), void *arg)
{
	struct fake_device *device = opaque;

	if (device->done)
		return -EBUSY;
	if (device->reset_error)
		return device->reset_error;
	device->done = done;
	device->done_arg = arg;
	return sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC,
					  device->reset_delay_us, 0, on_reset, device) < 0
		       ? -ENOMEM
		       : 0;
}

const struct control_device_ops fake_device_ops = {
	.describe = describe,
	.capture = capture,
	.reset = reset,
};

static json_t *fake_region(int index, const char *name, json_int_t size, const char *third_flag)
{
	json_t *flags = json_pack("[s, s]", "read", "write");

	if (third_flag)
		json_array_append_new(flags, json_string(third_flag));
	return json_pack("{s:i, s:s, s:I, s:o, s:i, s:i, s:i, s:i, s:{s:i, s:i, s:i, s:i, s:i}}",
			 "index", index, "name", name, "size", size, "flags", flags, "reads", 1200,
			 "read_bytes", 4800, "writes", 17, "write_bytes", 68, "latency_ns", "count",
			 1217, "p50", 900, "p90", 2500, "p99", 43000, "max", 1200000);
}

void fake_device_init(struct fake_device *device, sd_event *event, const char *id,
		      const char *socket)
{
	json_t *regions = json_pack("[o, o]", fake_region(0, "BAR0", 16777216, "mmap"),
				    fake_region(2, "BAR2", 4096, NULL));

	*device = (struct fake_device){
		.event = event,
		.width = 64,
		.height = 48,
		.pixel = 0xff336699,
	};
	device->about = json_pack(
		"{s:s, s:s, s:s?, s:{s:b, s:n, s:i}, s:o, s:[{s:s, s:i, s:i, s:i}],"
		" s:{s:i, s:I, s:I}, s:i, s:i}",
		"id", id, "model", "bochs-display", "socket", socket, "client", "connected", 0,
		"pid", "connections", 3, "regions", regions, "irqs", "name", "INTx", "count", 1,
		"enabled", 1, "triggered", 5, "dma", "maps", 4, "bytes", (json_int_t)1073741824,
		"mapped_bytes", (json_int_t)1073741824, "resets", 2, "faults", 0);
	assert(device->about);
	json_object_set_new(device->about, "scanout",
			    json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "state", "on",
				      "width", 64, "height", 48, "stride", 256, "bpp", 32, "offset",
				      0, "frames", 99, "viewers", 1));
	json_object_set_new(device->about, "consoles",
			    json_pack("[{s:s, s:s, s:i, s:b}]", "kind", "vnc", "address",
				      "127.0.0.1:5901", "viewers", 1, "password", 1));
}

void fake_device_done(struct fake_device *device)
{
	sd_event_source_disable_unref(device->timer);
	if (device->done)
		device->done(device->done_arg, -ECANCELED);
	json_decref(device->about);
}

int fake_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 128) < 0) {
		perror(path);
		abort();
	}
	return fd;
}
