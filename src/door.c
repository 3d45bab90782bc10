/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "base/unix_socket.h"

SYSCALLS(SYSCALL(accept4), SYSCALL_IF(getsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_PEERCRED)));

enum { PAUSE_US = 100000 }; /* between two tries to accept */

struct door {
	struct door_config config;
	char *path; /* absolute; NULL if it is not known */
	struct unix_socket_file file; /* what is removed at the end, if it is ours */
	struct vfio_user_server *server; /* NULL until it is started */
	int fd; /* -1 if it was a connection, and was served */
	bool listening;
	sd_event_source *source;
	sd_event_source *pause; /* until we try to accept again */
	bool connected;
	pid_t client_pid;
	bool exit_on_disconnect;

	struct door_order {
		struct order order;
		struct door *door;
	} disconnected, failed;
};

static void run_disconnected(struct order *order)
{
	struct door *door = ((struct door_order *)order)->door;

	log_ratelimited(LOG_LEVEL_INFO, "%s: the client has disconnected", door->config.dev->label);
	door->connected = false;
	door->client_pid = 0;
	door->config.send_event(door->config.opaque, "disconnected", NULL);
	if (door->exit_on_disconnect)
		sd_event_exit(door->config.event, 0);
	else if (door->source)
		sd_event_source_set_enabled(door->source, SD_EVENT_ON);
}

/* On the device thread. One client at a time: the order is free again before the next. */
static void on_disconnected(void *opaque, int reason)
{
	struct door *door = opaque;

	door->disconnected = (struct door_order){ { .run = run_disconnected }, door };
	orders_post(door->config.orders, &door->disconnected.order);
}

/* Whoever supervises us can start another; a door that serves nobody is no use. */
static void run_failed(struct order *order)
{
	struct door *door = ((struct door_order *)order)->door;

	sd_event_exit(door->config.event, 1);
}

/* On the device thread, once. */
static void on_failed(void *opaque)
{
	struct door *door = opaque;

	door->failed = (struct door_order){ { .run = run_failed }, door };
	orders_post(door->config.orders, &door->failed.order);
}

/* On the device thread. */
static void on_reset(void *opaque)
{
	struct door *door = opaque;

	door->config.send_event(door->config.opaque, "reset", NULL);
}

static const struct vfio_user_server_events server_events = {
	.disconnected = on_disconnected,
	.reset = on_reset,
	.failed = on_failed,
};

static pid_t peer_pid(int fd)
{
	struct ucred cred;
	socklen_t length = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) == 0 ? cred.pid : 0;
}

/* Takes fd over. */
static int connect_client(struct door *door, int fd)
{
	door->client_pid = peer_pid(fd);
	door->connected = true;
	log_ratelimited(LOG_LEVEL_INFO, "%s: a client has connected (process %d)",
			door->config.dev->label, door->client_pid);
	door->config.send_event(door->config.opaque, "connected",
				json_pack("{s:i}", "pid", door->client_pid));
	return vfio_user_server_connect(door->server, fd);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *opaque)
{
	struct door *door = opaque;

	door->pause = sd_event_source_unref(source);
	sd_event_source_set_enabled(door->source, SD_EVENT_ON);
	return 0;
}

/*
 * Out of descriptors, say: the client stays in the queue, and we would be
 * called for it again at once.
 */
static void pause_accepting(struct door *door)
{
	log_ratelimited(LOG_LEVEL_WARNING, "%s: a client can't be accepted: %m",
			door->config.dev->label);
	if (sd_event_add_time_relative(door->config.event, &door->pause, CLOCK_MONOTONIC, PAUSE_US,
				       0, on_pause_over, door) >= 0)
		sd_event_source_set_enabled(door->source, SD_EVENT_OFF);
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t revents, void *opaque)
{
	struct door *door = opaque;
	int fd;

	if (door->connected) {
		log_ratelimited(LOG_LEVEL_INFO,
				"%s: another client waits until process %d has disconnected",
				door->config.dev->label, door->client_pid);
		vfio_user_server_wake(door->server);
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			pause_accepting(door);
		return 0;
	}
	if (connect_client(door, fd) < 0) {
		door->connected = false;
		door->client_pid = 0;
	}
	return 0;
}

static bool is_unix_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t length = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/*
 * Where clients find the socket, which they may want to do from another
 * directory: its path, of a socket that was passed to us too. One that we made
 * is removed at the end.
 */
static int remember_path(struct door *door)
{
	struct sockaddr_un bound = { 0 };
	socklen_t length = sizeof(bound) - 1;
	const char *path = door->config.path;
	int r;

	if (path) {
		r = unix_socket_file_remember(path, &door->file);
		if (r < 0)
			return r;
	} else if (getsockname(door->fd, (struct sockaddr *)&bound, &length) == 0 &&
		   bound.sun_path[0] == '/') {
		/* From where a relative path was bound by somebody else is not known. */
		path = bound.sun_path;
	}
	if (!path)
		return 0;
	door->path = realpath(path, NULL);
	if (!door->path)
		door->path = strdup(path);
	return door->path ? 0 : -ENOMEM;
}

static int prepare(struct door *door, char **ret_error)
{
	int listening = 0, flags;
	socklen_t length = sizeof(listening);

	if (!is_unix_stream(door->fd) ||
	    getsockopt(door->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0) {
		*ret_error = text_format("descriptor %d is not a UNIX stream socket; pass one that "
					 "listens, or is connected",
					 door->fd);
		return -ENOTSOCK;
	}
	if (fcntl(door->fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	door->listening = listening;
	if (!listening) {
		door->exit_on_disconnect = true;
		return 0;
	}
	/* A client that gives up before it is accepted must not leave us waiting for the next. */
	flags = fcntl(door->fd, F_GETFL);
	if (flags < 0 || fcntl(door->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return remember_path(door);
}

int door_open(int fd, const struct door_config *config, struct door **ret, char **ret_error)
{
	struct door *door = calloc(1, sizeof(*door));
	int r;

	if (!door) {
		close_fd(fd);
		return -ENOMEM;
	}
	*door = (struct door){
		.config = *config,
		.fd = fd,
		.file = UNIX_SOCKET_FILE_NONE,
		.exit_on_disconnect = config->exit_on_disconnect,
	};
	r = prepare(door, ret_error);
	if (r < 0) {
		door_close(door);
		return r;
	}
	*ret = door;
	return 0;
}

int door_start(struct door *door)
{
	const struct door_config *config = &door->config;
	int r = vfio_user_server_new(config->dev, config->poll_us, config->keep_state,
				     &server_events, door, &door->server);

	if (r < 0)
		return r;
	if (!door->listening)
		return connect_client(door, STEAL_FD(door->fd));
	r = sd_event_add_io(config->event, &door->source, door->fd, EPOLLIN, on_connection, door);
	if (r < 0)
		return r;
	log_info("%s: listening on %s", door->config.dev->label,
		 door->path ? door->path : "a socket without a path");
	return 0;
}

void door_close(struct door *door)
{
	if (!door)
		return;
	door->source = sd_event_source_disable_unref(door->source);
	sd_event_source_disable_unref(door->pause);
	unix_socket_file_remove(&door->file);
	close_fd(door->fd);
	vfio_user_server_free(door->server);
	/* What the device thread posted last points into the door. */
	orders_run(door->config.orders);
	free(door->path);
	free(door);
}

struct reset_request {
	struct order order; /* to the device thread, and back */
	struct door *door;
	void (*done)(void *arg, int result);
	void *arg;
};

static void reset_is_done(struct order *order)
{
	struct reset_request *request = (struct reset_request *)order;

	request->done(request->arg, 0);
	free(request);
}

static void run_reset(struct order *order)
{
	struct reset_request *request = (struct reset_request *)order;

	vfio_user_server_reset(request->door->server);
	request->order.run = reset_is_done;
	orders_post(request->door->config.orders, &request->order);
}

int door_reset(struct door *door, void (*done)(void *arg, int result), void *arg)
{
	struct reset_request *request = malloc(sizeof(*request));

	if (!request)
		return -ENOMEM;
	*request = (struct reset_request){ { .run = run_reset }, door, done, arg };
	vfio_user_server_order(door->server, &request->order);
	return 0;
}

void door_get_info(const struct door *door, struct door_info *ret)
{
	*ret = (struct door_info){
		.path = door->path,
		.connected = door->connected,
		.client_pid = door->client_pid,
		.stats = vfio_user_server_stats(door->server),
	};
}
