/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "control/wire.h"

enum {
	MAX_REPLY = 64 * 1024 * 1024, /* bytes: a picture in base64 */
	BACKLOG_RETRY_MS = 10, /* between attempts while a server's backlog is full */
};

struct control_client {
	struct wire wire;
};

static uint64_t now_ms(void)
{
	return clock_ns() / 1000000;
}

/* What is left of a timeout that began at start; -1 stays -1. */
static int left_ms(uint64_t start, int timeout_ms)
{
	uint64_t spent = now_ms() - start;

	if (timeout_ms < 0)
		return -1;
	return spent >= (uint64_t)timeout_ms ? 0 : timeout_ms - (int)spent;
}

/* A UNIX socket never answers EINPROGRESS: EAGAIN says that the backlog is full. */
static int connect_in_time(int fd, const struct sockaddr_un *address, int timeout_ms)
{
	uint64_t start = now_ms();

	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		const struct timespec pause = { .tv_nsec = BACKLOG_RETRY_MS * 1000000L };

		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (!left_ms(start, timeout_ms))
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int control_client_open(const char *path, int timeout_ms, struct control_client **ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	struct control_client *client;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect_in_time(fd, &address, timeout_ms);
	if (r < 0)
		return r;
	client = malloc(sizeof(*client));
	if (!client)
		return -ENOMEM;
	wire_init(&client->wire, STEAL_FD(fd), MAX_REPLY, true);
	*ret = client;
	return 0;
}

void control_client_close(struct control_client *client)
{
	if (!client)
		return;
	wire_done(&client->wire);
	free(client);
}

void control_reply_done(struct control_reply *reply)
{
	json_decref(reply->parameters);
	free(reply->error);
	close_fd(reply->fd);
	*reply = (struct control_reply){ .fd = -1 };
}

static int wait_for(struct control_client *client, short events, int timeout_ms)
{
	struct pollfd p = { client->wire.fd, events, 0 };
	int n = poll(&p, 1, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

int control_client_send(struct control_client *client, const char *method, json_t *parameters,
			bool more, int timeout_ms)
{
	uint64_t start = now_ms();
	json_t *call = json_pack("{s:s, s:o}", "method", method, "parameters",
				 parameters ? parameters : json_object());
	int r;

	if (call && more)
		json_object_set_new(call, "more", json_true());
	r = wire_queue(&client->wire, call, -1);
	if (r < 0)
		return r;
	for (;;) {
		r = wire_flush(&client->wire);
		/* Turned away at the door: the reason is there to be read. */
		if (r == -EPIPE || r == -ECONNRESET)
			return 0;
		if (r != -EAGAIN)
			return r;
		r = wait_for(client, POLLOUT, left_ms(start, timeout_ms));
		if (r < 0)
			return r;
	}
}

/* Takes over message. */
static int parse_reply(struct control_client *client, json_t *message, struct control_reply *ret)
{
	json_t *parameters = json_object_get(message, "parameters");
	json_t *error = json_object_get(message, "error");
	int r = 0;

	*ret = (struct control_reply){ .fd = wire_take_fd(&client->wire) };
	if ((parameters && !json_is_null(parameters) && !json_is_object(parameters)) ||
	    (error && !json_is_string(error))) {
		r = -EPROTO;
	} else {
		ret->parameters =
			json_is_object(parameters) ? json_incref(parameters) : json_object();
		ret->error = error ? strdup(json_string_value(error)) : NULL;
		ret->continues = json_is_true(json_object_get(message, "continues"));
		if (!ret->parameters || (error && !ret->error))
			r = -ENOMEM;
	}
	if (r < 0)
		control_reply_done(ret);
	json_decref(message);
	return r;
}

int control_client_receive(struct control_client *client, int timeout_ms, struct control_reply *ret)
{
	uint64_t start = now_ms();
	json_t *message;
	int r;

	for (;;) {
		r = wire_take(&client->wire, &message);
		if (r > 0)
			return parse_reply(client, message, ret);
		if (r < 0)
			return -EPROTO;
		r = wire_receive(&client->wire);
		if (r == 0)
			return -ECONNRESET;
		if (r == -EMSGSIZE)
			return -EPROTO;
		if (r < 0 && r != -EAGAIN)
			return r;
		if (r == -EAGAIN) {
			r = wait_for(client, POLLIN, left_ms(start, timeout_ms));
			if (r < 0)
				return r;
		}
	}
}

int control_client_call(struct control_client *client, const char *method, json_t *parameters,
			int timeout_ms, struct control_reply *ret)
{
	uint64_t start = now_ms();
	int r = control_client_send(client, method, parameters, false, timeout_ms);

	if (r < 0)
		return r;
	return control_client_receive(client, left_ms(start, timeout_ms), ret);
}
