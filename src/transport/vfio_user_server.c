/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/vfio_user_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "transport/spin.h"
#include "transport/vfio_user_session.h"

SYSCALLS(SYSCALL(poll), SYSCALL(ppoll));

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
	uint64_t version_due_ns; /* when a client is given up that has not said its VERSION */
	struct pollfd *pfds; /* n_pfds of them, POLL_* and the device's doorbells */
	nfds_t n_pfds;
};

static void disconnect(struct vfio_user_server *server, int reason)
{
	int r;

	orders_block_on(&server->orders, -1);
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

/* Serves what is there, or comes. True if anything was. */
static bool serve(struct vfio_user_server *server, bool wait)
{
	int r = vfio_user_session_serve(&server->session, wait);

	notice_reset(server);
	if (r < 0)
		disconnect(server, r);
	if (r > 0)
		server->idle_since_ns = server->session.answered_ns;
	return r != 0;
}

/* Where the client signals that INTx is unmasked; -1 if it sends messages instead. */
static int unmask_fd(const struct vfio_user_server *server)
{
	return server->dev->irqs.index[VFIO_PCI_INTX_IRQ_INDEX].unmask_fd;
}

/* True if there is more to watch than the socket and orders. */
static bool has_eventfds(const struct vfio_user_server *server)
{
	return unmask_fd(server) >= 0 || server->session.has_doorbells;
}

static bool version_is_due(const struct vfio_user_server *server)
{
	return server->connected && !server->session.negotiated;
}

/* What poll() watches; then every doorbell of the device, in the order of its regions. */
enum { POLL_ORDERS, POLL_CLIENT, POLL_UNMASK, POLL_DOORBELLS };

static void watch(struct vfio_user_server *server, unsigned int i, int fd, short events)
{
	server->pfds[i] = (struct pollfd){ .fd = fd, .events = events };
}

/* Calls visit for each doorbell, with its place in pfds. */
static void for_each_doorbell(struct vfio_user_server *server,
			      void (*visit)(struct vfio_user_server *server, unsigned int at,
					    struct vfio_region *region, unsigned int index))
{
	unsigned int at = POLL_DOORBELLS;

	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct vfio_region *region = vfio_device_region(server->dev, i);

		for (uint32_t d = 0; d < region->n_doorbells; d++)
			visit(server, at++, region, d);
	}
}

static void watch_doorbell(struct vfio_user_server *server, unsigned int at,
			   struct vfio_region *region, unsigned int index)
{
	watch(server, at, region->doorbells[index].fd, POLLIN);
}

static void ring(struct vfio_user_server *server, unsigned int at, struct vfio_region *region,
		 unsigned int index)
{
	/* The one before may have led to a reset, or the client's end. */
	if (server->pfds[at].revents && region->doorbells[index].fd == server->pfds[at].fd)
		vfio_user_session_ring(&server->session, region, index);
}

/*
 * Waits until something can be done, and does what is not the client's socket.
 * Returns what poll() said of that. timeout_ms as poll() has it.
 */
static short poll_all(struct vfio_user_server *server, int timeout_ms)
{
	bool doorbells = server->connected && server->session.has_doorbells;
	nfds_t n = doorbells ? server->n_pfds : POLL_DOORBELLS;

	watch(server, POLL_ORDERS, server->orders.fd, POLLIN);
	watch(server, POLL_CLIENT, -1, POLLIN);
	watch(server, POLL_UNMASK, unmask_fd(server), POLLIN);
	if (server->connected)
		watch(server, POLL_CLIENT, server->session.conn.fd,
		      vfio_user_session_wants_room(&server->session) ? POLLOUT : POLLIN);
	if (doorbells)
		for_each_doorbell(server, watch_doorbell);

	if (poll(server->pfds, n, timeout_ms) < 0)
		return 0;

	if (server->pfds[POLL_UNMASK].revents)
		vfio_intx_unmask_event(&server->dev->irqs);
	if (doorbells)
		for_each_doorbell(server, ring);
	if (server->pfds[POLL_ORDERS].revents)
		orders_run(&server->orders);
	return server->pfds[POLL_CLIENT].revents;
}

enum { ROUNDS_PER_YIELD = 8 };

/*
 * The way of a trapped access: while the guest is likely to be back, look for
 * its next request without sleeping.
 */
static bool spin(struct vfio_user_server *server)
{
	uint64_t now_ns, budget_ns;

	/* Before its VERSION a client has a deadline, which is for who sleeps to keep. */
	if (!server->spin.budget_ns || !server->session.negotiated ||
	    vfio_user_session_wants_room(&server->session) ||
	    vfio_user_session_has_more(&server->session))
		return false;

	now_ns = clock_ns();
	budget_ns = spin_budget(&server->spin, now_ns);
	for (unsigned int round = 1; now_ns - server->idle_since_ns < budget_ns; round++) {
		if (orders_pending(&server->orders))
			return false;
		if (serve(server, false)) {
			spin_hit(&server->spin);
			return true;
		}
		if (round % ROUNDS_PER_YIELD == 0) {
			if (!spin_yield(&server->spin))
				return false;
			/* What is rung must not wait until we have given up waiting. */
			if (has_eventfds(server) && poll_all(server, 0))
				continue;
			if (vfio_user_session_has_more(&server->session))
				return false;
		}
		now_ns = clock_ns();
	}
	return false;
}

/* The client's request has ended a sleep. */
static void slept(struct vfio_user_server *server, uint64_t waited_ns)
{
	spin_slept(&server->spin, waited_ns);
	atomic_store_explicit(&server->stats.spin_budget_ns, server->spin.budget_ns,
			      memory_order_relaxed);
}

/* True if nothing can happen but that the client sends something, or an order comes. */
static bool only_the_client_matters(const struct vfio_user_server *server)
{
	return server->connected && server->session.negotiated &&
	       !vfio_user_session_wants_room(&server->session) &&
	       !vfio_user_session_has_more(&server->session) && !has_eventfds(server);
}

/* The way of a trapped access without spinning: one receive, in which we sleep, and one send. */
static void sleep_until_the_client_sends(struct vfio_user_server *server)
{
	uint64_t since_ns = server->idle_since_ns;

	if (orders_pending(&server->orders)) {
		orders_run(&server->orders);
		return;
	}
	counter_add(&server->stats.sleeps, 1);
	if (serve(server, true)) {
		if (server->connected)
			slept(server, server->session.received_ns - since_ns);
		return;
	}
	orders_run(&server->orders); /* that is what ended it, most likely */
}

/* Until when a client has to say its VERSION, in the words of poll(); -1: it has. */
static int version_timeout_ms(const struct vfio_user_server *server)
{
	uint64_t now_ns = clock_ns();

	if (!version_is_due(server))
		return -1;
	if (now_ns >= server->version_due_ns)
		return 0;
	return (int)((server->version_due_ns - now_ns) / 1000000 + 1);
}

static void sleep_until_something_happens(struct vfio_user_server *server)
{
	/* There is more to do without the client: only look. */
	if (server->connected && vfio_user_session_has_more(&server->session)) {
		poll_all(server, 0);
		if (server->connected)
			serve(server, false);
		return;
	}

	counter_add(&server->stats.sleeps, 1);
	if (poll_all(server, version_timeout_ms(server)) && server->connected) {
		slept(server, clock_ns() - server->idle_since_ns);
		serve(server, false);
	}
	if (version_is_due(server) && clock_ns() >= server->version_due_ns) {
		log_ratelimited(LOG_LEVEL_WARNING, "%s: a client connected and said nothing",
				server->dev->label);
		disconnect(server, -ETIMEDOUT);
	}
}

static void *device_thread(void *opaque)
{
	struct vfio_user_server *server = opaque;

	while (!server->stopping) {
		if (server->connected && spin(server))
			continue;
		if (only_the_client_matters(server))
			sleep_until_the_client_sends(server);
		else
			sleep_until_something_happens(server);
	}
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
	server->session.orders = &server->orders;
	orders_block_on(&server->orders, server->session.conn.fd);
	server->idle_since_ns = clock_ns();
	server->version_due_ns = server->idle_since_ns + VFIO_USER_VERSION_TIMEOUT_MS * 1000000ULL;
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

void vfio_user_server_wake(struct vfio_user_server *server)
{
	orders_wake(&server->orders);
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

static int start(struct vfio_user_server *server)
{
	int r = orders_init(&server->orders);

	if (r < 0)
		return r;
	r = thread_start(&server->thread, "device", device_thread, server);
	if (r < 0)
		orders_done(&server->orders);
	return r;
}

static nfds_t count_pfds(const struct vfio_device *dev)
{
	nfds_t n = POLL_DOORBELLS;

	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		n += dev->regions[i].n_doorbells;
	return n;
}

int vfio_user_server_new(struct vfio_device *dev, int poll_us, bool keep_state,
			 const struct vfio_user_server_events *events, void *opaque,
			 struct vfio_user_server **ret)
{
	struct vfio_user_server *server;
	int r = -ENOMEM;

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
		.n_pfds = count_pfds(dev),
	};
	spin_init(&server->spin, poll_us);
	server->pfds = calloc(server->n_pfds, sizeof(*server->pfds));
	if (server->pfds)
		r = start(server);
	if (r < 0) {
		free(server->pfds);
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

/* Perhaps in the middle of a DMA message, which is not waited for then. */
static void run_stop(struct order *order)
{
	struct vfio_user_server *server = ((struct stop_order *)order)->server;

	server->stopping = true;
	server->session.failed = -ECONNRESET;
}

/* True if the thread has ended, within a second or so. */
static bool joined_soon(pthread_t thread)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until); /* the clock of pthread_timedjoin_np() */
	until.tv_sec += 1;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

void vfio_user_server_free(struct vfio_user_server *server)
{
	struct stop_order stop = { { .run = run_stop }, server };

	if (!server)
		return;
	orders_post(&server->orders, &stop.order);
	/* The wake-up may have come just before it was got to block, in signal_vector() say. */
	while (!joined_soon(server->thread))
		orders_wake(&server->orders);
	orders_done(&server->orders);
	free(server->pfds);
	free(server);
}
