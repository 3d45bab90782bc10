/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: how people and programs ask a running vgpud about
 * itself and tell it what to do.
 *
 * The wire is Varlink's (https://varlink.org: JSON objects ended by NUL on a
 * UNIX stream socket), so that `varlinkctl` works too; the interface is
 * org.vgpud.Control, described in src/control/org.vgpud.Control.varlink. The
 * server runs on the main thread's sd-event loop and never blocks it: pictures
 * are compressed on a thread of their own, and a client that does not read its
 * answer is disconnected. Who may connect is said by the socket's mode and its
 * directory's. Where the socket lies by default: control/path.h.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "scanout/scanout.h"

/* One device of this vgpud, as control sees it. Called on the main thread. */
struct control_device_ops {
	/*
	 * A new object about the device: one element of "devices" in the answer
	 * to Show, a Device of the interface. Its "id" is the one it was added
	 * with. Counters may move while it is made; nothing blocks. NULL if that
	 * cannot be done: Show then has no more of the device than its id.
	 */
	json_t *(*describe)(void *opaque);
	/*
	 * The picture on screen, which the server releases with
	 * scanout_image_done(); -ENODATA if the device has no screen.
	 */
	int (*capture)(void *opaque, struct scanout_image *ret);
	/*
	 * Orders a device reset and returns at once; done(arg, result) comes on
	 * the main thread, exactly once, unless a negative errno is returned. It
	 * may come before reset() returns, and after control_server_free().
	 */
	int (*reset)(void *opaque, void (*done)(void *arg, int result), void *arg);
};

struct control_server;

/*
 * Serves the control socket of the vGPU called name on listen_fd, a listening
 * UNIX stream socket, which it takes over (also on failure). path is the
 * socket's own, for answers, and is unlinked at the end unless NULL or taken
 * by another file meanwhile; this needs nothing but unlinkat(2), in a sandbox
 * too. Returns 0 or a negative errno.
 */
int control_server_new(sd_event *event, const char *name, const char *path, int listen_fd,
		       struct control_server **ret);

/*
 * Adds a member to the answer to Show, about the vGPU as a whole, and takes value
 * over.
 */
void control_server_set(struct control_server *server, const char *key, json_t *value);

/*
 * Disconnects everybody; waits for a picture that is being compressed. No
 * other thread may call control_server_event() any more. NULL is allowed.
 */
void control_server_free(struct control_server *server);

/*
 * id is unique within the server (e.g. "gpu0"), copied; devices keep this
 * order. ops and opaque must outlive the server. Returns 0, -EEXIST or -ENOMEM.
 */
int control_server_add_device(struct control_server *server, const char *id,
			      const struct control_device_ops *ops, void *opaque);

/*
 * Sends an event to whoever listens with Events: {"event": event, "device": id
 * or null, "time": RFC 3339, "data": data}. data is an object or NULL (then
 * there is no such member) and is taken over: no other thread may use it any
 * more. Callable from any thread, never blocks, costs a queue entry if anybody
 * listens and nothing if nobody does; a listener that falls behind is told how
 * many events it missed.
 */
void control_server_event(struct control_server *server, const char *id, const char *event,
			  json_t *data);

/*
 * True if anybody listens: whoever makes many events asks this before it makes
 * their data. Callable from any thread; costs one atomic load.
 */
bool control_server_has_listeners(struct control_server *server);
