/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events come from any thread, mostly the device's, which must not wait: it
 * appends to a queue under a lock that is held for a few instructions, and
 * wakes the main thread, which writes them to the listeners.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/syscalls.h"
#include "control/server.h"

SYSCALLS(SYSCALL(read), SYSCALL(write));

struct event_entry {
	struct event_entry *next;
	struct timespec time;
	char *id, *event;
	json_t *data;
};

static void entry_free(struct event_entry *entry)
{
	free(entry->id);
	free(entry->event);
	json_decref(entry->data);
	free(entry);
}

/* RFC 3339, in milliseconds. */
static void format_time(const struct timespec *time, char ret[static 32])
{
	struct tm tm;
	size_t n;

	gmtime_r(&time->tv_sec, &tm);
	n = strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 32 - n, ".%03uZ", (unsigned int)(time->tv_nsec / 1000000) % 1000);
}

static json_t *event_object(const char *event, const char *device, const struct timespec *time)
{
	char text[32];

	format_time(time, text);
	return json_pack("{s:s, s:s?, s:s}", "event", event, "device", device, "time", text);
}

json_t *control_event_object(const char *event, const char *device)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return event_object(event, device, &now);
}

static struct event_entry *entry_new(const char *id, const char *event, json_t *data)
{
	struct event_entry *entry = calloc(1, sizeof(*entry));

	if (!entry) {
		json_decref(data);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &entry->time);
	entry->data = data;
	entry->id = id ? strdup(id) : NULL;
	entry->event = strdup(event);
	if (!entry->event || (id && !entry->id)) {
		entry_free(entry);
		return NULL;
	}
	return entry;
}

bool control_server_has_listeners(struct control_server *server)
{
	/* Who begins to listen at this moment may get the event or not. */
	return atomic_load_explicit(&server->n_listeners, memory_order_relaxed);
}

void control_server_event(struct control_server *server, const char *id, const char *event,
			  json_t *data)
{
	struct event_entry *entry;
	bool queued = false;

	if (!control_server_has_listeners(server)) {
		json_decref(data);
		return;
	}
	entry = entry_new(id, event, data);

	pthread_mutex_lock(&server->event_lock);
	if (entry && server->n_events < CONTROL_MAX_EVENTS) {
		if (server->event_last)
			server->event_last->next = entry;
		else
			server->event_first = entry;
		server->event_last = entry;
		server->n_events++;
		queued = true;
	} else {
		server->event_overflow++;
	}
	pthread_mutex_unlock(&server->event_lock);

	if (entry && !queued)
		entry_free(entry);
	eventfd_write(server->event_fd, 1);
}

static void deliver(struct control_server *server, struct event_entry *entry)
{
	json_t *event = event_object(entry->event, entry->id, &entry->time);
	struct control_connection *next;

	if (event && entry->data)
		json_object_set(event, "data", entry->data);
	for (struct control_connection *conn = server->connections; conn; conn = next) {
		next = conn->next;
		if (!conn->listening)
			continue;
		if (event)
			control_connection_event(conn, event);
		else
			control_connection_missed(conn, 1);
	}
	json_decref(event);
}

static void deliver_missed(struct control_server *server, uint64_t events)
{
	struct control_connection *next;

	for (struct control_connection *conn = server->connections; conn; conn = next) {
		next = conn->next;
		if (conn->listening)
			control_connection_missed(conn, events);
	}
}

static int on_events(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct control_server *server = userdata;
	struct event_entry *entry;
	eventfd_t woken;
	uint64_t overflow;

	eventfd_read(fd, &woken);
	pthread_mutex_lock(&server->event_lock);
	entry = STEAL_PTR(server->event_first);
	server->event_last = NULL;
	server->n_events = 0;
	overflow = server->event_overflow;
	server->event_overflow = 0;
	pthread_mutex_unlock(&server->event_lock);

	while (entry) {
		struct event_entry *next = entry->next;

		deliver(server, entry);
		entry_free(entry);
		entry = next;
	}
	if (overflow)
		deliver_missed(server, overflow);
	return 0;
}

int control_events_init(struct control_server *server)
{
	server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->event_fd < 0)
		return -errno;
	return sd_event_add_io(server->event, &server->event_source, server->event_fd, EPOLLIN,
			       on_events, server);
}

void control_events_done(struct control_server *server)
{
	sd_event_source_disable_unref(server->event_source);
	while (server->event_first) {
		struct event_entry *entry = server->event_first;

		server->event_first = entry->next;
		entry_free(entry);
	}
	server->event_fd = close_fd(server->event_fd);
}
