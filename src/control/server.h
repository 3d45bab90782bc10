/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the control server, seen by src/control/ alone.
 *
 *     server.c      listens, holds devices and connections
 *     connection.c  one client: reads messages, answers them in order
 *     methods.c     the table of methods
 *     picture.c     screenshots and hashes, made on a thread of their own
 *     events.c      from any thread to every listener
 *
 * A *call* is a method call that is being answered. A connection works on one
 * at a time and reads no further message before its answer is sent, so a
 * client that pipelines is answered in order and can make the server hold one
 * answer, not many. A call whose answer comes later (a reset, a picture)
 * outlives its connection if the client leaves meanwhile: conn is then NULL
 * and the answer goes nowhere.
 */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/unix_socket.h"
#include "control/control.h"
#include "control/wire.h"

enum {
	CONTROL_MAX_MESSAGE = 64 * 1024, /* bytes of a call */
	CONTROL_MAX_CLIENTS = 64,
	CONTROL_MAX_EVENTS = 256, /* that wait for the main thread */
	CONTROL_MAX_EVENT_BYTES = 64 * 1024, /* that wait for one listener */
	CONTROL_MAX_INLINE_PNG = 32 * 1024 * 1024, /* bytes before base64 */
	CONTROL_CALLS_A_TURN = 16, /* of one client, before the others are looked at */
	CONTROL_STALL_US =
		20000000, /* a client that takes no byte of its answer for so long goes */
};

struct control_device {
	struct control_device *next;
	char *id;
	const struct control_device_ops *ops;
	void *opaque;
};

struct control_connection {
	struct control_connection *next, *previous;
	struct control_server *server;
	struct wire wire;
	sd_event_source *io, *stall;
	struct control_call *call; /* the one that is being answered, or NULL */
	uint64_t missed; /* events that a listener did not get and was not told of */
	bool listening; /* call is Events */
	bool ended; /* the client sends no more */
	bool gone; /* nobody reads any more */
	bool working; /* connection_work() is on the stack */
};

struct control_call {
	struct control_connection *conn; /* NULL: the client has left */
	struct control_server *server; /* valid while conn is */
	json_t *parameters;
	bool more, oneway;
	struct control_device *device; /* a reset's; valid while conn is */
};

struct event_entry;

struct control_server {
	sd_event *event;
	char *name, *path;
	uint64_t started_ns;
	uint64_t stall_us; /* CONTROL_STALL_US; tests are less patient */

	int listen_fd;
	struct unix_socket_file file; /* what it is in the file system, if it is ours */
	sd_event_source *listen, *accept_pause;
	struct control_connection *connections;
	unsigned int n_connections;

	struct control_device *devices;
	json_t *about; /* more members of the answer to Show */

	struct picture_job *pictures, *picture_running;
	sd_event_source *picture_done;
	int picture_fd;

	/* Events: what any thread may touch is the lock's, or atomic. */
	atomic_uint n_listeners;
	pthread_mutex_t event_lock;
	struct event_entry *event_first, *event_last;
	unsigned int n_events;
	uint64_t event_overflow;
	int event_fd;
	sd_event_source *event_source;
};

/* connection.c */

/* Takes over fd. */
int control_connection_new(struct control_server *server, int fd);
void control_connection_free(struct control_connection *conn);

/*
 * Answer a call and release it: the last thing that is done with it. Both take
 * over parameters and fd. A reply of NULL parameters is one for which there
 * was no memory, and is answered so; an error's may be NULL. fd may be -1.
 */
void control_call_reply(struct control_call *call, json_t *parameters, int fd);
void control_call_error(struct control_call *call, const char *error, json_t *parameters);

/* The call cannot be done, because of a negative errno. */
void control_call_failed(struct control_call *call, int error);

/* Makes the call's connection a listener; the call stays until the client leaves. */
void control_call_listen(struct control_call *call);

/*
 * Sends an event to a listener, or counts it as missed; event stays the
 * caller's. Both may free the connection.
 */
void control_connection_event(struct control_connection *conn, json_t *event);
void control_connection_missed(struct control_connection *conn, uint64_t events);

/* methods.c */

/* Does what a call asks for: the call is answered then, or later. */
void control_dispatch(struct control_call *call, const char *name);

/* The device of that id, or NULL. */
struct control_device *control_find_device(struct control_server *server, const char *id);

/* server.c */

/* The answer to Show. NULL without memory. */
json_t *control_server_show(struct control_server *server);

/* picture.c */

int control_pictures_init(struct control_server *server);
void control_pictures_done(struct control_server *server);

/* Answers Screenshot (with or without inline) or Hash. */
enum picture_kind { PICTURE_HASH, PICTURE_FD, PICTURE_INLINE };
void control_picture(struct control_call *call, enum picture_kind kind, const char *device);

/* events.c */

int control_events_init(struct control_server *server);
void control_events_done(struct control_server *server);

/* A new {"event", "device", "time"}, of now. NULL without memory. */
json_t *control_event_object(const char *event, const char *device);
