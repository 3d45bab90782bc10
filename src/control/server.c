/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "config.h"
#include "control/json_text.h"

SYSCALLS(SYSCALL(accept4), SYSCALL_SEND, SYSCALL(getpid));

enum {
	ACCEPT_PAUSE_US = 1000000, /* when there is no descriptor or memory for a client */
};

/*
 * Devices
 */

struct control_device *control_find_device(struct control_server *server, const char *id)
{
	for (struct control_device *d = server->devices; d; d = d->next)
		if (strcmp(d->id, id) == 0)
			return d;
	return NULL;
}

int control_server_add_device(struct control_server *server, const char *id,
			      const struct control_device_ops *ops, void *opaque)
{
	struct control_device *device, **last;

	if (control_find_device(server, id))
		return -EEXIST;
	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	*device = (struct control_device){ .id = strdup(id), .ops = ops, .opaque = opaque };
	if (!device->id) {
		free(device);
		return -ENOMEM;
	}
	for (last = &server->devices; *last; last = &(*last)->next)
		;
	*last = device;
	return 0;
}

json_t *control_server_show(struct control_server *server)
{
	json_t *devices = json_array(), *show;

	for (struct control_device *d = server->devices; d; d = d->next) {
		json_t *about = d->ops->describe(d->opaque);

		json_array_append_new(devices, about ? about : json_pack("{s:s}", "id", d->id));
	}
	show = json_pack("{s:i, s:o, s:I, s:s, s:f, s:o, s:o}", "version", 1, "name",
			 json_text(server->name), "pid", (json_int_t)getpid(), "vgpud",
			 VGPUD_VERSION, "uptime_seconds",
			 (double)(clock_ns() - server->started_ns) / 1e9, "control",
			 json_text(server->path), "devices", devices);
	json_object_update(show, server->about);
	return show;
}

void control_server_set(struct control_server *server, const char *key, json_t *value)
{
	json_object_set_new(server->about, key, value);
}

/*
 * Clients
 */

/* Whoever comes when the house is full is told so, if that can be done at once. */
static void turn_away(int fd)
{
	static const char answer[] = "{\"error\":\"org.vgpud.Control.TooManyClients\","
				     "\"parameters\":{\"limit\":64}}";
	_Static_assert(CONTROL_MAX_CLIENTS == 64, "is in the answer");

	log_ratelimited(LOG_LEVEL_WARNING, "control: more than %d clients: one was turned away",
			CONTROL_MAX_CLIENTS);
	if (send(fd, answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* It will see the end of the stream. */
	}
	close_fd(fd);
}

static int on_accept_pause(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct control_server *server = userdata;

	sd_event_source_set_enabled(server->listen, SD_EVENT_ON);
	return 0;
}

/* The client stays in the backlog, which would wake the loop for ever. */
static void pause_accepting(struct control_server *server, int error)
{
	log_ratelimited(LOG_LEVEL_WARNING, "control: cannot accept a client: %s", strerror(-error));
	sd_event_source_set_enabled(server->listen, SD_EVENT_OFF);
	sd_event_source_set_time_relative(server->accept_pause, ACCEPT_PAUSE_US);
	sd_event_source_set_enabled(server->accept_pause, SD_EVENT_ONESHOT);
}

static int on_client(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct control_server *server = userdata;
	int fd, r;

	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			pause_accepting(server, -errno);
		return 0;
	}
	if (server->n_connections >= CONTROL_MAX_CLIENTS) {
		turn_away(fd);
		return 0;
	}
	r = control_connection_new(server, fd);
	if (r < 0)
		log_ratelimited(LOG_LEVEL_WARNING, "control: cannot serve a client: %s",
				strerror(-r));
	return 0;
}

/*
 * The server
 */

static int start(struct control_server *server)
{
	int flags = fcntl(server->listen_fd, F_GETFL);
	int r;

	if (flags < 0 || fcntl(server->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(server->listen_fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	if (server->path) {
		r = unix_socket_file_remember(server->path, &server->file);
		if (r < 0)
			return r;
	}
	r = sd_event_add_io(server->event, &server->listen, server->listen_fd, EPOLLIN, on_client,
			    server);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(server->event, &server->accept_pause, CLOCK_MONOTONIC, 0, 0,
				       on_accept_pause, server);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(server->accept_pause, SD_EVENT_OFF);
	r = control_events_init(server);
	if (r < 0)
		return r;
	return control_pictures_init(server);
}

int control_server_new(sd_event *event, const char *name, const char *path, int listen_fd,
		       struct control_server **ret)
{
	struct control_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server) {
		close_fd(listen_fd);
		return -ENOMEM;
	}
	*server = (struct control_server){
		.event = sd_event_ref(event),
		.name = strdup(name),
		.path = path ? strdup(path) : NULL,
		.started_ns = clock_ns(),
		.about = json_object(),
		.stall_us = CONTROL_STALL_US,
		.file = UNIX_SOCKET_FILE_NONE,
		.listen_fd = listen_fd,
		.picture_fd = -1,
		.event_fd = -1,
	};
	pthread_mutex_init(&server->event_lock, NULL);
	r = server->name && (server->path || !path) ? start(server) : -ENOMEM;
	if (r < 0) {
		control_server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

void control_server_free(struct control_server *server)
{
	if (!server)
		return;
	sd_event_source_disable_unref(server->listen);
	sd_event_source_disable_unref(server->accept_pause);
	while (server->connections)
		control_connection_free(server->connections);
	control_pictures_done(server);
	control_events_done(server);
	while (server->devices) {
		struct control_device *device = server->devices;

		server->devices = device->next;
		free(device->id);
		free(device);
	}
	json_decref(server->about);
	unix_socket_file_remove(&server->file);
	close_fd(server->listen_fd);
	pthread_mutex_destroy(&server->event_lock);
	sd_event_unref(server->event);
	free(server->path);
	free(server->name);
	free(server);
}
