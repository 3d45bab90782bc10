/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vfio-user door of one device: the device thread, and how other threads
 * speak to it. The main thread listens and hands each accepted connection in;
 * the device thread serves it, one client at a time, and owns the device.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/counter.h"
#include "base/orders.h"
#include "vfio/device.h"

enum { VFIO_USER_VERSION_TIMEOUT_MS = 10000 };

struct vfio_user_server_events {
	/* Called on the device thread; must not block. */
	void (*disconnected)(void *opaque, int reason); /* reason: negative errno */
	void (*reset)(void *opaque); /* a reset was carried out, whoever asked for it */
	/* There is no memory for another client: the device is of no use any more. */
	void (*failed)(void *opaque);
};

struct vfio_user_server;

/*
 * Starts the device thread for dev, which belongs to that thread until
 * vfio_user_server_free(). poll_us as in spin.h. Returns 0; -EPROTO if a region of
 * the device makes no sense (vfio_device_is_valid()); or another negative errno.
 */
int vfio_user_server_new(struct vfio_device *dev, int poll_us, bool keep_state,
			 const struct vfio_user_server_events *events, void *opaque,
			 struct vfio_user_server **ret);

/* Disconnects the client and ends the device thread. NULL is allowed. */
void vfio_user_server_free(struct vfio_user_server *server);

/*
 * Hands a connected socket to the device thread, which owns it from now on. A
 * client that has not said its VERSION after VFIO_USER_VERSION_TIMEOUT_MS is
 * disconnected (-ETIMEDOUT), so that one that waits behind it gets its turn.
 * Only when there is no client: before the first, and after disconnected().
 * Returns 0 or -ENOMEM (then the socket is closed).
 */
int vfio_user_server_connect(struct vfio_user_server *server, int fd);

/*
 * Runs order->run() on the device thread between two accesses. From any thread.
 */
void vfio_user_server_order(struct vfio_user_server *server, struct order *order);

/*
 * To be called when another client waits: the one that is connected may have got
 * the device thread to block (an eventfd that it fills), and be gone.
 */
void vfio_user_server_wake(struct vfio_user_server *server);

/* Resets the device. Only on the device thread, i.e. in an order. */
void vfio_user_server_reset(struct vfio_user_server *server);

/* What the device thread counts. */
struct vfio_user_server_stats {
	counter_t sleeps; /* times that it went to sleep */
	counter_t connections;
	counter_t spin_budget_ns; /* now */
};

const struct vfio_user_server_stats *vfio_user_server_stats(const struct vfio_user_server *server);
