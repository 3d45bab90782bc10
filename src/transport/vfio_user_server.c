/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/vfio_user_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "transport/spin.h"
#include "transport/vfio_user_session.h"

struct vfio_user_server {
	struct vfio_device *dev;
	bool keep_state;
	const struct vfio_user_server_events *events;
	void *opaque;

	pthread_t thread;
	struct orders orders;
	struct vfio_user_server_stats stats;

	/* The device thread's own. */
	struct vfio_user_session session;
	bool connected;
	bool stopping;
	bool broken; /* the device could not be power-cycled */
	uint64_t resets_seen;
	struct spin spin;
	uint64_t idle_since_ns; /* when the last request had been answered */
};

static void disconnect(struct vfio_user_server *server, int reason)
{
	int r;

	vfio_user_session_done(&server->session);
	server->connected = false;
	r = vfio_device_disconnect(server->dev, server->keep_state);
	if (r < 0) {
		log_error("%s: no memory for the next client: %s", server->dev->label,
			  strerror(-r));
		server->broken = true;
	}
	if (reason != -ECONNRESET && reason != -EPIPE)
		log_ratelimited(LOG_LEVEL_WARNING, "%s: the client was disconnected: %s",
				server->dev->label, strerror(-reason));
	server->events->disconnected(server->opaque, reason);
	if (server->broken)
		server->events->failed(server->opaque);
}

static void notice_reset(struct vfio_user_server *server)
{
	uint64_t resets = counter_read(&server->dev->resets);

	if (resets == server->resets_seen)
		return;
	server->resets_seen = resets;
	server->events->reset(server->opaque);
}

/* Serves what is there. True if anything was. */
static bool serve(struct vfio_user_server *server)
{
	int r = vfio_user_session_serve(&server->session);

	notice_reset(server);
	if (r < 0)
		disconnect(server, r);
	if (r > 0)
		server->idle_since_ns = clock_ns();
	return r != 0;
}

/* Where the client signals that INTx is unmasked; -1 if it sends messages instead. */
static int unmask_fd(const struct vfio_user_server *server)
{
	return server->dev->irqs.index[VFIO_PCI_INTX_IRQ_INDEX].unmask_fd;
}

/*
 * The way of a trapped access: while the guest is likely to be back, look for
 * its next request without sleeping. Yielding lets whoever shares this CPU,
 * perhaps the client, go first.
 */
static bool spin(struct vfio_user_server *server)
{
	uint64_t budget = spin_budget(&server->spin);

	if (vfio_user_session_wants_room(&server->session) ||
	    vfio_user_session_has_more(&server->session) || unmask_fd(server) >= 0)
		return false;
	while (clock_ns() - server->idle_since_ns < budget && !orders_pending(&server->orders)) {
		if (serve(server))
			return true;
		sched_yield();
	}
	return false;
}

enum { POLL_ORDERS, POLL_CLIENT, POLL_UNMASK, POLL_FDS };

/* Only looks, if there is more to do without the client. */
static void sleep_until_something_happens(struct vfio_user_server *server)
{
	bool more = server->connected && vfio_user_session_has_more(&server->session);
	struct pollfd pfds[POLL_FDS] = {
		[POLL_ORDERS] = { .fd = server->orders.fd, .events = POLLIN },
		[POLL_CLIENT] = { .fd = -1, .events = POLLIN },
		[POLL_UNMASK] = { .fd = -1, .events = POLLIN },
	};

	if (server->connected) {
		pfds[POLL_CLIENT].fd = server->session.conn.fd;
		if (vfio_user_session_wants_room(&server->session))
			pfds[POLL_CLIENT].events = POLLOUT;
		pfds[POLL_UNMASK].fd = unmask_fd(server);
	}

	if (!more)
		counter_add(&server->stats.sleeps, 1);
	if (poll(pfds, POLL_FDS, more ? 0 : -1) < 0)
		return;

	if (pfds[POLL_UNMASK].revents)
		vfio_intx_unmask_event(&server->dev->irqs);
	if (pfds[POLL_ORDERS].revents)
		orders_run(&server->orders);
	if (more) {
		serve(server);
		return;
	}
	if (!server->connected || !pfds[POLL_CLIENT].revents)
		return;
	spin_slept(&server->spin, clock_ns() - server->idle_since_ns);
	atomic_store_explicit(&server->stats.spin_budget_ns, spin_budget(&server->spin),
			      memory_order_relaxed);
	serve(server);
}

static void *device_thread(void *opaque)
{
	struct vfio_user_server *server = opaque;

	while (!server->stopping)
		if (!server->connected || !spin(server))
			sleep_until_something_happens(server);
	if (server->connected)
		disconnect(server, -ECONNRESET);
	return NULL;
}

struct connect_order {
	struct order order;
	struct vfio_user_server *server;
	int fd;
};

static void run_connect(struct order *order)
{
	struct connect_order *connect = (struct connect_order *)order;
	struct vfio_user_server *server = connect->server;
	int fd = connect->fd, r = -ENODEV;

	free(connect);
	if (server->broken || server->stopping)
		close_fd(fd);
	else
		r = vfio_user_session_init(&server->session, server->dev, fd);
	if (r < 0) {
		log_ratelimited(LOG_LEVEL_ERROR, "%s: a client could not be served: %s",
				server->dev->label, strerror(-r));
		server->events->disconnected(server->opaque, r);
		return;
	}
	server->connected = true;
	server->idle_since_ns = clock_ns();
	counter_add(&server->stats.connections, 1);
}

int vfio_user_server_connect(struct vfio_user_server *server, int fd)
{
	struct connect_order *connect = malloc(sizeof(*connect));

	if (!connect) {
		close_fd(fd);
		return -ENOMEM;
	}
	*connect = (struct connect_order){ { .run = run_connect }, server, fd };
	orders_post(&server->orders, &connect->order);
	return 0;
}

void vfio_user_server_order(struct vfio_user_server *server, struct order *order)
{
	orders_post(&server->orders, order);
}

void vfio_user_server_reset(struct vfio_user_server *server)
{
	vfio_device_reset(server->dev);
	notice_reset(server);
}

const struct vfio_user_server_stats *vfio_user_server_stats(const struct vfio_user_server *server)
{
	return &server->stats;
}

int vfio_user_server_new(struct vfio_device *dev, int poll_us, bool keep_state,
			 const struct vfio_user_server_events *events, void *opaque,
			 struct vfio_user_server **ret)
{
	struct vfio_user_server *server;
	int r;

	if (!vfio_device_is_valid(dev))
		return -EPROTO;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	*server = (struct vfio_user_server){
		.dev = dev,
		.keep_state = keep_state,
		.events = events,
		.opaque = opaque,
	};
	spin_init(&server->spin, poll_us);
	r = orders_init(&server->orders);
	if (r == 0) {
		r = thread_start(&server->thread, "device", device_thread, server);
		if (r < 0)
			orders_done(&server->orders);
	}
	if (r < 0) {
		free(server);
		return r;
	}
	*ret = server;
	return 0;
}

struct stop_order {
	struct order order;
	struct vfio_user_server *server;
};

static void run_stop(struct order *order)
{
	((struct stop_order *)order)->server->stopping = true;
}

void vfio_user_server_free(struct vfio_user_server *server)
{
	struct stop_order stop = { { .run = run_stop }, server };

	if (!server)
		return;
	orders_post(&server->orders, &stop.order);
	pthread_join(server->thread, NULL);
	orders_done(&server->orders);
	free(server);
}
