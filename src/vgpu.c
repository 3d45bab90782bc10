/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vgpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/orders.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "console/console.h"
#include "control/control.h"
#include "control/path.h"
#include "describe.h"
#include "door.h"

struct vgpu {
	sd_event *event;
	struct orders orders; /* from device threads to this one */
	sd_event_source *orders_source;
	struct control_server *control;
	struct door *doors[MAX_DEVICES];
	struct device *devices[MAX_DEVICES];
	char ids[MAX_DEVICES][DEVICE_ID_SIZE];
	unsigned int n_devices;
	struct console *consoles[MAX_CONSOLES];
	unsigned int console_devices[MAX_CONSOLES];
	unsigned int n_consoles;
	/* What the control server is given for each device. */
	struct vgpu_device {
		struct vgpu *vgpu;
		unsigned int index;
	} handles[MAX_DEVICES];
};

static int on_orders(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct vgpu *vgpu = opaque;

	orders_run(&vgpu->orders);
	return 0;
}

static json_t *describe(void *opaque)
{
	struct vgpu_device *handle = opaque;
	struct vgpu *vgpu = handle->vgpu;
	json_t *object = describe_device(vgpu->ids[handle->index], vgpu->devices[handle->index],
					 vgpu->doors[handle->index]);
	json_t *consoles = json_array();

	for (unsigned int i = 0; i < vgpu->n_consoles; i++)
		if (vgpu->console_devices[i] == handle->index)
			json_array_append_new(consoles, console_describe(vgpu->consoles[i]));
	json_object_set_new(object, "consoles", consoles);
	return object;
}

static int capture(void *opaque, struct scanout_image *ret)
{
	struct vgpu_device *handle = opaque;
	struct scanout *so = handle->vgpu->devices[handle->index]->scanout;

	return so ? scanout_capture(so, ret) : -ENODATA;
}

static int reset(void *opaque, void (*done)(void *arg, int result), void *arg)
{
	struct vgpu_device *handle = opaque;

	return door_reset(handle->vgpu->doors[handle->index], done, arg);
}

static const struct control_device_ops control_ops = {
	.describe = describe,
	.capture = capture,
	.reset = reset,
};

/* From any thread. */
static void send_event(void *opaque, const char *event, json_t *data)
{
	struct vgpu_device *handle = opaque;
	struct vgpu *vgpu = handle->vgpu;

	if (vgpu->control)
		control_server_event(vgpu->control, vgpu->ids[handle->index], event, data);
	else
		json_decref(data);
}

/* Called by scanout on the device thread; describing it takes no lock of ours. */
static void on_screen_changed(void *opaque)
{
	struct vgpu_device *handle = opaque;
	struct control_server *control = handle->vgpu->control;

	/* A guest may do this all the time. */
	if (!control || !control_server_has_listeners(control))
		return;
	send_event(handle, "screen",
		   describe_scanout(handle->vgpu->devices[handle->index]->scanout));
}

/*
 * A descriptor that was passed by socket activation: the one called "control"
 * is the control socket's; the others go to the devices in their order.
 */
static struct {
	char **names; /* NULL once it was taken */
	int n; /* -1: not looked at yet */
} activated = { .n = -1 };

static int next_activated_fd(bool control)
{
	if (activated.n < 0)
		activated.n = sd_listen_fds_with_names(0, &activated.names);
	for (int i = 0; i < activated.n; i++) {
		char *name = activated.names[i];

		if (!name || !strcmp(name, "control") != control)
			continue;
		free(name);
		activated.names[i] = NULL;
		return SD_LISTEN_FDS_START + i;
	}
	return -1;
}

/* Clients of a socket that was passed to us and that nobody serves would hang. */
static void warn_of_unused_fds(void)
{
	for (int i = 0; i < activated.n; i++)
		if (activated.names[i])
			log_warning("nothing is served on the socket \"%s\" that was passed to us: "
				    "every device has one already",
				    activated.names[i]);
}

/* Where a device listens: its path, its descriptor, or socket activation. */
static int open_door_fd(const struct device_spec *spec, char **ret_error)
{
	int fd;

	if (spec->fd >= 0)
		return spec->fd;
	if (!spec->socket_path) {
		fd = next_activated_fd(false);
		if (fd < 0) {
			*ret_error = text_format("%s: says neither socket= nor fd=, and no socket "
						 "was passed to us",
						 spec->model);
			return -EINVAL;
		}
		return fd;
	}
	/* One client is served; one more may wait while the last one's end is noticed. */
	fd = unix_listen(spec->socket_path, 0600, 1);
	if (fd < 0)
		*ret_error = unix_listen_error(spec->socket_path, fd);
	return fd;
}

static int add_device(struct vgpu *vgpu, const struct options *options, unsigned int i,
		      char **ret_error)
{
	const struct device_spec *spec = &options->devices[i];
	int r;

	vgpu->handles[i] = (struct vgpu_device){ vgpu, i };
	strcpy(vgpu->ids[i], spec->id);
	r = device_create(spec->model, options->name, &spec->options, &vgpu->devices[i], ret_error);
	if (r < 0)
		return r;
	vgpu->n_devices++;
	if (options->n_devices > 1)
		vgpu->devices[i]->vfio.label = vgpu->ids[i]; /* or the log would not say which */
	if (vgpu->devices[i]->scanout)
		scanout_set_listener(vgpu->devices[i]->scanout, on_screen_changed,
				     &vgpu->handles[i]);
	if (vgpu->control)
		r = control_server_add_device(vgpu->control, vgpu->ids[i], &control_ops,
					      &vgpu->handles[i]);
	return r;
}

static int add_door(struct vgpu *vgpu, const struct options *options, unsigned int i,
		    char **ret_error)
{
	const struct device_spec *spec = &options->devices[i];
	const struct door_config config = {
		.path = spec->socket_path,
		.dev = &vgpu->devices[i]->vfio,
		.poll_us = options->poll_us,
		.keep_state = options->keep_state,
		.exit_on_disconnect = options->exit_on_disconnect,
		.event = vgpu->event,
		.orders = &vgpu->orders,
		.send_event = send_event,
		.opaque = &vgpu->handles[i],
	};
	int fd = open_door_fd(spec, ret_error);

	return fd < 0 ? fd : door_open(fd, &config, &vgpu->doors[i], ret_error);
}

static int add_console(struct vgpu *vgpu, const struct options *options, unsigned int i,
		       char **ret_error)
{
	const struct console_spec *spec = &options->consoles[i];
	struct device *device = vgpu->devices[spec->device];
	_cleanup_free_ char *title = NULL; /* of one device, the vGPU's name will do */
	int r;

	if (!device->scanout) {
		*ret_error = text_format("--console=%s: %s has no screen", spec->text,
					 device->model->name);
		return -EINVAL;
	}
	if (options->n_devices > 1)
		title = text_format("%s/%s", options->name, vgpu->ids[spec->device]);
	r = console_open(spec->text, device->scanout, title ? title : options->name,
			 &vgpu->consoles[i], ret_error);
	if (r < 0)
		return r;
	vgpu->console_devices[i] = spec->device;
	vgpu->n_consoles++;
	return 0;
}

/* The control socket's path: as given, or the default, whose directory is made. */
static int control_path(const struct options *options, char **ret)
{
	_cleanup_free_ char *directory = NULL;
	int r;

	if (options->control) {
		*ret = strdup(options->control);
		return *ret ? 0 : -ENOMEM;
	}
	r = control_default_directory(&directory);
	if (r == 0)
		r = control_make_directory(directory);
	return r < 0 ? r : control_default_path(options->name, ret);
}

static int open_control(struct vgpu *vgpu, const struct options *options, char **ret_error)
{
	_cleanup_free_ char *path = NULL;
	int fd, r;

	if (options->control && !strcmp(options->control, "none"))
		return 0;
	fd = next_activated_fd(true);
	if (fd < 0) {
		r = control_path(options, &path);
		if (r < 0) {
			/* Nobody asked for it, so nobody need miss it. */
			log_warning(
				"no control socket, so vgpuctl won't find this vGPU: no place for "
				"it: %s; choose one with --control=PATH, or --control=none",
				strerror(-r));
			return 0;
		}
		fd = unix_listen(path, 0600, 16);
		if (fd < 0) {
			*ret_error = unix_listen_error(path, fd);
			return fd;
		}
	}
	return control_server_new(vgpu->event, options->name, path, fd, &vgpu->control);
}

static int open_all(struct vgpu *vgpu, const struct options *options, char **ret_error)
{
	int r;

	json_object_seed(0); /* from a file; later, with the first object, is too late */
	r = orders_init(&vgpu->orders);
	if (r < 0)
		return r;
	r = sd_event_add_io(vgpu->event, &vgpu->orders_source, vgpu->orders.fd, EPOLLIN, on_orders,
			    vgpu);
	if (r < 0)
		return r;
	/* Control first: devices report their events to it. */
	r = open_control(vgpu, options, ret_error);
	for (unsigned int i = 0; i < options->n_devices && r >= 0; i++)
		r = add_device(vgpu, options, i, ret_error);
	for (unsigned int i = 0; i < options->n_consoles && r >= 0; i++)
		r = add_console(vgpu, options, i, ret_error);
	for (unsigned int i = 0; i < options->n_devices && r >= 0; i++)
		r = add_door(vgpu, options, i, ret_error);
	if (r < 0)
		return r;
	warn_of_unused_fds();
	return 0;
}

int vgpu_open(const struct options *options, sd_event *event, struct vgpu **ret)
{
	struct vgpu *vgpu = calloc(1, sizeof(*vgpu));
	_cleanup_free_ char *error = NULL;
	int r;

	if (!vgpu)
		return -ENOMEM;
	vgpu->event = event;
	vgpu->orders.fd = -1;
	r = open_all(vgpu, options, &error);
	if (r < 0) {
		log_error("%s", error ? error : strerror(-r));
		vgpu_stop(vgpu);
		return r;
	}
	*ret = vgpu;
	return 0;
}

int vgpu_start(struct vgpu *vgpu, const struct sandbox_info *sandbox)
{
	_cleanup_free_ char *error = NULL;
	int r = 0;

	if (vgpu->control)
		control_server_set(vgpu->control, "sandbox", describe_sandbox(sandbox));
	for (unsigned int i = 0; i < vgpu->n_consoles && r >= 0; i++)
		r = console_start(vgpu->consoles[i], &error);
	/* Last: when a client connects, nothing is left that may fail. */
	for (unsigned int i = 0; i < vgpu->n_devices && r >= 0; i++)
		r = door_start(vgpu->doors[i]);
	if (r < 0)
		log_error("%s", error ? error : strerror(-r));
	return r;
}

void vgpu_stop(struct vgpu *vgpu)
{
	if (!vgpu)
		return;
	for (unsigned int i = 0; i < vgpu->n_consoles; i++)
		console_close(vgpu->consoles[i]);
	for (unsigned int i = 0; i < vgpu->n_devices; i++)
		door_close(vgpu->doors[i]);
	if (vgpu->orders.fd >= 0)
		orders_done(&vgpu->orders); /* answers whoever waits for a reset */
	control_server_free(vgpu->control);
	for (unsigned int i = 0; i < vgpu->n_devices; i++)
		device_destroy(vgpu->devices[i]);
	sd_event_source_disable_unref(vgpu->orders_source);
	free(vgpu);
}
