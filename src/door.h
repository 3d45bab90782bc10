/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main thread's half of a vfio-user door: it listens, accepts one client
 * at a time, hands it to the device thread, and listens again when that says
 * that the client is gone.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/orders.h"
#include "transport/vfio_user_server.h"
#include "vfio/device.h"

struct door_config {
	const char *path; /* of the socket, removed at the end; NULL: not ours */
	struct vfio_device *dev;
	int poll_us;
	bool keep_state;
	bool exit_on_disconnect;
	sd_event *event;
	struct orders *orders; /* run by the main thread */
	/* Reports what happened, from any thread; takes data over. */
	void (*send_event)(void *opaque, const char *event, json_t *data);
	void *opaque;
};

struct door;

/*
 * Prepares to serve config->dev on fd, which it takes over (also on failure): a
 * listening socket, or a connected one, whose end ends the program. Returns 0, or
 * a negative errno with *ret_error.
 */
int door_open(int fd, const struct door_config *config, struct door **ret, char **ret_error);

/*
 * Starts the device thread, and serves clients. Opens nothing that has a name.
 * Returns 0 or a negative errno.
 */
int door_start(struct door *door);

/* Disconnects the client and ends the device thread. NULL is allowed. */
void door_close(struct door *door);

/* Resets the device; done(arg, result) follows on the main thread. */
int door_reset(struct door *door, void (*done)(void *arg, int result), void *arg);

struct door_info {
	const char *path; /* absolute; NULL: none, or not known */
	bool connected;
	pid_t client_pid; /* 0: none, or unknown */
	const struct vfio_user_server_stats *stats;
};

/* Of a door that was started. */
void door_get_info(const struct door *door, struct door_info *ret);
