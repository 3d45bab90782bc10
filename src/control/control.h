/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: how people and programs ask a running vgpud about
 * itself and tell it what to do.
 *
 * The wire is Varlink's (https://varlink.org: JSON objects ended by NUL on a
 * UNIX stream socket), so that `varlinkctl` works too; the interface is
 * org.vgpud.Control, described in src/control/org.vgpud.Control.varlink. The
 * server runs on the main thread's sd-event loop and never blocks it: a client
 * that does not read is disconnected.
 */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "scanout/scanout.h"

/* One device of this vgpud, as control sees it. Called on the main thread. */
struct control_device_ops {
	/*
	 * A new object about the device: one element of "devices" in the answer
	 * to Show. Counters may move while it is made; nothing blocks.
	 */
	json_t *(*describe)(void *opaque);
	/* The picture on screen; -ENODATA if the device has no screen. */
	int (*capture)(void *opaque, struct scanout_image *ret);
	/*
	 * Orders a device reset and returns at once; done(arg, result) comes on
	 * the main thread, exactly once, unless a negative errno is returned.
	 */
	int (*reset)(void *opaque, void (*done)(void *arg, int result), void *arg);
};

struct control_server;

/*
 * Serves the control socket of the vGPU called name on listen_fd, which it
 * takes over (also on failure). path is the socket's own, for answers, and is
 * unlinked at the end unless NULL. Returns 0 or a negative errno.
 */
int control_server_new(sd_event *event, const char *name, const char *path, int listen_fd,
		       struct control_server **ret);

/* Disconnects everybody. NULL is allowed. */
void control_server_free(struct control_server *server);

/* id is unique within the server (e.g. "gpu0"), copied; devices keep this order. */
int control_server_add_device(struct control_server *server, const char *id,
			      const struct control_device_ops *ops, void *opaque);

/*
 * Sends an event to whoever listens with Events: {"event": event, "device": id
 * or null, "time": RFC 3339, ...data}. data may be NULL and is taken over.
 * Callable from any thread, never blocks, costs a queue entry if anybody
 * listens and nothing if nobody does; a listener that falls behind is told how
 * many events it missed.
 */
void control_server_event(struct control_server *server, const char *id, const char *event,
			  json_t *data);
