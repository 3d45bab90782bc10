/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "control/server.h"

SYSCALLS(SYSCALL(shutdown));

static void connection_work(struct control_connection *conn);

static void call_free(struct control_call *call)
{
	if (!call)
		return;
	json_decref(call->parameters);
	free(call);
}

void control_connection_free(struct control_connection *conn)
{
	struct control_server *server = conn->server;

	if (conn->listening) {
		atomic_fetch_sub(&server->n_listeners, 1);
		call_free(conn->call);
	} else if (conn->call) {
		/* Whoever answers it will free it. */
		conn->call->conn = NULL;
		conn->call->server = NULL;
		conn->call->device = NULL;
	}

	if (conn->next)
		conn->next->previous = conn->previous;
	if (conn->previous)
		conn->previous->next = conn->next;
	else
		server->connections = conn->next;
	server->n_connections--;

	sd_event_source_disable_unref(conn->io);
	sd_event_source_disable_unref(conn->stall);
	wire_done(&conn->wire);
	free(conn);
}

/* What cannot be sent ends the connection; what was received is still done. */
static void give_up(struct control_connection *conn)
{
	shutdown(conn->wire.fd, SHUT_RDWR);
	conn->gone = true;
}

static void queue(struct control_connection *conn, json_t *message, int fd)
{
	if (conn->gone) {
		json_decref(message);
		close_fd(fd);
	} else if (wire_queue(&conn->wire, message, fd) < 0) {
		log_ratelimited(LOG_LEVEL_WARNING, "control: no memory for an answer");
		give_up(conn);
	}
}

/* The end of a call, whose answer has been queued if somebody waits for it. */
static void call_end(struct control_call *call)
{
	struct control_connection *conn = call->conn;

	call_free(call);
	if (!conn)
		return;
	conn->call = NULL;
	connection_work(conn);
}

void control_call_reply(struct control_call *call, json_t *parameters, int fd)
{
	if (!parameters) {
		close_fd(fd);
		control_call_failed(call, -ENOMEM);
		return;
	}
	if (call->conn && !call->oneway) {
		queue(call->conn, json_pack("{s:o}", "parameters", parameters), fd);
	} else {
		json_decref(parameters);
		close_fd(fd);
	}
	call_end(call);
}

void control_call_error(struct control_call *call, const char *error, json_t *parameters)
{
	if (call->conn && !call->oneway)
		queue(call->conn,
		      json_pack("{s:s, s:o}", "error", error, "parameters",
				parameters ? parameters : json_object()),
		      -1);
	else
		json_decref(parameters);
	call_end(call);
}

void control_call_failed(struct control_call *call, int error)
{
	control_call_error(call, "org.vgpud.Control.Failed",
			   json_pack("{s:s}", "reason", strerror(-error)));
}

/*
 * Listeners
 */

static void queue_event(struct control_connection *conn, json_t *event)
{
	queue(conn, json_pack("{s:O, s:b}", "parameters", event, "continues", 1), -1);
}

/* Tells a listener how many events it did not get. */
static void queue_missed(struct control_connection *conn)
{
	json_t *event = control_event_object("missed", NULL);

	if (event &&
	    json_object_set_new(event, "missed", json_integer((json_int_t)conn->missed)) == 0)
		queue_event(conn, event);
	json_decref(event);
	conn->missed = 0;
}

void control_call_listen(struct control_call *call)
{
	struct control_connection *conn = call->conn;
	json_t *ready = control_event_object("ready", NULL);

	conn->listening = true;
	atomic_fetch_add(&conn->server->n_listeners, 1);
	if (ready)
		queue_event(conn, ready);
	else
		give_up(conn);
	json_decref(ready);
}

void control_connection_event(struct control_connection *conn, json_t *event)
{
	if (conn->wire.out_bytes > CONTROL_MAX_EVENT_BYTES) {
		conn->missed++;
		return;
	}
	if (conn->missed)
		queue_missed(conn);
	queue_event(conn, event);
	connection_work(conn);
}

void control_connection_missed(struct control_connection *conn, uint64_t events)
{
	conn->missed += events;
	connection_work(conn);
}

/*
 * Calls
 */

/* A member that may be left out or null. Returns false if it is something else. */
static bool take_flag(json_t *message, const char *key, bool *ret)
{
	json_t *value = json_object_get(message, key);

	if (value && !json_is_null(value) && !json_is_boolean(value))
		return false;
	*ret = json_is_true(value);
	return true;
}

/* Begins what a message asks for. -EBADMSG if it is not a call. */
static int begin_call(struct control_connection *conn, json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));
	json_t *parameters = json_object_get(message, "parameters");
	bool more, oneway, upgrade;
	struct control_call *call;

	if (!method || (parameters && !json_is_null(parameters) && !json_is_object(parameters)) ||
	    !take_flag(message, "more", &more) || !take_flag(message, "oneway", &oneway) ||
	    !take_flag(message, "upgrade", &upgrade))
		return -EBADMSG;

	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = (struct control_call){
		.conn = conn,
		.server = conn->server,
		.parameters = json_is_object(parameters) ? json_incref(parameters) : json_object(),
		.more = more,
		.oneway = oneway,
	};
	conn->call = call;
	log_debug("control: %s", method);
	if (upgrade)
		control_call_error(call, "org.varlink.service.MethodNotImplemented",
				   json_pack("{s:s}", "method", method));
	else
		control_dispatch(call, method);
	return 0;
}

/*
 * One step: 1 if there may be another at once, 0 if something must happen
 * first, a negative errno if the client cannot be talked to.
 */
static int connection_step(struct control_connection *conn)
{
	json_t *message;
	int r;

	if (!conn->gone) {
		r = wire_flush(&conn->wire);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			conn->gone = true;
	}
	if (conn->listening && conn->missed && !conn->gone) {
		queue_missed(conn);
		return 1;
	}
	if (conn->call)
		return 0;

	r = wire_take(&conn->wire, &message);
	if (r < 0)
		return r;
	if (r > 0) {
		r = begin_call(conn, message);
		json_decref(message);
		return r < 0 ? r : 1;
	}

	if (conn->ended)
		return 0;
	r = wire_receive(&conn->wire);
	if (r == -EAGAIN)
		return 0;
	if (r == 0 || r == -ECONNRESET) {
		conn->ended = true;
		conn->gone = conn->gone || r < 0;
		return 0;
	}
	return r;
}

/* A client whose answer waits must take some of it in time. A listener need not. */
static int on_stall(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct control_connection *conn = userdata;

	log_ratelimited(LOG_LEVEL_WARNING, "control: a client does not read its answer: "
					   "disconnected");
	control_connection_free(conn);
	return 0;
}

static void watch_stall(struct control_connection *conn, size_t waiting_before)
{
	uint64_t limit = conn->server->stall_us;
	bool armed = conn->stall && sd_event_source_get_enabled(conn->stall, NULL) > 0;

	if (!conn->wire.out || conn->listening || conn->gone) {
		if (armed)
			sd_event_source_set_enabled(conn->stall, SD_EVENT_OFF);
	} else if (!conn->stall) {
		if (sd_event_add_time_relative(conn->server->event, &conn->stall, CLOCK_MONOTONIC,
					       limit, 0, on_stall, conn) < 0)
			give_up(conn);
	} else if (!armed || conn->wire.out_bytes < waiting_before) {
		sd_event_source_set_time_relative(conn->stall, limit);
		sd_event_source_set_enabled(conn->stall, SD_EVENT_ONESHOT);
	}
}

/* What to wait for after a turn; turn_over: there was more to do. */
static void watch_io(struct control_connection *conn, bool turn_over)
{
	uint32_t events = 0;

	if (conn->wire.out || turn_over)
		events |= EPOLLOUT;
	else if (!conn->call && !conn->ended)
		events |= EPOLLIN;
	sd_event_source_set_io_events(conn->io, events);

	/* A hangup is reported for ever: nothing to wait for but the answer. */
	sd_event_source_set_enabled(conn->io,
				    conn->gone && conn->call ? SD_EVENT_OFF : SD_EVENT_ON);
}

/* Does what can be done now. May free the connection. */
static void connection_work(struct control_connection *conn)
{
	size_t waiting_before = conn->wire.out_bytes;
	int r = 1;

	if (conn->working)
		return;
	conn->working = true;
	for (int i = 0; i < CONTROL_CALLS_A_TURN * 2 && r > 0; i++)
		r = connection_step(conn);
	conn->working = false;

	if (r < 0) {
		log_ratelimited(LOG_LEVEL_WARNING, "control: %s: client disconnected",
				r == -EBADMSG	 ? "a message that is not a Varlink call"
				: r == -EMSGSIZE ? "a message that is too long"
						 : strerror(-r));
		control_connection_free(conn);
		return;
	}
	if ((conn->gone && conn->listening) ||
	    (r == 0 && conn->ended && !conn->call && (conn->gone || !conn->wire.out))) {
		control_connection_free(conn);
		return;
	}
	watch_stall(conn, waiting_before);
	watch_io(conn, r > 0);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct control_connection *conn = userdata;

	if (revents & (EPOLLHUP | EPOLLERR))
		conn->gone = true;
	connection_work(conn);
	return 0;
}

int control_connection_new(struct control_server *server, int fd)
{
	struct control_connection *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn) {
		close_fd(fd);
		return -ENOMEM;
	}
	conn->server = server;
	wire_init(&conn->wire, fd, CONTROL_MAX_MESSAGE, false);
	conn->next = server->connections;
	if (conn->next)
		conn->next->previous = conn;
	server->connections = conn;
	server->n_connections++;

	r = sd_event_add_io(server->event, &conn->io, fd, EPOLLIN, on_io, conn);
	if (r < 0)
		control_connection_free(conn);
	return r < 0 ? r : 0;
}
